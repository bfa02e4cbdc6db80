import { resolve } from "node:path";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { changeUserConfig } from "../config/edit.ts";
import { type EffectiveSetting, effectiveSettings, findSetting, readWritten } from "../config/effective.ts";
import { configInvalid, configPaths, credentialsPath, loadConfig, readConfigText } from "../config/files.ts";
import { parseConfig } from "../config/parse.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { readText } from "../input/files.ts";
import { layTable } from "../output/table.ts";

/** Registers `muster config`. */
export function registerConfig(cli: Cli): void {
  const config = cli.program
    .command("config")
    .description("Read and change the settings of this program.")
    .notes("What there is, and which file is the stronger: muster help configuration");
  config
    .command("list")
    .alias("ls")
    .description("List the settings that hold here.")
    .examples("muster config list", "muster config list --sources")
    .option("--sources", "and where each comes from")
    .action(cli.action(async (call, options: { sources?: boolean }) => listSettings(call, options)));
  config
    .command("get <setting>")
    .description("Print the value of a setting.")
    .examples("muster config get output", "muster config get contexts.prod.address")
    .action(
      cli.action(async (call, name: string) => {
        findSetting(name);
        const found = effectiveSettings(call).find((one) => one.name === name);
        if (found === undefined)
          throw usageError(`${name} is not set`, `Set it with: muster config set ${name} VALUE`);
        call.output.printValue(found.value, () => [String(found.value)]);
        return exitCodes.done;
      }),
    );
  config
    .command("set <setting> <value>")
    .description("Change a setting in your own file.")
    .examples("muster config set output wide", "muster config set contexts.prod.readOnly true")
    .action(
      cli.action(async (call, name: string, written: string) => {
        const { path, value } = readWritten(name, written);
        const file = changeUserConfig(call.surroundings, (document) => document.setIn(path, value));
        call.output.note(`${name} is now ${String(value)} (${file}).`);
        return exitCodes.done;
      }),
    );
  config
    .command("unset <setting>")
    .description("Take a setting out of your own file.")
    .examples("muster config unset output")
    .action(
      cli.action(async (call, name: string) => {
        findSetting(name);
        let isThere = false;
        const file = changeUserConfig(call.surroundings, (document) => {
          isThere = document.deleteIn(name.split("."));
        });
        call.output.note(isThere ? `${name} is gone from ${file}.` : `${name} was not in ${file}.`);
        return exitCodes.done;
      }),
    );
  config
    .command("path")
    .description("Print where the files are, the strongest first.")
    .examples("muster config path", "muster config path -o json")
    .action(
      cli.action(
        async (call) => {
          const { surroundings, output } = call;
          const paths = [
            ...configPaths(surroundings),
            { level: "credentials" as const, path: credentialsPath(surroundings) },
          ].map((one) => ({ ...one, exists: readable(one.path) }));
          output.printValue(
            paths,
            () =>
              layTable(
                [{ title: "FILE" }, { title: "THERE" }, { title: "PATH" }],
                paths.map((one) => [one.level, one.exists ? "yes" : "no", one.path]),
                output.layout,
              ),
            () => paths.map((one) => one.path),
          );
          return exitCodes.done;
        },
        { noConfig: true },
      ),
    );
  config
    .command("validate [file]")
    .description("Check the files, or one of them, without using it. Exits with 78 if it is not valid.")
    .examples("muster config validate", "muster config validate ./new-config.yaml")
    .action(
      cli.action(
        async (call, file: string | undefined) => {
          if (file === undefined) await loadConfig(call.surroundings);
          else {
            const text = await readText(file, "validate", call.surroundings);
            const level = file.endsWith(".muster.yaml") ? "project" : "user";
            const { violations } = parseConfig(text, file, level);
            if (violations.length > 0) throw configInvalid(violations);
          }
          call.output.note("The configuration is valid.");
          return exitCodes.done;
        },
        { noConfig: true },
      ),
    );
}

function listSettings(call: Call, options: { sources?: boolean }): number {
  const found = effectiveSettings(call);
  const value =
    options.sources === true ? found : Object.fromEntries(found.map((one) => [one.name, one.value]));
  const row = ({ name, value: held, source }: EffectiveSetting): string[] =>
    options.sources === true ? [name, String(held), source] : [name, String(held)];
  const columns = [
    { title: "SETTING" },
    { title: "VALUE" },
    ...(options.sources ? [{ title: "SOURCE" }] : []),
  ];
  call.output.printValue(
    value,
    () => layTable(columns, found.map(row), call.output.layout),
    () => found.map((one) => one.name),
  );
  if (found.length === 0) call.output.note("Nothing is set. Start with: muster login");
  return exitCodes.done;
}

function readable(path: string): boolean {
  return readConfigText(resolve(path)) !== undefined;
}
