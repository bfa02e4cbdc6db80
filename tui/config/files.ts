import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join, parse, resolve } from "node:path";
import { CliError, type Violation } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Credential } from "./credentials.ts";
import type { ConfigLevel, SettingValue } from "./settings.ts";

/** What one file says. */
export interface ConfigFile {
  readonly level: ConfigLevel;
  readonly path: string;
  /** By name. */
  readonly settings: ReadonlyMap<string, SettingValue>;
  /** By the name of the context. A project has none. */
  readonly contexts: ReadonlyMap<string, ReadonlyMap<string, SettingValue>>;
}

/** What all files say. */
export interface ClientConfig {
  /** The strongest first: project, user, system. */
  readonly files: readonly ConfigFile[];
  /** Things to tell the user that do not stop a command. */
  readonly warnings: readonly string[];
  /** The keys of `muster login`, by the name of their context; read at each call. Throws when they are exposed. */
  readonly keys: () => ReadonlyMap<string, Credential>;
}

/** What is needed to find the files. */
export type ConfigPlace = Pick<Surroundings, "env" | "home" | "cwd" | "systemConfig">;

/** No configuration at all. */
export const emptyConfig: ClientConfig = { files: [], warnings: [], keys: () => new Map() };

/** The name of a project's file. */
export const projectFileName = ".muster.yaml";

/** The user's own file: `$XDG_CONFIG_HOME/muster/config.yaml`, or what `MUSTER_CLIENT_CONFIG` names. */
export function userConfigPath({ env, home, cwd }: ConfigPlace): string {
  const named = env["MUSTER_CLIENT_CONFIG"];
  if (named) return resolve(cwd, named);
  const base = env["XDG_CONFIG_HOME"];
  return join(base?.startsWith("/") ? base : join(home, ".config"), "muster", "config.yaml");
}

/** Where `muster login` keeps keys: beside the user's own file. */
export function credentialsPath(place: ConfigPlace): string {
  return join(dirname(userConfigPath(place)), "credentials.yaml");
}

/** The file for everybody on this machine. */
export function systemConfigPath({ systemConfig }: ConfigPlace): string {
  return systemConfig ?? "/etc/muster/config.yaml";
}

/** The file of the project that the directory of work is in: the nearest upward. Undefined without one. */
export function projectConfigPath(place: ConfigPlace): string | undefined {
  const own = userConfigPath(place);
  let folder = resolve(place.cwd);
  for (;;) {
    const path = join(folder, projectFileName);
    if (path !== own && isFile(path)) return path;
    if (folder === parse(folder).root) return undefined;
    folder = dirname(folder);
  }
}

/**
 * Reads every file that there is. Throws one CONFIG_INVALID error with all that is wrong in any of them, each with
 * file, line and column.
 */
export async function loadConfig(place: ConfigPlace): Promise<ClientConfig> {
  const files: ConfigFile[] = [];
  const warnings: string[] = [];
  const violations: Violation[] = [];
  for (const { level, path } of configPaths(place)) {
    if (level === "project" && !isTrusted(path)) {
      warnings.push(`${path} belongs to somebody else and is not read`);
      continue;
    }
    const text = readConfigText(path);
    if (text === undefined) continue;
    // YAML takes its time to load; most machines have no file.
    const { parseConfig } = await import("./parse.ts");
    const { file, violations: wrong } = parseConfig(text, path, level);
    files.push(file);
    violations.push(...wrong);
  }
  if (violations.length > 0) throw configInvalid(violations);
  return { files, warnings, keys: await keysOf(credentialsPath(place)) };
}

async function keysOf(path: string): Promise<ClientConfig["keys"]> {
  if (!existsSync(path)) return () => new Map();
  const { readCredentials } = await import("./credentials.ts");
  return () => readCredentials(path);
}

/** The files that may be there, the strongest first. */
export function configPaths(place: ConfigPlace): { readonly level: ConfigLevel; readonly path: string }[] {
  const project = projectConfigPath(place);
  return [
    ...(project === undefined ? [] : [{ level: "project" as const, path: project }]),
    { level: "user" as const, path: userConfigPath(place) },
    { level: "system" as const, path: systemConfigPath(place) },
  ];
}

/** The text of a file; undefined when there is none. Throws CONFIG_INVALID when it cannot be read. */
export function readConfigText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw configInvalid([{ field: path, message: `cannot be read: ${systemReason(cause)}` }]);
  }
}

/** The error for files with something wrong in them. */
export function configInvalid(violations: readonly Violation[]): CliError {
  return new CliError("the configuration is not valid", {
    reason: "CONFIG_INVALID",
    exitCode: exitCodes.config,
    suggestion: "Correct the file; what there is: muster help configuration",
    violations,
  });
}

/** Whether the system says that there is no such file. */
export function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

// A directory that everybody may write to, like /tmp, could hold a file of anybody.
function isTrusted(path: string): boolean {
  const own = process.getuid?.();
  if (own === undefined) return true;
  const { uid } = statSync(path);
  return uid === own || uid === 0;
}
