import {
  BackfillScheduleResponseSchema,
  ScheduleService,
  TriggerScheduleResponseSchema,
} from "@muster/client/v1/schedule_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, dangerOfMany, quote } from "../input/confirm.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { timeFromMs } from "../input/values.ts";
import { showCounted } from "../output/time.ts";
import { fireTable, readOverlap } from "./schedule-show.ts";

interface BackfillOptions {
  readonly from?: number;
  readonly to?: number;
  readonly overlap?: string;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** Registers `muster schedule trigger` and `backfill`. */
export function registerScheduleFires(schedule: MusterCommand, cli: Cli): void {
  schedule
    .command("trigger <name>")
    .alias("run")
    .description("Make a job of it now, also of one that is paused. Its next time stays what it is.")
    .examples("muster schedule trigger nightly", "muster schedule trigger nightly --overlap allow")
    .option("--overlap <policy>", "instead of its own: skip, queue, replace or allow")
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, name: string, options: { overlap?: string; reason?: string }) => {
        const request = { name, overlap: readOverlap(options.overlap), reason: options.reason ?? "" };
        const response = await call.client(ScheduleService).triggerSchedule(request, call.once());
        const { fire } = response;
        call.output.print({
          schema: TriggerScheduleResponseSchema,
          message: response,
          text: () => (fire === undefined ? [] : fireTable([fire], call.output)),
          names: () => [fire?.jobId ?? ""],
        });
        return exitCodes.done;
      }),
    );
  schedule
    .command("backfill <name>")
    .description(
      "Make the jobs of past fire times that made none: while it was paused, or before it was there. At most 1,000 times.",
    )
    .examples(
      "muster schedule backfill nightly --from 2026-11-01T00:00:00Z --to 2026-11-20T00:00:00Z --dry-run",
      "muster schedule backfill nightly --from 7d --overlap queue",
    )
    .option("--from <time>", "from then on: RFC 3339, or 7d ago", pastTimeOption(cli.surroundings.now))
    .option("--to <time>", "before then (now)", pastTimeOption(cli.surroundings.now))
    .option("--overlap <policy>", "while others have not ended: skip, queue, replace or allow (allow)")
    .option("--dry-run", "count the jobs; make none")
    .option("--reason <text>", "for people")
    .action(cli.action((call, name: string, options: BackfillOptions) => backfill(call, name, options)));
}

async function backfill(call: Call, name: string, options: BackfillOptions): Promise<number> {
  const { from, to, dryRun = false, reason = "" } = options;
  if (from === undefined) throw usageError("from when on? None is given", "Like: --from 7d");
  const request = {
    ...{ name, reason, overlap: readOverlap(options.overlap) },
    startTime: timeFromMs(from),
    endTime: timeFromMs(to ?? call.surroundings.now()),
  };
  const asked = await call
    .client(ScheduleService)
    .backfillSchedule({ ...request, validateOnly: true }, call.once());
  if (!dryRun && asked.submitted > 0) {
    await confirmDanger(call, {
      level: dangerOfMany(asked.submitted, false),
      what: `Make ${showCounted(asked.submitted, "job")} of the schedule ${name}`,
      count: asked.submitted,
      command: `muster schedule backfill ${quote(name)} --from ${new Date(from).toISOString()}`,
    });
  }
  const response = dryRun ? asked : await call.client(ScheduleService).backfillSchedule(request, call.once());
  call.output.print({
    schema: BackfillScheduleResponseSchema,
    message: response,
    text: () => fireTable(response.fires, call.output),
    names: () => response.fires.flatMap(({ jobId }) => (jobId === "" ? [] : [jobId])),
  });
  const { submitted, skipped, existing } = response;
  const what = dryRun ? "would be submitted" : "submitted";
  call.output.note(`${showCounted(submitted, "job")} ${what}; ${skipped} skipped; ${existing} made before.`);
  return exitCodes.done;
}
