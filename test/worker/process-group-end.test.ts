import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type ProcessGroup, startProcessGroup } from "../../worker/process-group.ts";
import type { StartOptions } from "../../worker/process-start.ts";
import { readProcess } from "../../worker/process-table.ts";

const never = new AbortController().signal;

/** The pid that was given last: the next one follows it. */
const lastPid = "/proc/sys/kernel/ns_last_pid";

let directory: string;

let marker: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "muster-process-group-"));
  marker = `MUSTER_LEASE=lse_${crypto.randomUUID()}`;
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe("a process group's end", () => {
  test("stop ends the leader and its grandchildren by SIGTERM", async () => {
    const group = startNode(`${requireSpawn}
      spawn(process.execPath, ["-e", ${JSON.stringify(`
        ${requireSpawn}
        spawn(process.execPath, ["-e", "console.log(process.pid); setTimeout(() => {}, 60_000)"],
          { stdio: ["ignore", "inherit", "inherit"] });
        console.log(process.pid);
        setTimeout(() => {}, 60_000);
      `)}], { stdio: ["ignore", "inherit", "inherit"] });
      console.log(process.pid);
    `);
    const pids = (await lines(group.stdout, 3)).map(Number);
    expect(pids.every(isRunning)).toBe(true);
    expect(await group.stop({ graceMs: 60_000, signal: never })).toBe("stopped");
    expect(pids.filter(isRunning)).toEqual([]);
    expect(await group.exited).toEqual({ code: null, signal: "SIGTERM" });
  });

  test("stop ends a daemon that took a session of its own and lost its parent", async () => {
    const group = startNode(`${daemonScript({ env: "process.env" })} setTimeout(() => {}, 60_000);`);
    const [daemon] = (await lines(group.stdout, 1)).map(Number);
    expect(readProcess(daemon ?? 0)).toMatchObject({ sessionId: daemon, isDead: false });
    expect(await group.stop({ graceMs: 60_000, signal: never })).toBe("stopped");
    expect(isRunning(daemon ?? 0)).toBe(false);
  });

  test("a daemon in a session of its own dies when the leader exits by itself", async () => {
    const group = startNode(
      `${daemonScript({ env: "process.env" })} process.stdin.once("data", () => process.exit(0));`,
    );
    const [daemon] = (await lines(group.stdout, 1)).map(Number);
    expect(isRunning(daemon ?? 0)).toBe(true);
    group.stdin.write("go");
    expect(await group.exited).toEqual({ code: 0, signal: null });
    await group.gone;
    expect(isRunning(daemon ?? 0)).toBe(false);
  });

  test("stop finds a child without the marker, in a session of its own, by its parent", async () => {
    const group = startNode(`${requireSpawn}
      spawn(process.execPath, ["-e", "console.log(process.pid); setTimeout(() => {}, 60_000)"],
        { stdio: ["ignore", "inherit", "inherit"], detached: true, env: {} });
    `);
    const [child] = (await lines(group.stdout, 1)).map(Number);
    await group.stop({ graceMs: 60_000, signal: never });
    expect(isRunning(child ?? 0)).toBe(false);
  });

  test("a process that ignores SIGTERM is killed after the grace", async () => {
    const group = startNode(stubborn);
    await lines(group.stdout, 1);
    expect(await group.stop({ graceMs: 30, signal: never })).toBe("killed");
    expect(await group.exited).toEqual({ code: null, signal: "SIGKILL" });
    expect(isRunning(group.pid)).toBe(false);
  });

  test("a grandchild may use the grace although its leader is gone", async () => {
    const group = startNode(`${requireSpawn}
      const tidy = 'process.on("SIGTERM", () => setTimeout(() => { console.log("tidied"); process.exit() }, 50)); console.log("ready"); setTimeout(() => {}, 60_000)';
      spawn(process.execPath, ["-e", tidy], { stdio: ["ignore", "inherit", "inherit"] });
      process.on("SIGTERM", () => process.exit(0));
    `);
    const output = createInterface(group.stdout)[Symbol.asyncIterator]();
    expect((await output.next()).value).toBe("ready");
    expect(await group.stop({ graceMs: 60_000, signal: never })).toBe("stopped");
    expect((await output.next()).value).toBe("tidied");
  });

  test("a grandchild that ignores SIGTERM is killed after the grace although its leader is gone", async () => {
    const group = startNode(`${requireSpawn}
      spawn(process.execPath, ["-e", ${JSON.stringify(stubborn)}], { stdio: ["ignore", "inherit", "inherit"] });
    `);
    const [stubbornPid] = (await lines(group.stdout, 1)).map(Number);
    expect(await group.stop({ graceMs: 50, signal: never })).toBe("killed");
    expect(await group.exited).toEqual({ code: null, signal: "SIGTERM" });
    expect(isRunning(stubbornPid ?? 0)).toBe(false);
  });

  test("an abort ends the grace at once", async () => {
    const group = startNode(stubborn);
    await lines(group.stdout, 1);
    const abort = new AbortController();
    const stopped = group.stop({ graceMs: 3_600_000, signal: abort.signal });
    abort.abort();
    expect(await stopped).toBe("killed");
  });

  test("a second stop without grace overrules the first", async () => {
    const group = startNode(stubborn);
    await lines(group.stdout, 1);
    const patient = group.stop({ graceMs: 3_600_000, signal: never });
    expect(await group.stop({ graceMs: 0, signal: never })).toBe("killed");
    expect(await patient).toBe("killed");
  });

  test("a background process that keeps the output open delays neither exit nor end of output", async () => {
    const group = start({
      argv: ["sh", "-c", "sleep 100000 & echo $!"],
      env: { PATH: process.env["PATH"] ?? "" },
    });
    const output = text(group.stdout);
    expect(await group.exited).toEqual({ code: 0, signal: null });
    await group.gone;
    const background = Number(await output);
    expect(background).toBeGreaterThan(1);
    expect(isRunning(background)).toBe(false);
    expect(await group.stop({ graceMs: 0, signal: never })).toBe("stopped");
  });

  test("leaves the processes of another group alone", async () => {
    const other = start({ argv: nodeArgv("process.stdin.resume()"), marker: "MUSTER_LEASE=lse_other" });
    const group = startNode("process.stdin.resume()");
    expect(await group.stop({ graceMs: 60_000, signal: never })).toBe("stopped");
    expect(isRunning(other.pid)).toBe(true);
  });

  // Only root may choose the pid of the next process, where /proc/sys can be written at all.
  test.skipIf(!canWrite(lastPid))(
    "leaves a group alone that strangers began with the pid of the leader, during the grace of others",
    async () => {
      const group = startNode(`${requireSpawn}
        spawn(process.execPath, ["-e", ${JSON.stringify(stubborn)}],
          { stdio: ["ignore", "inherit", "inherit"], detached: true });
      `);
      const [stubbornPid] = (await lines(group.stdout, 1)).map(Number);
      const abort = new AbortController();
      const stopped = group.stop({ graceMs: 3_600_000, signal: abort.signal });
      await group.exited;
      const stranger = await startGroupWithPid(group.pid);
      abort.abort();
      expect(await stopped).toBe("killed");
      expect(isRunning(stubbornPid ?? 0)).toBe(false);
      expect(isRunning(stranger)).toBe(true);
    },
  );
});

const requireSpawn = 'const { spawn } = require("node:child_process");';

const stubborn = 'process.on("SIGTERM", () => {}); setTimeout(() => {}, 60_000); console.log(process.pid);';

/** A script that starts, through a process that exits, a daemon in its own session, and prints its pid. */
function daemonScript({ env }: { env: string }): string {
  const between = `${requireSpawn}
    const daemon = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60_000)"],
      { detached: true, stdio: "ignore", env: ${env} });
    daemon.unref();
    require("node:fs").writeSync(1, daemon.pid + "\\n");`;
  return `${requireSpawn}
    spawn(process.execPath, ["-e", ${JSON.stringify(between)}], { detached: true, stdio: ["ignore", "inherit", "inherit"] });`;
}

function nodeArgv(script: string): string[] {
  return [process.execPath, "-e", script];
}

function startNode(script: string, options: Partial<StartOptions> = {}): ProcessGroup {
  return start({ argv: nodeArgv(script), ...options });
}

function start(options: Partial<StartOptions> & Pick<StartOptions, "argv">): ProcessGroup {
  const group = startProcessGroup({ env: {}, marker, ...options });
  onTestFinished(() => group.stop({ graceMs: 0, signal: never }).then(() => undefined));
  return group;
}

/** Starts a group whose leader has this pid and exits; returns the pid of its other process. */
async function startGroupWithPid(pid: number): Promise<number> {
  for (let attempt = 0; attempt < 1_000; attempt++) {
    // Whoever else starts a process just then takes the pid.
    await writeFile(lastPid, `${pid - 1}`);
    const leader = spawn("sh", ["-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], {
      detached: true,
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [[printed]] = await Promise.all([lines(leader.stdout, 1), once(leader, "exit")]);
    const member = Number(printed);
    onTestFinished(() => {
      if (readProcess(member)?.groupId === leader.pid) process.kill(member, "SIGKILL");
    });
    if (leader.pid === pid) return member;
  }
  throw new Error(`no process got the pid ${pid}`);
}

function canWrite(path: string): boolean {
  try {
    writeFileSync(path, readFileSync(path));
    return true;
  } catch {
    return false;
  }
}

/** The first lines of a stream, which is read on. */
function lines(stream: Readable, count: number): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string[]>();
  const seen: string[] = [];
  createInterface(stream)
    .on("line", (line) => {
      if (seen.push(line) === count) resolve([...seen]);
    })
    .once("close", () => reject(new Error(`the output ended after ${seen.length} of ${count} lines`)));
  return promise;
}

function isRunning(pid: number): boolean {
  const entry = readProcess(pid);
  return entry !== null && !entry.isDead;
}
