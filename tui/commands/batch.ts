import { create } from "@bufbuild/protobuf";
import {
  BatchService,
  GetBatchResponseSchema,
  ListBatchesResponseSchema,
} from "@muster/client/v1/batch_service";
import { JobAction } from "@muster/client/v1/job_service";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { quote } from "../input/confirm.ts";
import { layTable } from "../output/table.ts";
import { showCount } from "../output/time.ts";
import { batchFacts, waitForBatch } from "./batch-wait.ts";
import { actOnMany, reasonWords } from "./job-acts.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

/** Registers `muster batch`. */
export function registerBatch(cli: Cli): void {
  const batch = cli.program
    .command("batch")
    .alias("batches")
    .description("Follow jobs that were submitted together (muster job submit -f).");
  batch
    .command("get <batch>")
    .description("Show how far a batch is.")
    .examples("muster batch get bat_01jd9y3f4k8qkx2m0000000000")
    .action(
      cli.action(async (call, batchId: string) => {
        const response = await call.client(BatchService).getBatch({ batchId }, call.once());
        call.output.print({
          schema: GetBatchResponseSchema,
          message: response,
          text: () => batchFacts(response.batch, call.output, call.surroundings.now()),
          names: () => [batchId],
        });
        return exitCodes.done;
      }),
    );
  batch
    .command("wait <batch>")
    .description("Wait until all jobs of a batch have ended. Exits with 9 if any of them did not succeed.")
    .examples("muster batch wait bat_01jd9y3f4k8qkx2m0000000000 --timeout 10m")
    .action(cli.action((call, batchId: string) => waitForBatch(call, batchId)));
  batch
    .command("cancel <batch>")
    .description("Cancel all jobs of a batch that have not ended.")
    .examples(
      "muster batch cancel bat_01jd9y3f4k8qkx2m0000000000 --dry-run",
      "muster batch cancel bat_01jd9y3f4k8qkx2m0000000000 --confirm 480",
    )
    .option("--dry-run", "only count and check")
    .option("--force", "do not wait for workers: end running jobs now")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, batchId: string, options: { dryRun?: boolean; force?: boolean; reason?: string }) => {
        const { reason, force, dryRun: isDryRun = false } = options;
        const jobs = { filter: `batch:${batchId} ${liveFilter}` };
        const flags = [...(force === true ? ["--force"] : []), ...reasonWords(reason)];
        const command = ["muster batch cancel", quote(batchId), ...flags].join(" ");
        return actOnMany(call, { action: JobAction.CANCEL, jobs, reason, force, isDryRun, command });
      }),
    );
  withPages(batch.command("list").alias("ls"))
    .description("List batches, newest first.")
    .examples("muster batch list", "muster batch list --all --json")
    .action(
      cli.action(async (call, options: PageOptions) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const response = await call.client(BatchService).listBatches({ pageSize, pageToken }, call.once());
          return { rows: response.batches, nextPageToken: response.nextPageToken };
        });
        const columns = [
          { title: "BATCH" },
          { title: "JOBS", align: "right" },
          { title: "PENDING", align: "right" },
          { title: "SUCCEEDED", align: "right" },
          { title: "CANCELLED", align: "right", drop: 2 },
          { title: "DEAD", align: "right" },
          { title: "AGE", align: "right", drop: 1 },
          { title: "TITLE" },
        ] as const;
        call.output.print({
          schema: ListBatchesResponseSchema,
          message: create(ListBatchesResponseSchema, {
            batches: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () =>
            layTable(
              columns,
              page.rows.map((one) => [
                one.batchId,
                ...[one.total, one.pending, one.succeeded, one.cancelled, one.dead].map(showCount),
                call.output.age(one.createTime, call.surroundings.now()),
                one.title,
              ]),
              call.output.layout,
            ),
          names: () => page.rows.map((one) => one.batchId),
        });
        notePage(call.output, page, "batches");
        return exitCodes.done;
      }),
    );
}

const liveFilter = "-state:succeeded,cancelled,dead";
