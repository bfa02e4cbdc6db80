import { JobService, ListDeadLetterGroupsResponseSchema } from "@muster/client/v1/job_service";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import { wholeOption } from "../input/options.ts";
import { layTable } from "../output/table.ts";
import { showCount } from "../output/time.ts";

/** Registers `muster dlq groups`. */
export function registerDlqGroups(dlq: MusterCommand, cli: Cli): void {
  dlq
    .command("groups")
    .description("List dead letters by equal errors, largest group first.")
    .examples(
      "muster dlq groups",
      "muster dlq groups --kind index.repo",
      "muster dlq retry --group 7f3a9c01d2e4",
    )
    .option("--kind <kind>", "only this kind")
    .option("-n, --limit <number>", "groups to show (30)", wholeOption(1, 1_000))
    .action(
      cli.action(async (call, { kind = "", limit = 30 }: { kind?: string; limit?: number }) => {
        const response = await call
          .client(JobService)
          .listDeadLetterGroups({ kind, pageSize: limit }, call.once());
        const nowMs = call.surroundings.now();
        const columns = [
          { title: "COUNT", align: "right" },
          { title: "GROUP" },
          { title: "KIND", drop: 2 },
          { title: "FIRST", align: "right", drop: 1 },
          { title: "LAST", align: "right" },
          { title: "24H", align: "right", drop: 3 },
          { title: "ERROR" },
        ] as const;
        call.output.print({
          schema: ListDeadLetterGroupsResponseSchema,
          message: response,
          text: () =>
            layTable(
              columns,
              response.groups.map((group) => [
                showCount(group.count),
                group.fingerprint,
                group.kind,
                call.output.age(group.firstTime, nowMs),
                call.output.age(group.lastTime, nowMs),
                showCount(group.hourly.reduce((sum, count) => sum + count, 0)),
                group.error === undefined ? "" : `${group.error.code}: ${group.error.message}`,
              ]),
              call.output.layout,
            ),
          names: () => response.groups.map((group) => group.fingerprint),
        });
        if (response.groups.length === 0 && call.output.format === "text")
          call.output.note("No dead letters.");
        if (response.truncated) call.output.note("Grouped are the newest 100,000; there are more.");
        return exitCodes.done;
      }),
    );
}
