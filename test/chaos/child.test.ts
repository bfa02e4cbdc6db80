import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Child, notNowCode, startChild, untilReady } from "./child.ts";

let folder: string;
let crashes: string[];
const children: Child[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "muster-child-"));
  crashes = [];
});

afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop(0)));
  rmSync(folder, { recursive: true, force: true });
});

/** A program that runs `lines`, with `ready()` for its first line. */
function start(lines: string): Child {
  const program = join(folder, "program.mjs");
  const ready = 'const ready = () => writeSync(3, "{}\\n");';
  writeFileSync(program, `import { writeSync } from "node:fs";\n${ready}\n${lines}\n`);
  const child = startChild({
    name: "child",
    program: pathToFileURL(program).href,
    argument: {},
    logFile: join(folder, "child.log"),
    crashed: (how) => crashes.push(how),
  });
  children.push(child);
  return child;
}

const lasting = "setInterval(() => {}, 1_000);";
const never = new AbortController().signal;

describe("a child that nobody asked to end has crashed", () => {
  test("before it was ready", async () => {
    await expect(start("process.exit(3);").ready).rejects.toThrow("child ended before it was ready: 3");
    expect(crashes).toEqual(["3 before it was ready"]);
  });

  test("by a signal from elsewhere", async () => {
    const child = start(lasting);
    process.kill(child.pid, "SIGTERM");
    await expect(child.ready).rejects.toMatchObject({ isCrash: true });
    expect(crashes).toEqual(["SIGTERM before it was ready"]);
  });

  test("after it was ready, with any code", async () => {
    const child = start("ready();");
    await child.ready;
    await child.exited;
    expect(crashes).toEqual(["0"]);
  });
});

describe("a child has not crashed", () => {
  test("that was asked to end while it started", async () => {
    const child = start(lasting);
    await child.stop(10_000);
    await expect(child.ready).rejects.toMatchObject({ isCrash: false });
    expect(crashes).toEqual([]);
  });

  test("that said that what it needs is away, as long as it was not ready", async () => {
    await expect(start(`process.exit(${notNowCode});`).ready).rejects.toMatchObject({ isCrash: false });
    expect(crashes).toEqual([]);
    const child = start(`ready(); process.exit(${notNowCode});`);
    await child.ready;
    await child.exited;
    expect(crashes).toEqual([`${notNowCode}`]);
  });
});

describe("untilReady", () => {
  test("starts again what ended before it was ready", async () => {
    const programs = ["process.exit(3);", `process.exit(${notNowCode});`, `ready(); ${lasting}`];
    const next = () => start(programs.shift() ?? "");
    expect(await untilReady(next(), next, never)).toEqual({});
    expect(programs).toEqual([]);
    expect(crashes).toEqual(["3 before it was ready"]);
  });

  test("gives up what crashes again and again", async () => {
    const next = () => start("process.exit(3);");
    await expect(untilReady(next(), next, never)).rejects.toThrow("child ended before it was ready: 3");
    expect(crashes).toHaveLength(5);
  });

  test("starts nothing more once it is told to stop", async () => {
    const stopping = new AbortController();
    const child = start(lasting);
    const ready = untilReady(child, () => start(lasting), stopping.signal);
    stopping.abort();
    await child.stop(10_000);
    expect(await ready).toBeNull();
    expect(children).toHaveLength(1);
  });
});
