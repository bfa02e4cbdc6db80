import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

/** What a child reports on a line. */
export type ChildLine = Readonly<Record<string, unknown>>;

/** A process of a run. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** The first line that it reports; rejects with a ChildEndedError when it ends before. */
  readonly ready: Promise<ChildLine>;
  /** Resolves when it is gone, however it ended. */
  readonly exited: Promise<void>;
  readonly isRunning: boolean;
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, and SIGKILL when it has not ended after `graceMs`. */
  stop(graceMs: number): Promise<void>;
  /** Called with each line that it reports after the first. */
  onLine(listen: (line: ChildLine) => void): void;
}

/** A child ended before it was ready. */
export class ChildEndedError extends Error {
  override readonly name = "ChildEndedError";
  /** Nobody had asked it to end, and it did not say that what it needs is away. */
  readonly isCrash: boolean;

  constructor(message: string, isCrash: boolean) {
    super(message);
    this.isCrash = isCrash;
  }
}

/** Exit code of a child that cannot start at present, because what it needs is away: no crash, try again. */
export const notNowCode = 75;

const againMs = 500;
/** Crashes in a row after which a child is given up: it would never start. */
const mostCrashes = 5;

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
  /** Called when it ends and nobody had asked it to, ready or not, or when it could not be started. */
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
  const ending = Promise.withResolvers<{ readonly how: string; readonly isCrash: boolean }>();
  const end = (how: string, isNotNow: boolean): void => {
    if (!isRunning) return;
    isRunning = false;
    const isCrash = !isAsked && !isNotNow;
    if (isCrash) crashed?.(isReady ? how : `${how} before it was ready`);
    ending.resolve({ how, isCrash });
  };
  child.once("exit", (code, signal) => end(`${signal ?? code}`, !isReady && code === notNowCode));
  child.once("error", (error) => end(error.message, false));
  const listeners: ((line: ChildLine) => void)[] = [];
  const ready = new Promise<ChildLine>((resolve, reject) => {
    createInterface({ input: pipeOf(child) }).on("line", (text) => {
      const line = recordOf(JSON.parse(text));
      if (isReady) for (const listen of listeners) listen(line);
      else resolve(line);
      isReady = true;
    });
    void ending.promise.then(({ how, isCrash }) =>
      reject(new ChildEndedError(`${name} ended before it was ready: ${how}; see ${logFile}`, isCrash)),
    );
  });
  // Perhaps nobody waits for it.
  ready.catch(() => {});
  const exited = ending.promise.then(() => {});
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

/**
 * Resolves with the first line of a child; one that ends before is started anew by `again`, as a service manager
 * would. Null once the signal is aborted: whoever does that ends the last child, and none follows. Rejects when it
 * crashed too often in a row.
 */
export async function untilReady(
  first: Child,
  again: () => Child,
  signal: AbortSignal,
): Promise<ChildLine | null> {
  let child = first;
  for (let crashes = 0; ; child = again()) {
    try {
      return await child.ready;
    } catch (error) {
      if (signal.aborted) return null;
      if (!(error instanceof ChildEndedError)) throw error;
      if (error.isCrash && ++crashes === mostCrashes) throw error;
    }
    await delay(againMs, undefined, { signal }).catch(() => {});
    if (signal.aborted) return null;
  }
}

function pipeOf(child: ChildProcess): Readable {
  const pipe = child.stdio[3];
  if (pipe === null || pipe === undefined || !("read" in pipe)) throw new Error("descriptor 3 is no pipe");
  return pipe;
}

function recordOf(value: unknown): ChildLine {
  if (typeof value !== "object" || value === null) throw new Error("a child reports JSON objects");
  return Object.fromEntries(Object.entries(value));
}
