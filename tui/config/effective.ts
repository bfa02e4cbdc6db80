import type { Call } from "../call.ts";
import { type CliError, usageError } from "../errors.ts";
import { didYouMean } from "../input/suggest.ts";
import { contextName, contextSettings, type Setting, type SettingValue, settings } from "./settings.ts";

/** A setting that holds, and where it comes from: a variable, or the path of a file. */
export interface EffectiveSetting {
  readonly name: string;
  readonly value: SettingValue;
  readonly source: string;
}

/** Every setting that holds: the environment before the files, of those the strongest. */
export function effectiveSettings({
  config,
  surroundings,
}: Pick<Call, "config" | "surroundings">): EffectiveSetting[] {
  const found: EffectiveSetting[] = [];
  for (const { name, variable } of settings) {
    const fromEnv = variable === undefined ? undefined : surroundings.env[variable];
    const file = config.files.find((one) => one.settings.has(name));
    const value = file?.settings.get(name);
    if (variable !== undefined && fromEnv) found.push({ name, value: fromEnv, source: variable });
    else if (file !== undefined && value !== undefined) found.push({ name, value, source: file.path });
  }
  const seen = new Set<string>();
  for (const { path, contexts } of config.files) {
    for (const [context, of] of contexts) {
      if (seen.has(context)) continue;
      seen.add(context);
      for (const [name, value] of of)
        found.push({ name: `contexts.${context}.${name}`, value, source: path });
    }
  }
  return found;
}

/** The setting of a name like `output` or `contexts.prod.address`. Throws a usage error when there is none. */
export function findSetting(name: string): Setting {
  const [first = "", context = "", below = "", ...more] = name.split(".");
  if (first !== "contexts")
    return settings.find((one) => one.name === name) ?? fail(unknown(name, settings, ""));
  if (!contextName.test(context) || more.length > 0) throw unknown(name, contextSettings, "contexts.NAME.");
  return (
    contextSettings.find((one) => one.name === below) ??
    fail(unknown(below, contextSettings, `contexts.${context}.`))
  );
}

/** A value as the command line has it, read as its setting wants it. Throws a usage error. */
export function readWritten(
  name: string,
  written: string,
): { readonly path: readonly string[]; readonly value: SettingValue } {
  const setting = findSetting(name);
  const value = setting.read(written);
  const asTruth = written === "true" || written === "false" ? setting.read(written === "true") : value;
  const answer = value.kind === "value" ? value : asTruth;
  if (answer.kind === "wrong") throw usageError(`${name} ${answer.message}`, `It is ${setting.help}.`);
  return { path: name.split("."), value: answer.value };
}

function unknown(name: string, known: readonly Setting[], prefix: string): CliError {
  const names = known.map((one) => one.name);
  return usageError(
    `there is no setting ${JSON.stringify(`${prefix.replace("NAME.", "")}${name}`)}`,
    didYouMean(name, names) ?? `There are ${names.map((one) => `${prefix}${one}`).join(", ")}.`,
  );
}

function fail(error: CliError): never {
  throw error;
}
