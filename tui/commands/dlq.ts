import { create } from "@bufbuild/protobuf";
import { JobService, ListDeadLettersResponseSchema } from "@muster/client/v1/job_service";
import type { Cli } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { layTable } from "../output/table.ts";
import { registerDlqActs } from "./dlq-acts.ts";
import { registerDlqExport } from "./dlq-export.ts";
import { registerDlqGroups } from "./dlq-groups.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

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
  registerDlqGroups(dlq, cli);
  registerDlqActs(dlq, cli);
  registerDlqExport(dlq, cli);
}
