import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** A process of a run. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** The first line that it reports; rejects when it ends before. */
  readonly ready: Promise<Readonly<Record<string, unknown>>>;
  /** Resolves when it is gone, however it ended. */
  readonly exited: Promise<void>;
  readonly isRunning: boolean;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when it has not ended after `graceMs`. */
  stop(graceMs: number): Promise<void>;
  /** Called with each line that it reports after the first. */
  onLine(listen: (line: Readonly<Record<string, unknown>>) => void): void;
}

/**
 * Starts a program of this folder with one JSON argument. It reports JSON lines on descriptor 3, the first when it is
 * ready; what it writes otherwise goes to `logFile`. It leads a process group of its own, and nothing else.
 */
export function startChild(options: {
  readonly name: string;
  readonly program: string;
  readonly argument: Readonly<Record<string, unknown>>;
  readonly logFile: string;
  readonly runtimeFlags?: readonly string[];
  /** Called when it ends after it was ready and nobody had asked it to. */
  readonly crashed?: (how: string) => void;
}): Child {
  const { name, program, argument, logFile, runtimeFlags = [], crashed } = options;
  const path = new URL(program, import.meta.url).pathname;
  const log = openSync(logFile, "a");
  const child = spawn(process.execPath, [...runtimeFlags, path, JSON.stringify(argument)], {
    stdio: ["ignore", log, log, "pipe"],
  });
  closeSync(log);
  let isRunning = true;
  let isReady = false;
  let isAsked = false;
  child.once("exit", (code, signal) => {
    if (isReady && !isAsked) crashed?.(`${signal ?? code}`);
  });
  const exited = new Promise<void>((resolve) => {
    const done = () => {
      isRunning = false;
      resolve();
    };
    child.once("exit", done);
    child.once("error", done);
  });
  const listeners: ((line: Readonly<Record<string, unknown>>) => void)[] = [];
  const ready = new Promise<Readonly<Record<string, unknown>>>((resolve, reject) => {
    let isFirst = true;
    createInterface({ input: pipeOf(child) }).on("line", (text) => {
      const line = recordOf(JSON.parse(text));
      isReady = true;
      if (isFirst) resolve(line);
      else for (const listen of listeners) listen(line);
      isFirst = false;
    });
    void exited.then(() => reject(new Error(`${name} ended before it was ready; see ${logFile}`)));
  });
  // Perhaps nobody waits for it.
  ready.catch(() => {});
  return {
    name,
    pid: child.pid ?? 0,
    ready,
    exited,
    get isRunning() {
      return isRunning;
    },
    signal: (signal) => {
      if (signal === "SIGKILL" || signal === "SIGTERM") isAsked = true;
      if (isRunning) child.kill(signal);
    },
    async stop(graceMs) {
      if (!isRunning) return;
      isAsked = true;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await exited;
      clearTimeout(timer);
    },
    onLine: (listen) => listeners.push(listen),
  };
}

function pipeOf(child: ChildProcess): Readable {
  const pipe = child.stdio[3];
  if (pipe === null || pipe === undefined || !("read" in pipe)) throw new Error("descriptor 3 is no pipe");
  return pipe;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) throw new Error("a child reports JSON objects");
  return Object.fromEntries(Object.entries(value));
}
