import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { runCli } from "../run-cli.ts";

let muster: TestServer;
let folder: string;
beforeAll(async () => {
  muster = await startTestServer({ outboundAllow: ["127.0.0.1"] });
  folder = mkdtempSync(join(tmpdir(), "muster-alert-"));
});
afterAll(async () => {
  await muster?.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...argv: string[]) =>
  runCli(argv, {
    cwd: folder,
    env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key },
  });

describe("muster channel and muster alert", () => {
  test("keep channels, whose secrets come from files and are not shown", async () => {
    writeFileSync(join(folder, "url.txt"), "http://127.0.0.1:1/services/T/B/hidden-word\n");
    expect(await run("channel", "add", "ops", "slack", "--url-file", "url.txt")).toMatchObject({
      exitCode: 0,
    });
    const shown = await run("channel", "get", "ops", "-o", "json");
    expect(shown.stdout).not.toContain("hidden");
    expect((await run("channel", "list")).stdout).toMatch(/ops\s+slack\s+ok\s+0/);
    const wrong = await run("channel", "create", "bad", "webhook", "--url", "https://192.168.0.1/");
    expect(wrong.exitCode).not.toBe(0);
    expect(wrong.stderr).toContain("channel.webhook.url");
  });

  test("make, change, silence and delete rules", async () => {
    const made = await run(
      "alert",
      "create",
      "dead",
      "--on",
      "job-dead",
      "--channel",
      "ops",
      "--window",
      "10m",
    );
    expect(made).toMatchObject({ exitCode: 0, stdout: "dead\tkept\n" });
    expect((await run("alert", "create", "dead", "--on", "job-dead")).stderr).toContain("alert edit");
    expect(await run("alert", "edit", "dead", "--throttle", "1h")).toMatchObject({ exitCode: 0 });
    const facts = (await run("alert", "get", "dead")).stdout;
    expect(facts).toMatch(/window\s+10m/);
    expect(facts).toMatch(/throttle\s+1h/);
    expect((await run("alert", "create", "x", "--on", "job-ded")).stderr).toContain("job-dead");
    expect(await run("alert", "disable", "dead")).toMatchObject({ exitCode: 0 });
    expect((await run("alert", "list")).stdout).toMatch(/dead\s+disabled\s+job-dead/);
    expect(await run("alert", "silence", "dead", "--for", "2h")).toMatchObject({ exitCode: 0 });
    expect((await run("alert", "silences")).stdout).toMatch(/dead\s+all/);
    expect(await run("alert", "unsilence", "dead")).toMatchObject({ exitCode: 0 });
    expect((await run("channel", "delete", "ops", "--yes")).stderr).toContain("dead");
    expect(await run("alert", "delete", "dead", "--yes")).toMatchObject({ exitCode: 0 });
    expect((await run("alert", "history")).stderr).toContain("No alerts.");
  });

  test("say again what is usual, and tell nobody", async () => {
    await run("channel", "create", "told", "slack", "--url-file", "url.txt");
    await run("alert", "create", "rate", "--on", "failure-rate", "--threshold", "20", "--channel", "told");
    const quiet = ["--no-channel", "--no-resolve", "--group-by", "kind", "--threshold", "default"];
    expect(await run("alert", "edit", "rate", ...quiet)).toMatchObject({ exitCode: 0 });
    const now = (await run("alert", "get", "rate")).stdout;
    expect(now).toMatch(/threshold\s+50 %/);
    expect(now).toMatch(/channels\s+none/);
    expect(now).toMatch(/when over\s+no message/);
    expect(now).toMatch(/grouped by\s+kind/);
    await run("alert", "edit", "rate", "--resolve", "--group-by", "own");
    const after = (await run("alert", "get", "rate")).stdout;
    expect(after).toMatch(/when over\s+a message/);
    expect(after).toMatch(/grouped by\s+what it is about/);
    expect(after).toMatch(/channels\s+none/);
  });

  test("show what they would send, and say when it does not get through", async () => {
    const shown = await run("alert", "test", "ops", "--dry-run");
    expect(shown).toMatchObject({ exitCode: 0 });
    expect(shown.stdout).toContain("[TEST] sample: A job of kind shell.run is dead: exit code 1");
    const sent = await run("channel", "test", "ops");
    expect(sent.exitCode).not.toBe(0);
    expect(sent.stderr).toContain("could not be called (ECONNREFUSED)");
  });
});
