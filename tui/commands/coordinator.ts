import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { isLoopback, localKeyPath } from "../context.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Surroundings } from "../surroundings.ts";
import { notInstalled } from "./daemon.ts";

/** The configuration of a coordinator, as `@muster/server/config` made it. */
export type CoordinatorConfig = import("@muster/server/config").Config;

/** A coordinator that runs in this process. */
export interface RunningCoordinator {
  /** `http://host:port`. */
  readonly apiAddress: string;
  /** `host:port`. */
  readonly workerAddress: string;
  /** The first admin key, when it was made at this start. */
  readonly bootstrapKey: string | null;
  /** Where the coordinator keeps that key. */
  readonly adminKeyFile: string | null;
  readonly stop: () => Promise<void>;
  /** Resolves when the coordinator cannot go on. */
  readonly failed: Promise<Error>;
}

/**
 * Settles the configuration of a coordinator from flags, environment and file. Throws one error with all
 * problems, exit code 78.
 */
export async function settleConfig(
  flags: Readonly<Record<string, string | boolean | undefined>>,
  { env, cwd }: Pick<Surroundings, "env" | "cwd">,
): Promise<CoordinatorConfig> {
  const { loadConfig, ConfigError } = await import("@muster/server/config");
  try {
    const readFile = (path: string): string => readFileSync(resolve(cwd, path), "utf8");
    return loadConfig({ flags, env, readFile, otherVariables: ownVariables });
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    const { problems } = cause;
    throw new CliError(
      `the configuration has ${problems.length === 1 ? "a problem" : `${problems.length} problems`}`,
      {
        reason: "CONFIG_INVALID",
        exitCode: exitCodes.config,
        suggestion: "Every setting is described in: muster server --help",
        violations: problems.map(({ source, name, message, suggestion }) => ({
          field: `${source} ${name}`,
          message: suggestion === undefined ? message : `${message}. ${suggestion}`,
        })),
        cause,
      },
    );
  }
}

/** Starts a coordinator; what the machine refuses (a port in use, a locked directory) is told in plain words. */
export async function startCoordinator(
  config: CoordinatorConfig,
  signal: AbortSignal,
): Promise<RunningCoordinator> {
  const part: unknown = await import(serverModule).catch((cause: unknown) => {
    throw notInstalled("@muster/server", cause);
  });
  if (!isServerPart(part)) throw notInstalled("@muster/server", undefined);
  try {
    return await part.startServer(config, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw startError(error, config);
  }
}

/**
 * Leaves the admin key of a coordinator of this machine where the commands of this user look for it, with mode
 * 0600. Answers with the key and its path; undefined when the coordinator has not kept its key.
 */
export function keepLocalKey(
  coordinator: RunningCoordinator,
  surroundings: Surroundings,
): { readonly key: string; readonly path: string } | undefined {
  const key = coordinator.bootstrapKey ?? readKept(coordinator.adminKeyFile);
  if (key === undefined || !isLoopback(coordinator.apiAddress)) return undefined;
  const path = localKeyPath(surroundings);
  if (path !== coordinator.adminKeyFile) {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Removed first: the mode of a file that is there already would stay.
    rmSync(path, { force: true });
    writeFileSync(path, `${key}\n`, { mode: 0o600, flag: "wx" });
  }
  return { key, path };
}

/** Takes the key away again, if it is still this one. */
export function dropLocalKey(key: string, surroundings: Surroundings): void {
  const path = localKeyPath(surroundings);
  if (readKept(path) === key) rmSync(path, { force: true });
}

/** Resolves when the coordinator shall stop: `signal`, or a failure of its own, which is the answer. */
export async function untilStopped(
  coordinator: RunningCoordinator,
  signal: AbortSignal,
): Promise<Error | undefined> {
  const aborted = new Promise<undefined>((resolveAborted) => {
    if (signal.aborted) resolveAborted(undefined);
    signal.addEventListener("abort", () => resolveAborted(undefined), { once: true });
  });
  return Promise.race([aborted, coordinator.failed]);
}

/** Stops it in good order, or returns at once when the user insists. */
export async function stopCoordinator(coordinator: RunningCoordinator, forced: AbortSignal): Promise<void> {
  const insisted = new Promise<void>((resolveInsisted) => {
    if (forced.aborted) resolveInsisted();
    forced.addEventListener("abort", () => resolveInsisted(), { once: true });
  });
  await Promise.race([coordinator.stop(), insisted]);
}

// Variables of the other commands, which a coordinator must not take for mistakes.
const ownVariables = ["MUSTER_WORKER_KEY", "MUSTER_WORKER_KEY_FILE", "MUSTER_API_KEY", "MUSTER_API_KEY_FILE"];

const serverModule: string = "@muster/server";

interface ServerPart {
  readonly startServer: (
    config: CoordinatorConfig,
    options: { signal: AbortSignal },
  ) => Promise<RunningCoordinator>;
}

function isServerPart(part: unknown): part is ServerPart {
  return typeof part === "object" && part !== null && "startServer" in part;
}

function readKept(path: string | null): string | undefined {
  if (path === null) return undefined;
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

function startError(error: unknown, config: CoordinatorConfig): unknown {
  if (!(error instanceof Error)) return error;
  const { code, port, suggestion } = details(error);
  if (code === "EADDRINUSE" || code === "EACCES") {
    const flag = port === config.workerPort ? "--worker-port" : "--api-port";
    return new CliError(
      code === "EACCES" ? `port ${port} may not be used by this user` : `port ${port} is in use already`,
      {
        reason: code === "EACCES" ? "PORT_REFUSED" : "PORT_IN_USE",
        exitCode: exitCodes.conflict,
        suggestion: `Stop the other program, perhaps another muster, or choose another port with ${flag} (0 takes a free one).`,
        cause: error,
      },
    );
  }
  if (suggestion === undefined) return error;
  return new CliError(error.message, {
    reason: code ?? "START_FAILED",
    exitCode: exitCodes.unexpected,
    suggestion,
    cause: error,
  });
}

function details(error: Error): {
  code: string | undefined;
  port: number | undefined;
  suggestion: string | undefined;
} {
  return {
    code: "code" in error && typeof error.code === "string" ? error.code : undefined,
    port: "port" in error && typeof error.port === "number" ? error.port : undefined,
    suggestion: "suggestion" in error && typeof error.suggestion === "string" ? error.suggestion : undefined,
  };
}
