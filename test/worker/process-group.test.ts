import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { killRecordedGroup, type ProcessGroup, startProcessGroup } from "../../worker/process-group.ts";
import { ProcessStartError, type StartOptions } from "../../worker/process-start.ts";
import { readProcess } from "../../worker/process-table.ts";

const never = new AbortController().signal;

let directory: string;

let marker: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "muster-process-group-"));
  marker = `MUSTER_LEASE=lse_${crypto.randomUUID()}`;
});

afterEach(() => rm(directory, { recursive: true, force: true }));

describe("a process group's start", () => {
  test("gives the process exactly the given environment and the marker", async () => {
    const before = process.env["NODE_V8_COVERAGE"];
    process.env["NODE_V8_COVERAGE"] = join(directory, "coverage");
    onTestFinished(() => {
      if (before === undefined) delete process.env["NODE_V8_COVERAGE"];
      else process.env["NODE_V8_COVERAGE"] = before;
    });
    const group = startNode("process.stdout.write(JSON.stringify(process.env))", { env: { COLOUR: "blue" } });
    const printed = JSON.parse(await text(group.stdout));
    expect(printed).toEqual({ COLOUR: "blue", MUSTER_LEASE: marker.slice("MUSTER_LEASE=".length) });
  });

  test("passes arguments as they are, through no shell", async () => {
    const script = "process.stdout.write(JSON.stringify(process.argv.slice(1)))";
    const given = ["$(id)", "a b", "; exit 3", "*", ""];
    const group = start({ argv: [process.execPath, "-e", script, "--", ...given] });
    expect(JSON.parse(await text(group.stdout))).toEqual(given);
    expect(await group.exited).toEqual({ code: 0, signal: null });
  });

  test("reports the exit code, and the signal that ended the leader", async () => {
    expect(await startNode("process.exit(7)").exited).toEqual({ code: 7, signal: null });
    expect(await startNode("process.kill(process.pid, 'SIGKILL')").exited).toEqual({
      code: null,
      signal: "SIGKILL",
    });
  });

  test("runs in the given directory", async () => {
    const group = startNode("process.stdout.write(process.cwd())", { cwd: directory });
    expect(await text(group.stdout)).toBe(directory);
  });

  test("makes the leader a session of its own, known by its start time", async () => {
    const group = startNode("process.stdin.resume()");
    const entry = readProcess(group.pid);
    expect(entry).toMatchObject({ groupId: group.pid, sessionId: group.pid });
    expect(group.startTimeTicks).toBe(entry?.startTimeTicks);
  });

  test("names a program that does not exist", async () => {
    const error = await startFailure({ argv: ["no-such-program-of-muster"] });
    expect(error).toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining("no-such-program") });
    expect(error.suggestion).not.toBe("");
  });

  test("tells a missing directory from a missing program", async () => {
    const cwd = join(directory, "missing");
    const error = await startFailure({ argv: [process.execPath], cwd });
    expect(error).toMatchObject({ code: "DIRECTORY_NOT_USABLE", message: expect.stringContaining(cwd) });
  });

  test("names a file that is not executable", async () => {
    const file = join(directory, "plain.txt");
    await writeFile(file, "text");
    await chmod(file, 0o644);
    expect(await startFailure({ argv: [file] })).toMatchObject({ code: "NOT_EXECUTABLE" });
  });

  test("refuses arguments that the system cannot take", async () => {
    const argv = [process.execPath, "-e", "0", "x".repeat(4 * 1024 * 1024)];
    expect(await startFailure({ argv })).toMatchObject({ code: "TOO_LARGE" });
  });

  test.each([
    ["an empty argv", { argv: [] }],
    ["a NUL in an argument", { argv: [process.execPath, "a\0b"] }],
    ["a NUL in the environment", { argv: [process.execPath], env: { SECRET: "top\0secret" } }],
    ["a name with an equals sign", { argv: [process.execPath], env: { "A=B": "1" } }],
    ["a marker without a name", { argv: [process.execPath], marker: "lse_1" }],
  ])("refuses %s without showing values", async (_, options) => {
    const error = await startFailure(options);
    expect(error).toMatchObject({ code: "INVALID" });
    expect(`${error.message} ${error.cause}`).not.toContain("secret");
  });

  test("a failed start that nobody awaits raises nothing, and stops at once", async () => {
    const group = start({ argv: ["no-such-program-of-muster"] });
    group.stdin.write("ignored");
    expect(await text(group.stdout)).toBe("");
    await group.gone;
    expect(await group.stop({ graceMs: 1000, signal: never })).toBe("stopped");
    expect(group.pid).toBe(0);
  });

  test("input that nobody reads raises nothing", async () => {
    const group = startNode("process.exit(0)");
    group.stdin.write("x".repeat(1024 * 1024));
    group.stdin.end("y");
    expect(await group.exited).toEqual({ code: 0, signal: null });
    await group.gone;
  });
});

describe("a recorded group", () => {
  test("is killed with all its processes when the leader is provably the recorded one", async () => {
    const group = startNode(`${requireSpawn}
      spawn(process.execPath, ["-e", ${JSON.stringify(stubborn)}], { stdio: ["ignore", "inherit", "inherit"], env: {} });
    `);
    const [child] = (await lines(group.stdout, 1)).map(Number);
    const record = {
      pid: group.pid,
      startTimeTicks: group.startTimeTicks,
      marker: "MUSTER_LEASE=lse_unknown",
    };
    expect(await killRecordedGroup(record)).toBe(2);
    expect([group.pid, child ?? 0].filter(isRunning)).toEqual([]);
  });

  test("is left alone when its pid now belongs to another process", async () => {
    const group = startNode("process.stdin.resume()");
    const startTimeTicks = String(Number(group.startTimeTicks) - 1);
    const record = { pid: group.pid, startTimeTicks, marker: "MUSTER_LEASE=lse_unknown" };
    expect(await killRecordedGroup(record)).toBe(0);
    expect(await killRecordedGroup({ ...record, startTimeTicks: null })).toBe(0);
    expect(isRunning(group.pid)).toBe(true);
  });

  test("is found by its marker when the leader is gone or was never recorded", async () => {
    const daemons = await Promise.all([startOrphan(), startOrphan()]);
    expect(daemons.every(isRunning)).toBe(true);
    expect(await killRecordedGroup({ pid: 0, startTimeTicks: null, marker })).toBe(2);
    expect(daemons.filter(isRunning)).toEqual([]);
  });

  test("never includes the process that kills, nor its ancestors", async () => {
    const module = new URL("../../worker/process-group.ts", import.meta.url).href;
    const group = startNode(`
      import(${JSON.stringify(module)}).then(async ({ killRecordedGroup }) => {
        const record = { pid: ${process.pid}, startTimeTicks: null, marker: ${JSON.stringify(marker)} };
        console.log(await killRecordedGroup(record));
      });
    `);
    expect(await text(group.stdout)).toBe("0\n");
    expect(await group.exited).toEqual({ code: 0, signal: null });
  });

  test("waits no longer than its signal", async () => {
    const reason = new Error("enough");
    const record = { pid: 0, startTimeTicks: null, marker };
    await expect(killRecordedGroup(record, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
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

/** Starts a daemon that carries the marker and belongs to no group of this process; returns its pid. */
async function startOrphan(): Promise<number> {
  const [name = "", value = ""] = marker.split("=");
  const script = daemonScript({ env: "process.env" });
  const parent = spawn(process.execPath, ["-e", script], {
    env: { [name]: value },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(parent, "exit");
  const [pid] = (await lines(parent.stdout, 1)).map(Number);
  await exited;
  if (pid === undefined) throw new Error("the daemon did not print its pid");
  onTestFinished(() => {
    if (isRunning(pid)) process.kill(pid, "SIGKILL");
  });
  return pid;
}

async function startFailure(
  options: Partial<StartOptions> & Pick<StartOptions, "argv">,
): Promise<ProcessStartError> {
  const error = await start(options).exited.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ProcessStartError))
    throw new Error(`expected a ProcessStartError, got ${String(error)}`);
  return error;
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
