import { GetStatusResponseSchema, type Status, StatusService } from "@muster/client/v1/status_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { jobTable } from "./job-show.ts";
import { statusPage, watchStatus } from "./status.ts";
import { workerTable } from "./worker.ts";

/** Registers `muster top`. */
export function registerTop(cli: Cli): void {
  cli.program
    .command("top")
    .alias("ui")
    .description(
      "Watch workers, flow and running jobs on one live screen. Where output is no terminal: one snapshot.",
    )
    .examples("muster top", "muster top --watch -o jsonl    # the data behind it, a line each second")
    .option("-w, --watch", "without the screen: stream the data (-o jsonl)")
    .notes("On the screen: q quits. It survives a restart of the coordinator.")
    .action(cli.action((call, options: { watch?: boolean }) => runTop(call, options)));
}

async function runTop(call: Call, options: { watch?: boolean }): Promise<number> {
  const { output, surroundings } = call;
  if (options.watch === true) {
    if (output.format === "text") throw usageError("--watch streams data", "Add -o jsonl.");
    return watchStatus(call, { detail: true });
  }
  if (output.format === "text" && output.isTty && surroundings.stdin.isTTY === true) {
    // React and Ink take their time to load; no other command needs them.
    const { runTopScreen } = await import("../top/run.tsx");
    return runTopScreen(call);
  }
  const response = await call.client(StatusService).getStatus({ detail: true }, call.once());
  output.print({
    schema: GetStatusResponseSchema,
    message: response,
    text: () =>
      response.status === undefined ? [] : snapshotLines(response.status, output, surroundings.now()),
  });
  return exitCodes.done;
}

function snapshotLines(status: Status, output: Output, nowMs: number): string[] {
  return [
    ...statusPage(status, output),
    "",
    ...workerTable(status.workerList, output, nowMs),
    "",
    ...jobTable(status.running, output, nowMs),
  ];
}
