import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { contextNames, namedContext, noContext } from "../config/choose.ts";
import { removeCredential, renameCredential } from "../config/credentials.ts";
import { changeUserConfig } from "../config/edit.ts";
import { readWritten } from "../config/effective.ts";
import { credentialsPath } from "../config/files.ts";
import { contextName } from "../config/settings.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger } from "../input/confirm.ts";
import { layTable } from "../output/table.ts";

interface ContextFlags {
  readonly keyFile?: string;
  readonly readOnly?: boolean;
  readonly description?: string;
}

/** Registers `muster context`. */
export function registerContext(cli: Cli): void {
  const context = cli.program
    .command("context")
    .alias("contexts")
    .description("Keep several coordinators apart: a name for each address and key.");
  context
    .command("list")
    .alias("ls")
    .description("List the contexts; the one that is used is marked.")
    .examples("muster context list", "muster context list -o name")
    .action(cli.action(async (call) => listContexts(call)));
  context
    .command("current")
    .description("Print the context that is used.")
    .examples("muster context current")
    .action(
      cli.action(async (call) => {
        const { name, source } = namedContext(call.globals, call.surroundings.env, call.config);
        if (name === undefined)
          throw usageError("no context is used", "Choose one with: muster context use NAME");
        call.output.printValue({ context: name, source }, () => [name]);
        return exitCodes.done;
      }),
    );
  context
    .command("use <name>")
    .description("Use this context from now on, where nothing else is said.")
    .examples("muster context use prod")
    .action(
      cli.action(async (call, name: string) => {
        checkContext(call, name);
        changeUserConfig(call.surroundings, (document) => document.set("context", name));
        call.output.note(`Commands now go to ${name}.`);
        return exitCodes.done;
      }),
    );
  withSettings(context.command("add <name>"))
    .description("Add a context of the address of --address.")
    .examples(
      "muster context add prod --address https://muster.example:7070",
      "muster context add lab --address http://10.0.0.7:7070 --key-file ~/lab.key --read-only",
    )
    .action(
      cli.action(async (call, name: string, flags: ContextFlags) => {
        if (!contextName.test(name)) throw badName(name);
        if (contextNames(call.config).includes(name)) {
          throw exists(name);
        }
        if (call.globals.address === undefined) {
          throw usageError("the context needs an address", `Like: muster context add ${name} --address URL`);
        }
        writeContext(call, name, flags);
        call.output.note(`Added ${name}. Give it a key with: muster login -c ${name}`);
        return exitCodes.done;
      }),
    );
  withSettings(context.command("edit <name>"))
    .description("Change a context. Another address needs another login.")
    .examples("muster context edit prod --address https://muster2.example:7070")
    .action(
      cli.action(async (call, name: string, flags: ContextFlags) => {
        checkOwn(call, name);
        writeContext(call, name, flags);
        call.output.note(`Changed ${name}.`);
        return exitCodes.done;
      }),
    );
  context
    .command("rename <name> <new-name>")
    .description("Give a context another name; its key goes with it.")
    .examples("muster context rename prod production")
    .action(
      cli.action(async (call, name: string, newName: string) => {
        if (!contextName.test(newName)) throw badName(newName);
        checkOwn(call, name);
        if (contextNames(call.config).includes(newName)) throw exists(newName);
        changeUserConfig(call.surroundings, (document) => {
          document.setIn(["contexts", newName], document.getIn(["contexts", name], true));
          document.deleteIn(["contexts", name]);
          if (document.get("context") === name) document.set("context", newName);
        });
        renameCredential(credentialsPath(call.surroundings), name, newName);
        call.output.note(`${name} is now ${newName}.`);
        return exitCodes.done;
      }),
    );
  context
    .command("remove <name>")
    .alias("rm")
    .description("Remove a context, and its key from this machine.")
    .examples("muster context remove lab --yes")
    .action(
      cli.action(async (call, name: string) => {
        checkOwn(call, name);
        await confirmDanger(call, {
          level: "moderate",
          what: `Remove the context ${name}, and forget its key`,
          command: `muster context remove ${name}`,
        });
        changeUserConfig(call.surroundings, (document) => {
          document.deleteIn(["contexts", name]);
          if (document.get("context") === name) document.delete("context");
        });
        removeCredential(credentialsPath(call.surroundings), name);
        call.output.note(`Removed ${name}.`);
        return exitCodes.done;
      }),
    );
}

/** Writes what the flags say of a context into the user's own file. */
export function writeContext(call: Call, name: string, flags: ContextFlags): void {
  const { address, tlsCa, tlsCert, tlsKey, readOnly } = call.globals;
  const given = {
    address,
    keyFile: flags.keyFile,
    tlsCa,
    tlsCert,
    tlsKey,
    description: flags.description,
    readOnly: (flags.readOnly ?? readOnly) === true ? "true" : undefined,
  };
  const written = Object.entries(given).flatMap(([setting, value]) =>
    value === undefined ? [] : [readWritten(`contexts.${name}.${setting}`, value)],
  );
  if (written.length === 0) throw usageError("nothing to change was given", "See what there is with --help.");
  changeUserConfig(call.surroundings, (document) => {
    for (const { path, value } of written) document.setIn(path, value);
  });
}

function withSettings(command: MusterCommand): MusterCommand {
  return command
    .option("--key-file <path>", "file that holds its key, instead of muster login")
    .option("--read-only", "refuse every call that changes something")
    .option("--description <text>", "for people");
}

function listContexts(call: Call): number {
  const { config, output, surroundings } = call;
  const { name: used } = namedContext(call.globals, surroundings.env, config);
  const keys = config.keys();
  const rows = contextNames(config).map((name) => {
    const file = config.files.find(({ contexts }) => contexts.has(name));
    const of = file?.contexts.get(name);
    const hasKey = of?.get("keyFile") !== undefined || keys.get(name) !== undefined;
    const readOnly = of?.get("readOnly") === true;
    const address = String(of?.get("address") ?? "");
    return { name, current: name === used, address, hasKey, readOnly, source: file?.path ?? "" };
  });
  output.printValue(
    rows,
    () =>
      layTable(
        [
          { title: "CONTEXT" },
          { title: "USED" },
          { title: "ADDRESS" },
          { title: "KEY" },
          { title: "ACCESS" },
          { title: "FILE", isWide: true },
        ],
        rows.map((row) => [
          row.name,
          row.current ? "*" : "",
          row.address,
          row.hasKey ? "yes" : "no",
          row.readOnly ? "read-only" : "",
          row.source,
        ]),
        output.layout,
      ),
    () => rows.map(({ name }) => name),
  );
  if (rows.length === 0) output.note("No contexts. Make one with: muster login -c NAME --address URL");
  return exitCodes.done;
}

function checkContext(call: Call, name: string): void {
  if (!contextNames(call.config).includes(name)) throw noContext(name, "flag", call.config);
}

function checkOwn(call: Call, name: string): void {
  checkContext(call, name);
  const own = call.config.files.find(({ level }) => level === "user");
  if (own?.contexts.has(name) === true) return;
  throw usageError(
    `the context ${name} is not in your own file`,
    "It is one of this machine: /etc/muster/config.yaml",
  );
}

function badName(name: string): CliError {
  return usageError(
    `${JSON.stringify(name)} is not a name of a context`,
    "It has letters, digits, _ and -, at most 63, and begins with a letter or digit.",
  );
}

function exists(name: string): CliError {
  return new CliError(`there is a context ${name} already`, {
    reason: "CONTEXT_EXISTS",
    exitCode: exitCodes.conflict,
    suggestion: `Change it with: muster context edit ${name}`,
  });
}
