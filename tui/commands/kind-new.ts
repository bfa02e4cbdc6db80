import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { type KindNames, kindFiles, kindNames, register, registryFile } from "../scaffold/kind.ts";
import { writeNewFiles } from "../scaffold/write.ts";
import { notAKind } from "./worker-new.ts";

/** Registers `muster kind new`. */
export function registerKindNew(kind: MusterCommand, cli: Cli): void {
  kind
    .command("new <name>")
    .description("Write the handler of a new kind, with types and a test, into the worker of this directory.")
    .examples("muster kind new image.resize", "muster kind new image.resize --dry-run")
    .option("--dry-run", "only say what would be written")
    .notes(`The worker is one that \`muster worker new\` wrote: ${registryFile} names its handlers.`)
    .action(
      cli.action(
        async (call, name: string, options: { readonly dryRun?: boolean }) =>
          newKind(call, name, options.dryRun === true),
        { toleratesConfig: true },
      ),
    );
}

function newKind(call: Call, name: string, isDryRun: boolean): number {
  const names = kindNames(name);
  if (names === null) throw notAKind(name);
  const { cwd } = call.surroundings;
  const registry = resolve(cwd, registryFile);
  const text = registered(registry, names);
  const files = kindFiles(names);
  if (!isDryRun) {
    writeNewFiles(cwd, files);
    writeFileSync(registry, text);
  }
  const paths = [...files.keys(), registryFile];
  call.output.printValue({ files: paths }, () => paths);
  call.output.note(isDryRun ? "Nothing was written." : `Registered in ${registryFile}. Next: npm test`);
  return exitCodes.done;
}

function registered(path: string, names: KindNames): string {
  let before: string;
  try {
    before = readFileSync(path, "utf8");
  } catch {
    throw usageError(
      `there is no ${registryFile} in this directory`,
      "Go to the directory of a worker, or make one with: muster worker new NAME",
    );
  }
  const text = register(before, names);
  if (typeof text === "string") return text;
  if (text.problem === "has-kind") {
    throw new CliError(`the worker runs ${names.kind} already`, {
      reason: "KIND_EXISTS",
      exitCode: exitCodes.conflict,
      suggestion: `Its handler is named in ${registryFile}.`,
    });
  }
  throw usageError(
    `${registryFile} has no list of handlers that can be added to`,
    "It needs: export const handlers = { (a line each) }; as `muster worker new` writes it.",
  );
}
