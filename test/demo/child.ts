import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { readTexts } from "./parent.ts";

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A process that the demo started. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** What it said when it was ready. Rejects when it ends before. */
  readonly ready: Promise<Readonly<Record<string, string>>>;
  readonly exited: Promise<Exit>;
  readonly isRunning: boolean;
  /** The demo killed it on purpose. */
  readonly isKilled: boolean;
  /** The last lines of what it wrote. */
  lastLines(count: number): string[];
  /** Asks it to end (SIGTERM), and kills it when it has not after `graceMs`. */
  stop(graceMs: number): Promise<Exit>;
  /** `kill -9`. */
  kill(): Promise<Exit>;
}

const keptLines = 200;

/**
 * Starts a program of this folder. It gets its settings on standard input, which then stays open: its end is how
 * the child learns that we are gone. In a session of its own, so that Ctrl-C reaches the demo alone, which ends its
 * children in order. `mark` is its one argument: it is found by that.
 */
export function startChild(options: {
  readonly name: string;
  /** File name in this folder. */
  readonly program: string;
  /** Flags for Node itself. */
  readonly runtimeFlags?: readonly string[];
  readonly mark: string;
  readonly settings: Readonly<Record<string, string>>;
}): Child {
  const { name, program, runtimeFlags = [], mark, settings } = options;
  const path = fileURLToPath(new URL(program, import.meta.url));
  const child = spawn(process.execPath, [...runtimeFlags, path, mark], {
    stdio: ["pipe", "pipe", "pipe", "pipe"],
    detached: true,
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) keepLines(stream, lines);
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", reject);
  });
  const ready = firstLine(child, exited, name);
  // Perhaps nobody waits for it.
  ready.catch(() => {});
  child.stdin.on("error", () => {});
  child.stdin.write(`${JSON.stringify(settings)}\n`);
  let isRunning = true;
  void exited
    .catch(() => {})
    .then(() => {
      isRunning = false;
    });
  let isKilled = false;
  return {
    name,
    pid: child.pid ?? 0,
    ready,
    exited,
    get isRunning() {
      return isRunning;
    },
    get isKilled() {
      return isKilled;
    },
    lastLines: (count) => lines.slice(-count),
    async stop(graceMs) {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      const exit = await exited;
      clearTimeout(timer);
      return exit;
    },
    kill() {
      isKilled = true;
      child.kill("SIGKILL");
      return exited;
    },
  };
}

/** How a child ended, for people. */
export function exitText({ code, signal }: Exit): string {
  return signal === null ? `exited with ${code}` : `was ended by ${signal}`;
}

async function firstLine(child: ChildProcess, exited: Promise<Exit>, name: string) {
  const pipe = readable(child.stdio[3]);
  const line = new Promise<string>((resolve) => createInterface({ input: pipe }).once("line", resolve));
  const ended = exited.then((exit) => {
    throw new Error(`${name} ${exitText(exit)} before it was ready`);
  });
  return readTexts(JSON.parse(await Promise.race([line, ended])));
}

function readable(stream: ChildProcess["stdio"][number] | undefined): Readable {
  if (stream === null || stream === undefined || !("read" in stream))
    throw new Error("descriptor 3 is no pipe");
  return stream;
}

function keepLines(stream: Readable, lines: string[]): void {
  createInterface({ input: stream }).on("line", (line) => {
    lines.push(line);
    if (lines.length > keptLines) lines.shift();
  });
}
