import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Surroundings } from "../surroundings.ts";
import { makeCoordinatorLog } from "./coordinator-log.ts";

/** The configuration of a coordinator, as `@muster/server/config` made it. */
export type CoordinatorConfig = import("@muster/server/config").Config;

/** A coordinator that runs in this process. */
export type RunningCoordinator = import("@muster/server").RunningServer;

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

/**
 * Starts a coordinator that logs to stderr. What the machine refuses (a port in use, a locked directory, a
 * database that does not answer) is told in plain words.
 */
export async function startCoordinator(
  config: CoordinatorConfig,
  surroundings: Surroundings,
): Promise<RunningCoordinator> {
  const { startServer } = await import("@muster/server");
  const { signal } = surroundings;
  try {
    return await startServer(config, { signal, logger: makeCoordinatorLog(config, surroundings) });
  } catch (error) {
    signal.throwIfAborted();
    throw databaseError(error, config);
  }
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

/**
 * Stops it in good order. When the user insists this returns at once: an embedded database is then left running,
 * and the next start takes it over.
 */
export async function stopCoordinator(
  coordinator: { readonly stop: () => Promise<void> },
  forced: AbortSignal,
): Promise<void> {
  const insisted = new Promise<void>((resolveInsisted) => {
    if (forced.aborted) resolveInsisted();
    forced.addEventListener("abort", () => resolveInsisted(), { once: true });
  });
  await Promise.race([coordinator.stop(), insisted]);
}

// Variables of the other commands, which a coordinator must not take for mistakes.
const ownVariables = ["MUSTER_WORKER_KEY", "MUSTER_WORKER_KEY_FILE", "MUSTER_API_KEY", "MUSTER_API_KEY_FILE"];

/** What the machine or its database refused, in plain words; other errors as they are. */
export function databaseError(error: unknown, config: CoordinatorConfig): unknown {
  if (!(error instanceof Error)) return error;
  const { code, suggestion } = details(error);
  if (suggestion !== undefined) {
    const exitCode = startExitCodes.get(code) ?? exitCodes.unexpected;
    return new CliError(error.message, {
      reason: code || "START_FAILED",
      exitCode,
      suggestion,
      cause: error,
    });
  }
  if (config.databaseUrl === undefined || !databaseCodes.test(code)) return error;
  // Host and port alone: the address has a password.
  const { host } = URL.parse(config.databaseUrl) ?? { host: "the database" };
  return new CliError(`the database at ${host} refuses: ${error.message || code}`, {
    reason: "DATABASE_UNAVAILABLE",
    exitCode: exitCodes.unreachable,
    suggestion: "Check DATABASE_URL, and that the database runs; without it an embedded one is used.",
    cause: error,
  });
}

const startExitCodes: ReadonlyMap<string, number> = new Map([
  ["PORT_IN_USE", exitCodes.conflict],
  ["DATA_DIRECTORY_IN_USE", exitCodes.conflict],
  ["DATA_DIRECTORY_VERSION", exitCodes.conflict],
  ["DATA_DIRECTORY_FOREIGN", exitCodes.conflict],
  ["PORT_FORBIDDEN", exitCodes.config],
  ["ADDRESS_UNAVAILABLE", exitCodes.config],
]);

// What the system and Postgres say when there is no way in: no route, no login, no such database.
const databaseCodes = /^(E[A-Z_]+|CONNECT\w*|CONNECTION_\w+|28\w{3}|3D000|42501|42P01|57P03|53300)$/;

function details(error: Error): { readonly code: string; readonly suggestion: string | undefined } {
  return {
    code: "code" in error && typeof error.code === "string" ? error.code : "",
    suggestion: "suggestion" in error && typeof error.suggestion === "string" ? error.suggestion : undefined,
  };
}
