import {
  ExplainService,
  type ExplainWorkerResponse,
  ExplainWorkerResponseSchema,
} from "@muster/client/v1/explain_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { numbered } from "./job-explain.ts";
import { lineTable } from "./work.ts";
import { workerName } from "./worker-drain.ts";

/** Registers `muster worker explain`. */
export function registerWorkerExplain(worker: MusterCommand, cli: Cli): void {
  worker
    .command("explain <worker>")
    .description("Why is a worker idle? What keeps it from work, and which ready jobs it could run.")
    .examples("muster worker explain gpu-1", "muster worker explain gpu-1 --json | jq -r .summary")
    .action(
      cli.action(async (call, idOrName: string) => {
        const response = await call.client(ExplainService).explainWorker(workerName(idOrName), call.once());
        call.output.print({
          schema: ExplainWorkerResponseSchema,
          message: response,
          text: () => explanation(response, call.output, call.surroundings.now()),
          names: () => [response.worker?.workerId ?? ""],
        });
        return exitCodes.done;
      }),
    );
}

function explanation(found: ExplainWorkerResponse, output: Output, nowMs: number): string[] {
  return [
    output.paint("bold", sanitize(found.summary)),
    ...(found.lines.length === 0 ? [] : ["", ...lineTable(found.lines, output, nowMs)]),
    ...numbered("What would bring it work:", found.fixes),
  ];
}
