import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { linksOfFile } from "../../../tui/commands/worker-links.ts";
import { WorkerPeer } from "../../support/worker-peer.ts";
import { makeDirectory, runCli, startCli } from "../run-cli.ts";

let directory: ReturnType<typeof makeDirectory>;
beforeEach(() => {
  directory = makeDirectory();
});
afterEach(() => directory.remove());

const write = (text: string) => writeFileSync(join(directory.path, "links.yaml"), text);
const sessionOf = (id: string) => `sessions:\n  - { id: ${id}, agentSessionId: a }\n`;
const argv = (address: string) => [
  ...["worker", "run", "--address", address, "--transport", "stream", "--key-file", "key"],
  ...["--state-dir", "state", "--links", "links.yaml"],
];

describe("worker run --links", () => {
  test("publishes what the file says, follows it, and stands by it while the file is broken", async () => {
    await using peer = await WorkerPeer.start();
    writeFileSync(join(directory.path, "key"), peer.key);
    write(sessionOf("one"));
    const running = startCli(argv(peer.address), { cwd: directory.path });
    await running.noted("is attached");
    expect(peer.link.hello.sessions).toMatchObject([{ sessionId: "one", agentSessionId: "a" }]);
    write("sessions: {}");
    await running.noted("what was published before stands");
    expect(running.stderr()).toContain("links.yaml:1:11 sessions: must be a list");
    write(sessionOf("two"));
    const changed = await peer.find(({ frame }) => (frame.case === "linksChanged" ? frame.value : undefined));
    expect(changed.sessions).toMatchObject([{ sessionId: "two" }]);
    await running.noted("published anew");
    running.interrupt();
    expect(await running.exit).toBe(0);
  });

  test("does not start with a file that is missing or wrong", async () => {
    writeFileSync(join(directory.path, "key"), "k");
    const missing = await runCli(argv("127.0.0.1:1"), { cwd: directory.path });
    expect(missing.exitCode).toBe(2);
    expect(missing.stderr).toContain("--links: cannot read links.yaml: no such file");
    write("sessions:\n  - { id: one, aget: codex }\n");
    const wrong = await runCli(argv("127.0.0.1:1"), { cwd: directory.path });
    expect(wrong.exitCode).toBe(2);
    expect(wrong.stderr).toContain("links.yaml:2:16");
    expect(wrong.stderr).toContain("Did you mean agent?");
  });
});

test("a file of links is read again when the process is told to reload, until nobody follows it", () => {
  write(sessionOf("one"));
  const reloads = new Set<() => void>();
  const source = linksOfFile("links.yaml", {
    cwd: directory.path,
    onReload: (listen) => {
      reloads.add(listen);
      return () => void reloads.delete(listen);
    },
  });
  expect(source.first.sessions).toMatchObject([{ id: "one" }]);
  const [changed, failed]: string[][] = [[], []];
  const stop = source.follow({
    changed: ({ sessions }) => changed?.push(...sessions.map((one) => one.id)),
    failed: (why) => failed?.push(why),
  });
  const reload = () => {
    for (const one of reloads) one();
  };
  write(sessionOf("two"));
  reload();
  expect(changed).toEqual(["two"]);
  rmSync(join(directory.path, "links.yaml"));
  reload();
  expect(failed).toEqual([expect.stringContaining("cannot read links.yaml")]);
  stop();
  expect(reloads.size).toBe(0);
});
