import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { readVersion } from "../version.ts";

/** Registers `muster version`. */
export function registerVersion(cli: Cli): void {
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
