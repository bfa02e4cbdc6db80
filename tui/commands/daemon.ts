import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Surroundings } from "../surroundings.ts";

/** What `@muster/worker/daemon` is run with. */
export interface DaemonOptions {
  /** The coordinator's worker listener, `host:port` or a URL. */
  readonly address: string;
  /** URL of the API; undefined: same host, 7070. */
  readonly apiAddress: string | undefined;
  readonly key: string;
  /** Name of this machine, for people. */
  readonly name: string;
  readonly slots: number;
  readonly points: number;
  readonly skills: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Names of variables that jobs may see besides the built-in ones. */
  readonly env: readonly string[];
  readonly transport: "auto" | "stream" | "poll";
  readonly mode: "once" | "continuous";
  readonly stateDir: string;
  readonly graceMs: number;
  /** Aborted: take nothing new, end what runs. */
  readonly draining: AbortSignal;
  /** Aborted: give back what runs, and end. */
  readonly signal: AbortSignal;
  readonly isQuiet: boolean;
  readonly surroundings: Surroundings;
}

/** Runs the worker daemon until it has ended; answers with its exit code. Loaded when it is needed. */
export async function runDaemon(options: DaemonOptions): Promise<number> {
  const part: unknown = await import(daemonModule).catch((cause: unknown) => {
    throw notInstalled("@muster/worker", cause);
  });
  if (!isDaemonPart(part)) throw notInstalled("@muster/worker", undefined);
  return part.runDaemon(options);
}

const daemonModule: string = "@muster/worker/daemon";

interface DaemonPart {
  readonly runDaemon: (options: DaemonOptions) => Promise<number>;
}

function isDaemonPart(part: unknown): part is DaemonPart {
  return typeof part === "object" && part !== null && "runDaemon" in part;
}

/** The error of a package that should be here and is not. */
export function notInstalled(name: string, cause: unknown): CliError {
  return new CliError(`the package ${name} cannot be loaded`, {
    reason: "PACKAGE_MISSING",
    exitCode: exitCodes.unexpected,
    suggestion: "Install muster again: npm ci in a checkout, npm install muster elsewhere.",
    cause,
  });
}
