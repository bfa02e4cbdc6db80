import { readFileSync } from "node:fs";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { findUpward } from "./package-files.ts";

/** Registers `muster version` and `--version`. */
export function registerVersion(cli: Cli): void {
  cli.program.version(`muster ${readVersion()}`, "-V, --version", "show the version");
  cli.program
    .command("version")
    .description("Show the version of this program.")
    .examples("muster version", "muster version --json")
    .action(
      cli.action(async (call) => {
        const version = readVersion();
        const nodeVersion = process.versions.node;
        call.output.printValue({ version, nodeVersion }, () => [
          call.output.format === "name" ? version : `muster ${version} (Node ${nodeVersion})`,
        ]);
        return exitCodes.done;
      }),
    );
}

/** The version of this package. */
export function readVersion(): string {
  const path = findUpward("package.json");
  const text: unknown = path === undefined ? undefined : JSON.parse(readFileSync(path, "utf8"));
  const isObject = typeof text === "object" && text !== null && "version" in text;
  return isObject ? String(text.version) : "unknown";
}
