import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { type Readable, Writable } from "node:stream";
import type { JobCgroup } from "./job-cgroup.ts";

/** Why a process could not be started. All but NO_RESOURCES are the job's own fault. */
export type ProcessStartCode =
  | "NOT_FOUND"
  | "NOT_EXECUTABLE"
  | "DIRECTORY_NOT_USABLE"
  | "TOO_LARGE"
  | "NO_RESOURCES"
  | "INVALID";

/** A process could not be started; nothing runs. */
export class ProcessStartError extends Error {
  override readonly name = "ProcessStartError";
  readonly code: ProcessStartCode;
  /** What to do about it, in one sentence. */
  readonly suggestion: string;

  constructor(code: ProcessStartCode, message: string, suggestion: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
    this.suggestion = suggestion;
  }
}

/** What to start. */
export interface StartOptions {
  /** Program and arguments, each passed as it is. The program is looked for in the `PATH` of `env`. */
  readonly argv: readonly string[];
  /** The whole environment of the process, but for the marker. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** One `NAME=value` by which the processes of this job are found again, e.g. `MUSTER_LEASE=lse_…`. */
  readonly marker: string;
  /** User and group that it runs as, which nothing else runs as; needs root. */
  readonly uid?: number;
  /** What can be read on its descriptors 3, 4, …; each ends behind it. */
  readonly inputs?: readonly Uint8Array[];
  /** Holds all processes; the caller removes it. */
  readonly cgroup?: JobCgroup;
  /** The program only holds the job's own in a sandbox: SIGTERM is not for it, and its end is theirs. */
  readonly isSandbox?: boolean;
}

/** The first process of a group, with a pipe for each standard stream. */
export type Leader = ChildProcessByStdio<Writable, Readable, Readable>;

/**
 * Starts a process in a new session, never through a shell. What Node reports later, by an event of a child
 * without a pid, is made an error by `describeStartFailure`.
 */
export function spawnLeader(options: StartOptions): Leader | ProcessStartError {
  const [program, ...args] = options.argv;
  const separator = options.marker.indexOf("=");
  if (program === undefined || program === "") return invalid("argv names no program");
  if (separator < 1) return invalid("the marker is not NAME=value");
  if (options.argv.some(hasNul)) return invalid("an argument contains a NUL");
  for (const [name, value] of Object.entries(options.env)) {
    if (name === "" || name.includes("=") || hasNul(name)) return invalid("a name in env is not usable");
    if (hasNul(value)) return invalid(`the value of ${name} in env contains a NUL`);
  }
  try {
    const start = () => spawnWith(options, program, args, separator);
    return options.cgroup === undefined ? start() : options.cgroup.enter(start);
  } catch (cause) {
    return describeStartFailure(options, cause);
  }
}

function spawnWith(
  options: StartOptions,
  program: string,
  args: readonly string[],
  separator: number,
): Leader {
  const { uid, cwd, inputs = [] } = options;
  const child = spawn(program, args, {
    // Node passes its own NODE_V8_COVERAGE on unless the environment has the name, if only as undefined.
    env: {
      NODE_V8_COVERAGE: undefined,
      ...options.env,
      [options.marker.slice(0, separator)]: options.marker.slice(separator + 1),
    },
    ...(cwd === undefined ? {} : { cwd }),
    ...(uid === undefined ? {} : { uid, gid: uid }),
    shell: false,
    detached: true,
    stdio: ["pipe", "pipe", "pipe", ...inputs.map(() => "pipe" as const)],
  });
  for (const [index, input] of inputs.entries()) {
    const descriptor = child.stdio[3 + index];
    if (!(descriptor instanceof Writable)) continue;
    // A program that ends without reading it must not raise an uncaught EPIPE.
    descriptor.on("error", () => {});
    descriptor.end(input);
  }
  return asLeader(child);
}

// Safe: the first three are pipes in every call.
function asLeader(child: ChildProcess): Leader {
  return child as Leader;
}

/** Reads an error of a start by its errno; says nothing of the values of the environment. */
export function describeStartFailure(options: StartOptions, cause: unknown): ProcessStartError {
  const errno = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown";
  const what = `cannot start "${options.argv[0] ?? ""}"`;
  const { cwd } = options;
  switch (errno) {
    case "ENOENT":
    case "ENOTDIR":
    case "ENAMETOOLONG":
    case "ELOOP":
    case "EACCES":
    case "ENOEXEC": {
      // The kernel answers the same for a missing working directory as for a missing program.
      if (cwd !== undefined && !isUsableDirectory(cwd)) {
        const suggestion = "Make the directory, or let the worker's user enter it.";
        const message = `${what}: its directory "${cwd}" cannot be used (${errno})`;
        return new ProcessStartError("DIRECTORY_NOT_USABLE", message, suggestion, cause);
      }
      if (errno === "EACCES" || errno === "ENOEXEC") {
        const suggestion = "Make the file executable for the worker's user (chmod +x).";
        return new ProcessStartError(
          "NOT_EXECUTABLE",
          `${what}: not executable (${errno})`,
          suggestion,
          cause,
        );
      }
      const suggestion =
        "Name an installed program: a full path, or one in the PATH of the job's environment.";
      return new ProcessStartError("NOT_FOUND", `${what}: not found (${errno})`, suggestion, cause);
    }
    case "E2BIG": {
      const suggestion = "Pass large data on standard input or in a file.";
      return new ProcessStartError("TOO_LARGE", `${what}: arguments and env too large`, suggestion, cause);
    }
    case "EAGAIN":
    case "EMFILE":
    case "ENFILE":
    case "ENOMEM": {
      const suggestion = "Lower the worker's slots, or raise the limits of processes, files or memory.";
      const message = `${what}: the machine has no room for another process (${errno})`;
      return new ProcessStartError("NO_RESOURCES", message, suggestion, cause);
    }
    default:
      return new ProcessStartError("INVALID", `${what} (${errno})`, "Check argv, env and cwd.", cause);
  }
}

function invalid(why: string): ProcessStartError {
  return new ProcessStartError(
    "INVALID",
    `cannot start a process: ${why}`,
    "Correct argv, env or the marker.",
  );
}

function isUsableDirectory(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function hasNul(text: string): boolean {
  return text.includes("\0");
}
