import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** A child process of a measurement. */
export interface Child {
  readonly process: ChildProcess;
  /** What it reported when it was ready. */
  readonly ready: Readonly<Record<string, unknown>>;
  /** Resolves with the next line that it reports. */
  next(): Promise<Readonly<Record<string, unknown>>>;
  /** Ends it with SIGTERM; resolves when it is gone. */
  stop(): Promise<void>;
}

/** Starts a program of this folder with one JSON argument; it reports JSON lines on descriptor 3, the first when ready. */
export async function startChild(file: string, options: Readonly<Record<string, unknown>>): Promise<Child> {
  const path = new URL(file, import.meta.url).pathname;
  const child = spawn(process.execPath, [path, JSON.stringify(options)], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const reports = createInterface({ input: pipeOf(child) })[Symbol.asyncIterator]();
  const next = async () => {
    const { value, done } = await reports.next();
    if (done) throw new Error(`${file} ended before it reported`);
    return record(JSON.parse(value));
  };
  return {
    process: child,
    ready: await next(),
    next,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once("exit", () => resolve());
        child.kill("SIGTERM");
      }),
  };
}

/** User and system time of a process so far, in microseconds; 0 where /proc is missing. */
export function cpuMicros(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  // Ticks of a hundredth of a second.
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * 10_000;
}

// The fourth descriptor is a pipe, as asked for above.
function pipeOf(child: ChildProcess): Readable {
  return child.stdio[3] as Readable;
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (value === null || typeof value !== "object") throw new Error("a report is an object");
  return Object.fromEntries(Object.entries(value));
}
