import { create } from "@bufbuild/protobuf";
import {
  DiscardDeadLetterResponseSchema,
  JobService,
  ListDeadLettersResponseSchema,
} from "@muster/client/v1/job_service";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { sanitize } from "../output/sanitize.ts";
import { layTable } from "../output/table.ts";
import { retryJob } from "./job.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { forEachId } from "./several.ts";

const anId = "job_01jd9y3f4k8qkx2m0000000000";

/** Registers `muster dlq`. */
export function registerDlq(cli: Cli): void {
  const dlq = cli.program
    .command("dlq")
    .alias("dead-letters")
    .description("Decide on dead letters: jobs whose run ended without success.");
  withPages(dlq.command("list").alias("ls"))
    .description("List dead letters, newest first. Equal fingerprints are equal errors.")
    .examples("muster dlq list", "muster dlq list --kind shell.run -o name")
    .option("--kind <kind>", "only this kind")
    .action(
      cli.action(async (call, options: PageOptions & { readonly kind?: string }) => {
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { pageSize, pageToken, kind: options.kind ?? "" };
          const response = await call.client(JobService).listDeadLetters(request, call.once());
          return { rows: response.deadLetters, nextPageToken: response.nextPageToken };
        });
        const columns = [
          { title: "JOB" },
          { title: "KIND", drop: 2 },
          { title: "CAUSE" },
          { title: "FINGERPRINT", drop: 1 },
          { title: "DIED", align: "right" },
          { title: "ERROR" },
        ] as const;
        call.output.print({
          schema: ListDeadLettersResponseSchema,
          message: create(ListDeadLettersResponseSchema, {
            deadLetters: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () =>
            layTable(
              columns,
              page.rows.map((one) => [
                one.job?.jobId ?? "",
                one.job?.spec?.kind ?? "",
                one.cause,
                one.fingerprint,
                call.output.age(one.deadTime, call.surroundings.now()),
                one.job?.error === undefined ? "" : `${one.job.error.code}: ${one.job.error.message}`,
              ]),
              call.output.layout,
            ),
          names: () => page.rows.map((one) => one.job?.jobId ?? ""),
        });
        notePage(call.output, page, "dead letters");
        return exitCodes.done;
      }),
    );
  dlq
    .command("retry <job...>")
    .description("Run dead letters again, with all their attempts anew.")
    .examples(
      `muster dlq retry ${anId} --reason "rotated token"`,
      "muster dlq list -o name | xargs -n 20 muster dlq retry",
    )
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, jobIds: string[], options: { reason?: string }) =>
        forEachId(call, jobIds, (jobId) => retryJob(call, jobId, options.reason ?? "")),
      ),
    );
  dlq
    .command("discard <job...>")
    .description("Take dead letters off the list without running them again. The jobs stay DEAD.")
    .examples(`muster dlq discard ${anId} --reason "obsolete"`)
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, jobIds: string[], options: { reason?: string }) =>
        forEachId(call, jobIds, async (jobId) => {
          const request = { jobId, reason: options.reason ?? "" };
          const response = await call.client(JobService).discardDeadLetter(request, call.once());
          call.output.printOne({
            schema: DiscardDeadLetterResponseSchema,
            message: response,
            text: () => [`${sanitize(jobId)}\tdiscarded`],
            names: () => [jobId],
          });
        }),
      ),
    );
}
