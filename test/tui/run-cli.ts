import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { runProgram } from "../../tui/program.ts";
import { Interrupted, type Surroundings } from "../../tui/surroundings.ts";

/** What a command line is run with; everything else is empty. */
export interface RunInput {
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** What is typed into the terminal. */
  readonly typed?: string;
  readonly cwd?: string;
  /** The home directory; one that is not there by default. */
  readonly home?: string;
  /** The configuration for everybody on this machine; none by default. */
  readonly systemConfig?: string;
  /** The clock, in milliseconds since 1970; that of the machine by default. */
  readonly nowMs?: number;
  /** stdout and stderr are terminals of this size. */
  readonly terminal?: { readonly columns: number; readonly rows: number };
}

/** A command that runs in this process. */
export interface Running {
  /** Resolves with the exit code. */
  readonly exit: Promise<number>;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves when stdout holds this text. */
  readonly printed: (text: string) => Promise<void>;
  /** Resolves when stderr holds this text. */
  readonly noted: (text: string) => Promise<void>;
  /** What the command was given. */
  readonly surroundings: Surroundings;
  /** Ctrl-C. */
  readonly interrupt: () => void;
}

/** How a command ended. */
export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts a command line, without the program's name. */
export function startCli(argv: readonly string[], input: RunInput = {}): Running {
  const stop = new AbortController();
  const force = new AbortController();
  const out = capture(input.terminal);
  const err = capture(input.terminal);
  const given = input.typed ?? input.stdin;
  const stdin = Object.assign(Readable.from(given === undefined ? [] : [Buffer.from(given)]), {
    isTTY: input.terminal !== undefined && input.stdin === undefined,
  });
  const surroundings: Surroundings = {
    env: { LANG: "C.UTF-8", ...input.env },
    stdin,
    stdout: out.stream,
    stderr: err.stream,
    signal: stop.signal,
    forced: force.signal,
    cwd: input.cwd ?? tmpdir(),
    home: input.home ?? "/nonexistent",
    systemConfig: input.systemConfig ?? "/nonexistent/config.yaml",
    now: () => input.nowMs ?? Date.now(),
  };
  const run = async (): Promise<number> => {
    const exitCode = await runProgram(argv, surroundings);
    await Promise.all([out.close(), err.close()]);
    return exitCode;
  };
  return {
    exit: run(),
    surroundings,
    stdout: out.text,
    stderr: err.text,
    printed: out.until,
    noted: err.until,
    interrupt: () => (stop.signal.aborted ? force : stop).abort(new Interrupted("SIGINT")),
  };
}

/** Runs a command line to its end. */
export async function runCli(argv: readonly string[], input: RunInput = {}): Promise<Ran> {
  const running = startCli(argv, input);
  const exitCode = await running.exit;
  return { exitCode, stdout: running.stdout(), stderr: running.stderr() };
}

/** Makes an empty directory, and how to remove it. */
export function makeDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "muster-tui-test-"));
  // As root Postgres runs as another account, which must get through to its data.
  chmodSync(path, 0o755);
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

function capture(terminal: RunInput["terminal"]) {
  let text = "";
  const waiters = new Set<() => void>();
  const stream = Object.assign(new PassThrough(), { isTTY: terminal !== undefined, ...terminal });
  stream.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    for (const waiter of waiters) waiter();
  });
  const until = (wanted: string): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const look = (): void => {
      if (!text.includes(wanted)) return;
      waiters.delete(look);
      resolve();
    };
    waiters.add(look);
    look();
    return promise;
  };
  // What was written last arrives before the end does.
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      stream.once("end", resolve);
      stream.end();
    });
  return { stream, text: () => text, until, close };
}
