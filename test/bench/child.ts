import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** A child process of a measurement. */
export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** What it reported when it was ready. */
  readonly ready: ChildLine;
  /** Resolves with the next line that it reports and that answers nothing. */
  next(): Promise<ChildLine>;
  /** Asks for what `answerCommands` of the program knows; rejects with what it throws, and when it ends. */
  call(command: string, options?: Readonly<Record<string, unknown>>): Promise<ChildLine>;
  /** Ends it with SIGTERM, and with SIGKILL after 20 s; resolves when it is gone. */
  stop(): Promise<void>;
}

/** What a child reports. */
export type ChildLine = Readonly<Record<string, unknown>>;

const stopMs = 20_000;

/**
 * Starts a program of this folder with one JSON argument; it reports JSON lines on descriptor 3, the first when ready,
 * and takes commands on its standard input.
 */
export async function startChild(
  file: string,
  options: Readonly<Record<string, unknown>>,
  runtimeFlags: readonly string[] = [],
): Promise<Child> {
  const path = new URL(file, import.meta.url).pathname;
  const child = spawn(process.execPath, [...runtimeFlags, path, JSON.stringify(options)], {
    stdio: ["pipe", "inherit", "inherit", "pipe"],
  });
  const { next, answer } = reportsOf(child, file);
  child.stdin?.on("error", () => {});
  let calls = 0;
  return {
    process: child,
    pid: child.pid ?? 0,
    ready: await next(),
    next,
    async call(command, given = {}) {
      const call = ++calls;
      const answered = answer(call);
      child.stdin?.write(`${JSON.stringify({ ...given, call, command })}\n`);
      return answered;
    },
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
        child.once("exit", () => {
          clearTimeout(timer);
          resolve();
        });
        child.kill("SIGTERM");
      }),
  };
}

interface Waiting {
  readonly resolve: (line: ChildLine) => void;
  readonly reject: (error: Error) => void;
}

// Lines in order for whoever asks for the next one, and answers for those who asked.
function reportsOf(child: ChildProcess, file: string) {
  const lines: ChildLine[] = [];
  const waiting: Waiting[] = [];
  const asked = new Map<number, Waiting>();
  let ended: Error | undefined;
  createInterface({ input: pipeOf(child) }).on("line", (text) => {
    const line = record(JSON.parse(text));
    const call = line["answers"];
    if (typeof call === "number") {
      const { resolve, reject } = asked.get(call) ?? {};
      asked.delete(call);
      if (typeof line["error"] === "string") reject?.(new Error(`${file}: ${line["error"]}`));
      else resolve?.(line);
      return;
    }
    const first = waiting.shift();
    if (first) first.resolve(line);
    else lines.push(line);
  });
  child.once("exit", (code, signal) => {
    ended = new Error(`${file} ended (${signal ?? code}) before it reported`);
    for (const { reject } of [...waiting.splice(0), ...asked.values()]) reject(ended);
  });
  const until = (keep: (one: Waiting) => void) =>
    new Promise<ChildLine>((resolve, reject) => {
      if (ended) reject(ended);
      else keep({ resolve, reject });
    });
  return {
    next: async () => lines.shift() ?? until((one) => waiting.push(one)),
    answer: (call: number) => until((one) => asked.set(call, one)),
  };
}

// The fourth descriptor is a pipe, as asked for above.
function pipeOf(child: ChildProcess): Readable {
  return child.stdio[3] as Readable;
}

function record(value: unknown): ChildLine {
  if (value === null || typeof value !== "object") throw new Error("a report is an object");
  return Object.fromEntries(Object.entries(value));
}
