import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import { findUpward } from "./package-files.ts";

/** Registers `muster proto`. */
export function registerProto(cli: Cli): void {
  cli.program
    .command("proto")
    .description("Get the API for other languages.")
    .command("export <directory>")
    .description("Write the .proto files of the API into a directory, for protoc, buf and grpcurl.")
    .examples(
      "muster proto export ./proto",
      "muster proto export ./proto && protoc -I proto --python_out=. proto/muster/v1/*.proto",
    )
    .option("--force", "replace files that differ")
    .action(
      cli.action(async (call, directory: string, options: { force?: boolean }) =>
        exportProtos(call, directory, options),
      ),
    );
}

function exportProtos(call: Call, directory: string, options: { force?: boolean }): number {
  const marker = findUpward(join("proto", "muster", "v1", "job.proto"));
  if (marker === undefined) {
    throw new CliError("the .proto files are not where this package has them", {
      reason: "PROTOS_MISSING",
      exitCode: exitCodes.unexpected,
      suggestion: "Install the package muster again.",
    });
  }
  const root = dirname(dirname(dirname(marker)));
  const target = resolve(call.surroundings.cwd, directory);
  const files = protosBelow(root);
  const changed = files.filter(({ path, text }) => differs(join(target, path), text));
  if (changed.length > 0 && options.force !== true) {
    throw usageError(
      `${directory} has other files of these names`,
      "Choose an empty directory, or replace them with --force.",
      changed.map(({ path }) => ({ field: path, message: "differs" })),
    );
  }
  try {
    for (const { path, text } of files) {
      mkdirSync(dirname(join(target, path)), { recursive: true });
      writeFileSync(join(target, path), text);
    }
  } catch (cause) {
    throw usageError(`cannot write to ${directory}: ${systemReason(cause)}`, "Choose another directory.");
  }
  const paths = files.map(({ path }) => join(directory, path));
  call.output.printValue({ files: paths }, () => paths);
  return exitCodes.done;
}

function protosBelow(root: string): { path: string; text: string }[] {
  return readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".proto"))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
}

function differs(path: string, text: string): boolean {
  try {
    return statSync(path).isFile() ? readFileSync(path, "utf8") !== text : true;
  } catch {
    return false;
  }
}
