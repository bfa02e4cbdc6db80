import { type Call, type GlobalOptions, prepareCall } from "./call.ts";
import type { ActionNeeds } from "./command.ts";
import { type ClientConfig, emptyConfig, loadConfig } from "./config/files.ts";
import type { Context } from "./context.ts";
import { readDuration } from "./input/values.ts";
import type { Surroundings } from "./surroundings.ts";

/** What a run of a command starts from. */
export interface RunStart {
  readonly surroundings: Surroundings;
  /** The options of all commands, as the command line has them. */
  readonly given: GlobalOptions;
  readonly argv: readonly string[];
  readonly needs: ActionNeeds;
}

/** Reads the configuration and prepares the run of a command. Throws usage errors and CONFIG_INVALID. */
export async function startCall(start: RunStart, onContext: (context: Context) => void): Promise<Call> {
  const { surroundings, given, argv, needs } = start;
  const config = await configFor(needs, surroundings);
  const globals = settleGlobals(given, surroundings.env, config);
  const yaml = globals.output === "yaml" ? await import("./output/yaml.ts") : undefined;
  return prepareCall(surroundings, globals, argv, onContext, { config, showYaml: yaml?.showYaml });
}

async function configFor(needs: ActionNeeds, surroundings: Surroundings): Promise<ClientConfig> {
  if (needs.noConfig === true) return emptyConfig;
  const loaded = loadConfig(surroundings);
  return needs.toleratesConfig === true ? loaded.catch(() => emptyConfig) : loaded;
}

/** The options of all commands with what environment and configuration add to the command line. */
export function settleGlobals(
  given: GlobalOptions,
  env: Surroundings["env"],
  config: ClientConfig,
): GlobalOptions {
  const setting = (name: string): string | undefined => {
    const value = config.files.map(({ settings }) => settings.get(name)).find((one) => one !== undefined);
    return typeof value === "string" ? value : undefined;
  };
  // --json is the stronger of the two: it is on the command line.
  const output =
    given.output ?? (given.json === true ? undefined : env["MUSTER_OUTPUT"] || setting("output"));
  const time = given.time ?? setting("time");
  const color = given.color ?? setting("color");
  const timeout = given.timeout ?? milliseconds(setting("timeout"));
  return {
    ...given,
    ...(output === undefined ? {} : { output }),
    ...(time === undefined ? {} : { time }),
    ...(color === undefined ? {} : { color }),
    ...(timeout === undefined ? {} : { timeout }),
  };
}

function milliseconds(text: string | undefined): number | undefined {
  const reading = text === undefined ? undefined : readDuration(text);
  return reading?.kind === "value" ? reading.value : undefined;
}
