import { create } from "@bufbuild/protobuf";
import {
  DeleteScheduleResponseSchema,
  GetScheduleResponseSchema,
  ListFiresResponseSchema,
  ListSchedulesResponseSchema,
  PauseScheduleResponseSchema,
  PreviewScheduleResponseSchema,
  ResumeScheduleResponseSchema,
  ScheduleService,
} from "@muster/client/v1/schedule_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, quote } from "../input/confirm.ts";
import { pairOption, timeOption, wholeOption } from "../input/options.ts";
import { timeFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";
import { registerScheduleEdit } from "./schedule-edit.ts";
import { registerScheduleFires } from "./schedule-fire.ts";
import {
  fireTable,
  previewLines,
  readOutcome,
  readState,
  scheduleFacts,
  scheduleTable,
  showNext,
} from "./schedule-show.ts";
import { forEachId } from "./several.ts";

interface ListOptions extends PageOptions {
  readonly text?: string;
  readonly kind?: string;
  readonly state?: string;
  readonly label?: Readonly<Record<string, string>>;
}

interface PreviewOptions {
  readonly zone?: string;
  readonly count?: number;
  readonly from?: number;
  readonly name?: boolean;
}

/** Registers `muster schedule`. */
export function registerSchedule(cli: Cli): void {
  const schedule = cli.program
    .command("schedule")
    .aliases(["schedules", "cron"])
    .description("Keep schedules: what creates jobs by cron.");
  registerLooks(schedule, cli);
  registerScheduleEdit(schedule, cli);
  registerScheduleFires(schedule, cli);
  registerStates(schedule, cli);
  registerDelete(schedule, cli);
  registerPreview(schedule, cli);
}

function registerLooks(schedule: MusterCommand, cli: Cli): void {
  withPages(schedule.command("list").alias("ls"))
    .description("List schedules by name, with when they fire next and what became of the last time.")
    .examples(
      "muster schedule list",
      "muster schedule list --state failing",
      "muster schedule list --kind report.build --label team=web -o json",
    )
    .option("--text <text>", "only those with this in their name")
    .option("--kind <kind>", "only those that make jobs of this kind")
    .option("--state <state>", "only those that are active, paused, ended or failing")
    .option("--label <key=value>", "only those with this label; repeat for more", pairOption)
    .action(cli.action((call, options: ListOptions) => list(call, options)));
  schedule
    .command("get <name>")
    .description("Show everything about a schedule.")
    .examples("muster schedule get nightly", "muster schedule get nightly -o yaml")
    .action(
      cli.action(async (call, name: string) => {
        const response = await call.client(ScheduleService).getSchedule({ name }, call.once());
        const found = response.schedule;
        call.output.print({
          schema: GetScheduleResponseSchema,
          message: response,
          text: () => (found === undefined ? [] : scheduleFacts(found, call.output, call.surroundings.now())),
          names: () => [found?.name ?? name],
        });
        return exitCodes.done;
      }),
    );
  withPages(schedule.command("history <name>").alias("fires"))
    .description(
      "List what became of its fire times, newest first: the job that each made, or why there is none.",
    )
    .examples("muster schedule history nightly", "muster schedule history nightly --outcome missed --all")
    .option("--outcome <outcome>", "only those that were submitted, skipped, missed or failed")
    .action(
      cli.action((call, name: string, options: PageOptions & { outcome?: string }) =>
        history(call, name, options),
      ),
    );
}

async function list(call: Call, { text = "", kind = "", state, label = {}, ...page }: ListOptions) {
  const asked = { text, kind, labels: { ...label }, state: readState(state) };
  const found = await collectPages(page, async (pageSize, pageToken) => {
    const response = await call
      .client(ScheduleService)
      .listSchedules({ ...asked, pageSize, pageToken }, call.once());
    return { rows: response.schedules, nextPageToken: response.nextPageToken };
  });
  call.output.print({
    schema: ListSchedulesResponseSchema,
    message: create(ListSchedulesResponseSchema, {
      schedules: found.rows,
      nextPageToken: found.nextPageToken,
    }),
    text: () => scheduleTable(found.rows, call.output, call.surroundings.now()),
    names: () => found.rows.map((one) => one.name),
  });
  notePage(call.output, found, "schedules");
  return exitCodes.done;
}

async function history(call: Call, name: string, options: PageOptions & { outcome?: string }) {
  const outcome = readOutcome(options.outcome);
  const page = await collectPages(options, async (pageSize, pageToken) => {
    const response = await call
      .client(ScheduleService)
      .listFires({ name, outcome, pageSize, pageToken }, call.once());
    return { rows: response.fires, nextPageToken: response.nextPageToken };
  });
  call.output.print({
    schema: ListFiresResponseSchema,
    message: create(ListFiresResponseSchema, { fires: page.rows, nextPageToken: page.nextPageToken }),
    text: () => fireTable(page.rows, call.output),
    names: () => page.rows.flatMap(({ jobId }) => (jobId === "" ? [] : [jobId])),
  });
  notePage(call.output, page, "fires");
  return exitCodes.done;
}

function registerStates(schedule: MusterCommand, cli: Cli): void {
  schedule
    .command("pause <name...>")
    .description("Make no jobs until it is resumed. What it made goes on.")
    .examples('muster schedule pause nightly --reason "migration"')
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, names: string[], { reason = "" }: { reason?: string }) =>
        forEachId(call, names, async (name) => {
          const request = { name, reason };
          const response = await call.client(ScheduleService).pauseSchedule(request, call.once());
          call.output.printOne({
            schema: PauseScheduleResponseSchema,
            message: response,
            text: () => [`${sanitize(name)}\tpaused`],
            names: () => [name],
          });
        }),
      ),
    );
  schedule
    .command("resume <name...>")
    .description(
      "Go on from now. What passed while it was paused is not made up: see muster schedule backfill.",
    )
    .examples("muster schedule resume nightly")
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, names: string[], { reason = "" }: { reason?: string }) =>
        forEachId(call, names, async (name) => {
          const request = { name, reason };
          const response = await call.client(ScheduleService).resumeSchedule(request, call.once());
          const next = showNext(response.schedule, call.surroundings.now());
          call.output.printOne({
            schema: ResumeScheduleResponseSchema,
            message: response,
            text: () => [`${sanitize(name)}\tresumed\tnext ${next}`],
            names: () => [name],
          });
        }),
      ),
    );
}

function registerDelete(schedule: MusterCommand, cli: Cli): void {
  schedule
    .command("delete <name>")
    .description("Delete a schedule. Its jobs stay.")
    .examples("muster schedule delete nightly", "muster schedule delete nightly --confirm nightly")
    .option("--reason <text>", "for people")
    .option("--etag <etag>", "only if nobody changed it since")
    .action(
      cli.action(async (call, name: string, options: { reason?: string; etag?: string }) => {
        const { reason = "", etag = "" } = options;
        await confirmDanger(call, {
          level: "severe",
          what: `Delete the schedule ${name}`,
          expected: name,
          command: `muster schedule delete ${quote(name)}`,
        });
        const request = { name, reason, etag };
        const response = await call.client(ScheduleService).deleteSchedule(request, call.once());
        call.output.print({
          schema: DeleteScheduleResponseSchema,
          message: response,
          text: () => [`${sanitize(name)}\tdeleted`],
          names: () => [name],
        });
        return exitCodes.done;
      }),
    );
}

function registerPreview(schedule: MusterCommand, cli: Cli): void {
  schedule
    .command("preview <cron-or-name>")
    .description(
      "Tell when a cron, or a saved schedule, fires next, in words and times, and what daylight saving time does to it.",
    )
    .examples(
      "muster schedule preview '30 2 * * *' --zone America/New_York -n 10",
      "muster schedule preview '@every 90s'",
      "muster schedule preview nightly --from 2027-03-01T00:00:00Z",
    )
    .option("--zone <zone>", "time zone of a cron (UTC)")
    .option("-n, --count <number>", "how many times (5)", wholeOption(1, 1000))
    .option("--from <time>", "from then on: RFC 3339, or 'in 10d'", timeOption(cli.surroundings.now))
    .action(cli.action((call, given: string, options: PreviewOptions) => preview(call, given, options)));
}

async function preview(call: Call, given: string, { zone, count = 0, from }: PreviewOptions) {
  // No name has a blank or begins with @, and every cron does one of the two.
  const isCron = /[\s@*]/.test(given);
  if (!isCron && zone !== undefined) {
    throw usageError("--zone is of a cron; a saved schedule has its own", "Leave it out.");
  }
  const response = await call.client(ScheduleService).previewSchedule(
    {
      of: isCron
        ? { case: "schedule", value: { cron: given, zone: zone ?? "" } }
        : { case: "name", value: given },
      count,
      ...(from === undefined ? {} : { fromTime: timeFromMs(from) }),
    },
    call.once(),
  );
  call.output.print({
    schema: PreviewScheduleResponseSchema,
    message: response,
    text: () => previewLines(response, call.output, call.surroundings.now()),
    names: () => response.fireTimes.map(({ wallTime, offset }) => `${wallTime}${offset}`),
  });
  return exitCodes.done;
}
