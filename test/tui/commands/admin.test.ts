import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { StatusService } from "@muster/client/v1/status_service";
import { CheckLevel, SystemService } from "@muster/client/v1/system_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { prepareCall } from "../../../tui/call.ts";
import { checkServer } from "../../../tui/commands/doctor-server.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { openSwitch } from "../../support/switch.ts";
import { makeDirectory, type RunInput, runCli, startCli } from "../run-cli.ts";

let muster: TestServer;
let directory: ReturnType<typeof makeDirectory>;
let input: RunInput;
beforeAll(async () => {
  muster = await startTestServer();
  directory = makeDirectory();
  input = {
    env: { MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key },
    cwd: directory.path,
  };
});
afterAll(async () => {
  await muster?.close();
  directory?.remove();
});

const run = (...argv: string[]) => runCli(argv, input);
const inDirectory = (name: string) => join(directory.path, name);

describe("key", () => {
  test("create prints the text alone on stdout, or keeps it in a new file for this user", async () => {
    const shown = await run("key", "create", "ci", "--scope", "submit,read", "--expires", "90d");
    expect(shown.stdout).toMatch(/^mk_api_\w+\n$/);
    expect(shown.stderr).toContain("it is not shown again. It ends in 90d0h.");
    const kept = await run(
      "key",
      "create",
      "dash",
      "--scope",
      "read",
      "--key-file",
      "dash.key",
      "-o",
      "name",
    );
    const text = readFileSync(inDirectory("dash.key"), "utf8").trim();
    expect(kept.stdout.trim()).toBe(text.split("_")[2]);
    expect(statSync(inDirectory("dash.key")).mode & 0o777).toBe(0o600);
    const json = await run("key", "create", "x", "--scope", "read", "--key-file", "x.key", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ key: { name: "x" }, text: "" });
  });

  test("create makes no key that would be lost, or that may do what is no scope", async () => {
    writeFileSync(inDirectory("old.key"), "x");
    expect((await run("key", "create", "a", "--scope", "read", "--key-file", "old.key")).exitCode).toBe(2);
    expect((await run("key", "create", "a", "--scope", "read", "-o", "name")).stderr).toContain("--key-file");
    const wrong = await run("key", "create", "a", "--scope", "red");
    expect([wrong.exitCode, wrong.stderr]).toEqual([2, expect.stringContaining("did you mean read?")]);
    expect((await run("key", "create", "a")).exitCode).toBe(2);
    expect((await run("key", "list", "-o", "json")).stdout).not.toContain('"a"');
  });

  test("list shows what is valid; revoke wants the name, and takes the text that leaked", async () => {
    const { key, text } = await muster.client(KeyService).createKey({ name: "leaked", scopes: ["read"] });
    const keyId = key?.keyId ?? "";
    expect((await run("key", "list")).stdout).toContain(`${keyId}\tleaked\tread`);
    const asked = await run("key", "revoke", text, "--reason", "in a log");
    expect(asked.exitCode).toBe(2);
    expect(asked.stderr).toContain(`muster key revoke ${keyId} --reason 'in a log' --confirm leaked`);
    const done = await run("key", "revoke", keyId.slice(0, 8), "--reason", "in a log", "--confirm", "leaked");
    expect(done).toMatchObject({ exitCode: 0, stdout: `leaked\t${keyId}\trevoked\n` });
    expect((await run("key", "list", "-o", "name")).stdout).not.toContain(keyId);
    expect((await run("key", "list", "--ended")).stdout).toContain("revoked");
    expect((await run("key", "revoke", "nobody")).exitCode).toBe(3);
    for (let n = 0; n < 2; n++) await muster.client(KeyService).createKey({ name: "twin", scopes: ["read"] });
    const twins = await run("key", "revoke", "twin");
    expect([twins.exitCode, twins.stderr]).toEqual([2, expect.stringContaining("any of 2 keys")]);
  });

  test("revoke leaves the last admin key, and whoami says who that is", async () => {
    const me = await run("whoami", "--json");
    const { key, org, actor } = JSON.parse(me.stdout);
    expect({ org, actor }).toEqual({ org: "default", actor: `key:${key.keyId}` });
    const refused = await run("key", "revoke", key.keyId, "--confirm", key.name);
    expect([refused.exitCode, refused.stderr]).toEqual([5, expect.stringContaining("LAST_ADMIN_KEY")]);
    const text = (await run("whoami")).stdout;
    expect(text).toContain("may\tread, submit, work, operate, admin");
    expect((await run("whoami", "-o", "name")).stdout).toBe(`${actor}\n`);
  });
});

describe("worker", () => {
  test("disable asks first, and enable and remove undo and end it", async () => {
    await muster.client(WorkerAdminService).createWorker({ name: "gpu-1" });
    const asked = await run("worker", "disable", "gpu-1");
    expect([asked.exitCode, asked.stderr]).toEqual([
      2,
      expect.stringContaining("Disable gpu-1: nothing is taken back"),
    ]);
    const disabled = await run("worker", "disable", "gpu-1", "--reason", "smells", "--yes");
    expect(disabled).toMatchObject({ exitCode: 0, stdout: "gpu-1\tdisabled\n" });
    const { worker } = await muster.client(WorkerAdminService).getWorker({ name: "gpu-1" });
    expect(worker?.state).toBe(WorkerState.DISABLED);
    expect((await run("worker", "enable", "gpu-1", "-o", "name")).stdout).toBe(`${worker?.workerId}\n`);
    expect((await run("worker", "remove", "gpu-1", "--yes")).exitCode).toBe(2);
    expect((await run("worker", "remove", "gpu-1", "--confirm", "gpu-1")).stdout).toBe("gpu-1\tremoved\n");
    expect((await run("worker", "remove", "gpu-1", "--confirm", "gpu-1")).exitCode).toBe(3);
  });
});

describe("audit", () => {
  test("list shows who changed what, and export all of it", async () => {
    await run("worker", "create", "box-1", "--key-file", "box-1.key");
    await run("worker", "drain", "box-1", "--reason", "tidy\u202e up");
    const list = await run("audit", "list", "--mine", "--action", "worker.", "--since", "1h", "-n", "2");
    const [titles, first] = list.stdout.split("\n");
    expect(titles).toBe("TIME\tACTOR\tACTION\tTARGET\tREASON\tDETAILS");
    expect(first).toMatch(/\tworker\.drain\twrk_/);
    expect(list.stderr).toContain("there are more");
    expect(list.stdout).not.toContain("\u202e");
    const shown = await runCli(["audit", "list", "--no-color"], {
      ...input,
      terminal: { columns: 100, rows: 30 },
    });
    const lines = stripVTControlCharacters(shown.stdout).split("\n");
    expect(lines[0]).toMatch(/^ *AGE +ACTOR +ACTION +TARGET/);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(100);
    const exported = await run("audit", "export", "--action", "worker.drain");
    const entries = exported.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(entries[0]).toMatchObject({ action: "worker.drain", details: { name: "box-1" } });
    expect(exported.stderr).toContain(`${entries.length} entr`);
    const none = await run("audit", "list", "--target", "nothing");
    expect([none.stdout.split("\n").length, none.stderr]).toEqual([2, expect.stringContaining("No entries")]);
    expect((await run("audit", "list", "--mine", "--actor", "x")).exitCode).toBe(2);
    expect((await run("audit", "list", "--since", "soon")).stderr).toContain("write it like 2h, 14:02");
  });

  test("tail tells the latest and each new entry once, whatever becomes of its connection", async () => {
    const target = muster.server.apiAddress.replace("http://", "");
    const between = await openSwitch(target);
    onTestFinished(() => between.close());
    await muster.client(WorkerAdminService).createWorker({ name: "tail-1" });
    const env = { ...input.env, MUSTER_ADDRESS: `http://${between.address}` };
    const tail = startCli(["audit", "tail", "--action", "worker.create", "-n", "1"], { ...input, env });
    await tail.printed("name=tail-1");
    await muster.client(JobService).submitJob({ job: { kind: "a" } });
    await muster.client(WorkerAdminService).createWorker({ name: "tail-2" });
    await tail.printed("name=tail-2");
    between.pointTo(null);
    between.cut();
    await tail.noted("Lost the coordinator");
    await muster.client(WorkerAdminService).createWorker({ name: "tail-3" });
    between.pointTo(target);
    await tail.printed("name=tail-3");
    tail.interrupt();
    expect(await tail.exit).toBe(130);
    expect(tail.stdout().match(/name=tail-\d/g)).toEqual(["name=tail-1", "name=tail-2", "name=tail-3"]);
    expect(tail.stdout()).not.toContain("job.submit");
  });
});

describe("the system", () => {
  test("is shown with its coordinators and its database", async () => {
    const { stdout } = await run("system");
    expect(stdout).toMatch(/^database\tPostgres \d+/);
    expect(stdout).toContain("COORDINATOR\tVERSION");
    expect(JSON.parse((await run("system", "--json")).stdout).database.connections).toBeGreaterThan(0);
  });

  test("is checked for doctor, with the process that answers", async () => {
    const surroundings = {
      env: input.env ?? {},
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      signal: new AbortController().signal,
      forced: new AbortController().signal,
      cwd: directory.path,
      home: directory.path,
      now: Date.now,
    };
    const checks = await checkServer(prepareCall(surroundings, {}, [], () => {}));
    const level = new Map(checks.map(({ id, level: found }) => [id, found]));
    expect(level.get("database.reachable")).toBe("ok");
    expect(level.get("artifacts.store")).toBe("ok");
    expect(level.get("node.version")).toBe("ok");
    expect(level.get("tls.expiry")).toBe("skip");
    expect(level.get("listener.loopback-without-tls")).toBe("ok");
    const { checks: raw } = await muster.client(SystemService).checkServer({});
    expect(raw.every((check) => check.level !== CheckLevel.UNSPECIFIED)).toBe(true);
  });

  test("counts the streams that it serves", async () => {
    const service = muster.client(SystemService);
    const stop = new AbortController();
    const watch = muster
      .client(StatusService)
      .watchStatus({}, { signal: stop.signal })
      [Symbol.asyncIterator]();
    await watch.next();
    expect(await service.getSystem({})).toMatchObject({ watches: 1, loopDelay: expect.anything() });
    stop.abort();
    await watch.next().catch(() => {});
    while ((await service.getSystem({})).watches > 0);
  });

  test("finds what a part of an id may mean", async () => {
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "find.me" } });
    expect((await run("find", jobId.slice(-8), "-o", "name")).stdout).toBe(`${jobId}\n`);
    expect((await run("find", "find", "--type", "kind,job")).stdout).toContain("kind\tfind.me");
    const none = await run("find", "nothing-like-this");
    expect([none.exitCode, none.stderr]).toEqual([3, "Nothing is called so.\n"]);
    expect((await run("find", "x", "--type", "wroker")).stderr).toContain("Did you mean worker?");
    expect(existsSync(inDirectory("a"))).toBe(false);
  });
});
