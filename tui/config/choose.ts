import { dirname, join, resolve } from "node:path";
import type { ContextOptions } from "../context.ts";
import { CliError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { didYouMean } from "../input/suggest.ts";
import type { Surroundings } from "../surroundings.ts";
import type { ClientConfig } from "./files.ts";
import type { ConfigLevel, SettingValue } from "./settings.ts";

/** Who named the context. */
export type ContextSource = "flag" | "environment" | ConfigLevel | "nobody";

/** The context that is used. */
export interface ChosenContext {
  /** Undefined when none was named. */
  readonly name: string | undefined;
  readonly source: ContextSource;
  readonly settings: ReadonlyMap<string, SettingValue>;
  /** The file that has it; paths in it are relative to its directory. */
  readonly path: string | undefined;
}

/** The name of the context that is used, and who named it: flag, environment, project, user, system. */
export function namedContext(
  options: Pick<ContextOptions, "context">,
  env: Surroundings["env"],
  config: ClientConfig,
): Pick<ChosenContext, "name" | "source"> {
  if (options.context !== undefined) return { name: options.context, source: "flag" };
  if (env["MUSTER_CONTEXT"]) return { name: env["MUSTER_CONTEXT"], source: "environment" };
  for (const { level, settings } of config.files) {
    const name = settings.get("context");
    if (typeof name === "string") return { name, source: level };
  }
  return { name: undefined, source: "nobody" };
}

/**
 * Chooses the context. Throws NO_CONTEXT when it is not there, unless the address is given: then only what the
 * context would have added is missing.
 */
export function chooseContext(
  options: ContextOptions,
  { env }: Pick<Surroundings, "env">,
  config: ClientConfig,
): ChosenContext {
  const { name, source } = namedContext(options, env, config);
  if (name === undefined) return { name, source, settings: new Map(), path: undefined };
  const file = config.files.find(({ contexts }) => contexts.has(name));
  const settings = file?.contexts.get(name);
  if (file !== undefined && settings !== undefined) return { name, source, settings, path: file.path };
  const isAddressGiven = options.address !== undefined || (env["MUSTER_ADDRESS"] && source !== "flag");
  if (isAddressGiven && source !== "flag") {
    return { name: undefined, source, settings: new Map(), path: undefined };
  }
  throw noContext(name, source, config);
}

/** The names of all contexts, each once. */
export function contextNames(config: ClientConfig): string[] {
  return [...new Set(config.files.flatMap(({ contexts }) => [...contexts.keys()]))];
}

/** The error for a context that is not there. */
export function noContext(name: string, source: ContextSource, config: ClientConfig): CliError {
  const names = contextNames(config);
  const by = {
    flag: "",
    environment: " (MUSTER_CONTEXT)",
    project: " (.muster.yaml of this project)",
    user: " (your configuration)",
    system: " (the configuration of this machine)",
    nobody: "",
  }[source];
  const meant = didYouMean(name, names);
  return new CliError(`there is no context ${JSON.stringify(name)}${by}`, {
    reason: "NO_CONTEXT",
    exitCode: exitCodes.usage,
    suggestion: meant ?? `Make it with: muster login -c ${name} --address URL`,
  });
}

/** A path of the configuration: relative to the file that names it, `~/` for the home directory. */
export function expandHome(
  path: string,
  { path: file }: Pick<ChosenContext, "path">,
  { home }: Pick<Surroundings, "home">,
): string {
  if (path.startsWith("~/")) return join(home, path.slice(2));
  return resolve(file === undefined ? "/" : dirname(file), path);
}
