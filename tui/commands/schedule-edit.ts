import {
  clone,
  create,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { JobSpecSchema } from "@muster/client/v1/job";
import {
  PutScheduleResponseSchema,
  ScheduleSchema,
  ScheduleService,
} from "@muster/client/v1/schedule_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";
import {
  durationOption,
  listOption,
  pairOption,
  priorityOption,
  timeOption,
  wholeOption,
} from "../input/options.ts";
import { readPayload } from "../input/payload.ts";
import { durationFromMs, timeFromMs } from "../input/values.ts";
import { createOfFiles, fileOptionWords, needWords, ownOptions } from "./from-file.ts";
import { jobOfOptions, type SubmitOptions } from "./job-submit.ts";
import { readCatchUp, readOverlap, scheduleFacts } from "./schedule-show.ts";

type ScheduleInit = MessageInitShape<typeof ScheduleSchema>;

/** Options of a schedule and of its job; those of one job alone are not among them. */
interface EditOptions extends Omit<SubmitOptions, "label" | "file"> {
  readonly file?: readonly string[];
  readonly cron?: string;
  readonly kind?: string;
  readonly zone?: string;
  readonly jitter?: number;
  readonly start?: number;
  readonly end?: number;
  readonly overlap?: string;
  readonly catchUp?: string;
  readonly catchUpLimit?: number;
  readonly paused?: boolean;
  readonly label?: Readonly<Record<string, string>>;
  readonly jobLabel?: Readonly<Record<string, string>>;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** Registers `muster schedule create` and `edit`. */
export function registerScheduleEdit(schedule: MusterCommand, cli: Cli): void {
  withScheduleOptions(
    schedule
      .command("create [name] [cron] [kind] [argv...]")
      .description("Create a schedule: a cron, and the job that it makes each time.")
      .examples(
        "muster schedule create nightly '30 2 * * *' shell.run --zone Europe/Paris -- make test",
        `muster schedule create report @daily report.build --data '{"of":"sales"}' --overlap queue`,
        "muster schedule create poll '@every 90s' feed.poll --jitter 10s --catch-up none",
        "muster schedule create nightly '30 2 * * *' shell.run --dry-run -- make test",
        "muster schedule create -f nightly.yaml",
      )
      .option("-f, --file <path>", fileOptionWords, listOption),
    cli,
  ).action(
    cli.action(
      async (
        call,
        name: string | undefined,
        cron: string | undefined,
        kind: string | undefined,
        argv: string[],
        options: EditOptions,
      ) => {
        if (options.file !== undefined) {
          return createOfFiles(call, "schedule", [name, cron, kind], options);
        }
        return createOne(call, needWords({ name, cron, kind }), argv, options);
      },
    ),
  );
  withScheduleOptions(
    schedule
      .command("edit <name>")
      .description(
        "Change what is given of a schedule; the rest stays. Without options: as text, in your editor.",
      )
      .examples(
        "muster schedule edit nightly",
        "muster schedule edit nightly --cron '0 3 * * *' --zone Europe/Paris",
        "muster schedule edit nightly --overlap replace --priority high --dry-run",
      )
      .option("--cron <cron>", "when it fires")
      .option("--kind <kind>", "what sort of work its jobs are"),
    cli,
  ).action(cli.action((call, name: string, options: EditOptions) => edit(call, name, options)));
}

async function createOne(
  call: Call,
  { name, cron, kind }: Readonly<Record<"name" | "cron" | "kind", string>>,
  argv: string[],
  options: EditOptions,
): Promise<number> {
  const payload = await readPayload({ data: options.data, argv, kind }, call.surroundings);
  const job = { ...jobOf(kind, options), ...(payload === undefined ? {} : { payload }) };
  const given = { name, cron, job, ...timesOf(options), labels: { ...options.label } };
  return put(call, given, options, { createOnly: true });
}

function withScheduleOptions(command: MusterCommand, cli: Cli): MusterCommand {
  return command
    .option("--zone <zone>", "time zone of its wall clock, like Europe/Paris (UTC)")
    .option("--jitter <duration>", "be late by a part of this, another one each time (0s)", durationOption)
    .option("--start <time>", "not before: RFC 3339, or 'in 10m'", timeOption(cli.surroundings.now))
    .option("--end <time>", "not from then on", timeOption(cli.surroundings.now))
    .option("--overlap <policy>", "when an earlier job has not ended: skip, queue, replace or allow (skip)")
    .option(
      "--catch-up <policy>",
      "of what was missed (over 5 s late; the latest due: over 60 s), make up: none, one or all (one)",
    )
    .option("--catch-up-limit <number>", "how many --catch-up all makes up (10)", wholeOption(1, 1000))
    .option("--paused", "make no jobs until it is resumed")
    .option("--label <key=value>", "label of the schedule; repeat for more", pairOption)
    .option("-d, --data <json>", "payload of its jobs: JSON, @file, or - for stdin")
    .option("--title <text>", "title of its jobs")
    .option("--queue <name>", "lane of its jobs (default)")
    .option("--pool <name>", "provider's quota that they draw on")
    .option("--priority <priority>", "low, normal, high, critical, or 0 to 255 (normal)", priorityOption)
    .option("--points <number>", "size against a worker's capacity (1)", wholeOption(1, 10_000))
    .option("--skill <name>", "skill that the worker must have; repeat for more", listOption)
    .option("--job-label <key=value>", "label of its jobs; repeat for more", pairOption)
    .option("--project <name>", "project (repository) that they belong to")
    .option("--worker <worker>", "only this worker may run them: its name or id")
    .option("--session <id>", "only in this agent session")
    .option("--project-session", "in the primary session of the project, else the first that can be used")
    .option("--soft-timeout <duration>", "warn the handler after this long", durationOption)
    .option("--hard-timeout <duration>", "kill it after this long (soft timeout + 10s)", durationOption)
    .option("--lease-ttl <duration>", "cap of one attempt however lively it is (4h)", durationOption)
    .option("--reclaim-after <duration>", "how long a silent worker keeps a job (30s)", durationOption)
    .option("--max-attempts <number>", "failures after which a job is dead (3)", wholeOption(1, 100))
    .option("--exclusive", "start only after the lease is confirmed")
    .option("--dry-run", "check it and show what it would be; change nothing")
    .option("--reason <text>", "for people");
}

async function edit(call: Call, name: string, options: EditOptions): Promise<number> {
  if (ownOptions(options).length === 0) {
    const { editSchedule } = await import("../apply/edited.ts");
    const { dryRun: isDryRun = false, reason = "" } = options;
    return editSchedule(call, name, { isDryRun, reason });
  }
  const { schedule } = await call.client(ScheduleService).getSchedule({ name }, call.once());
  if (schedule === undefined) throw new Error("a schedule was found and is not there");
  const { job } = schedule;
  const kind = options.kind ?? job?.kind ?? "";
  const payload =
    options.data === undefined
      ? undefined
      : await readPayload({ data: options.data, argv: [], kind }, call.surroundings);
  // What an option does not say stays as it is.
  const said = Object.entries(jobOf(kind, options)).filter(([field, value]) => isSaid(field, value, options));
  const given = changed(ScheduleSchema, schedule, {
    ...(options.cron === undefined ? {} : { cron: options.cron }),
    ...timesOf(options),
    ...(options.label === undefined ? {} : { labels: { ...options.label } }),
    job: changed(JobSpecSchema, job ?? create(JobSpecSchema), {
      ...Object.fromEntries(said),
      ...(payload === undefined ? {} : { payload }),
      kind,
    }),
  });
  return put(call, given, options, { createOnly: false });
}

async function put(
  call: Call,
  schedule: ScheduleInit,
  { dryRun = false, reason = "" }: EditOptions,
  { createOnly }: { readonly createOnly: boolean },
): Promise<number> {
  const request = { schedule, createOnly, validateOnly: dryRun, reason };
  const response = await call.client(ScheduleService).putSchedule(request, call.once());
  const { schedule: after } = response;
  call.output.print({
    schema: PutScheduleResponseSchema,
    message: response,
    text: () => (after === undefined ? [] : scheduleFacts(after, call.output, call.surroundings.now())),
    names: () => [after?.name ?? ""],
  });
  if (dryRun) call.output.note("Nothing was changed: this is what it would be.");
  else if (!response.changed) call.output.note("It was so already: nothing was changed.");
  return exitCodes.done;
}

// A copy of a message with the fields that an init names.
function changed<Desc extends DescMessage>(
  desc: Desc,
  before: MessageShape<Desc>,
  init: MessageInitShape<Desc>,
): MessageShape<Desc> {
  const made = create(desc, init);
  const named = Object.keys(init).map((field): [string, unknown] => [field, Reflect.get(made, field)]);
  return Object.assign(clone(desc, before), Object.fromEntries(named));
}

function jobOf(kind: string, options: EditOptions) {
  const { jobLabel, label: _, file: __, ...rest } = options;
  return jobOfOptions(kind, { ...rest, ...(jobLabel === undefined ? {} : { label: jobLabel }) });
}

// Fields of a job that have a value when no option names them.
const optionOf: Readonly<Record<string, keyof EditOptions>> = {
  title: "title",
  queue: "queue",
  pool: "pool",
  project: "project",
  requiredSkills: "skill",
  labels: "jobLabel",
  exclusive: "exclusive",
};

function isSaid(field: string, value: unknown, options: EditOptions): boolean {
  if (["kind", "externalId", "dependsOn"].includes(field)) return false;
  const option = optionOf[field];
  return option === undefined ? value !== undefined : options[option] !== undefined;
}

function timesOf({ zone, jitter, start, end, overlap, catchUp, catchUpLimit, paused }: EditOptions) {
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(jitter === undefined ? {} : { jitter: durationFromMs(jitter) }),
    ...(start === undefined ? {} : { startTime: timeFromMs(start) }),
    ...(end === undefined ? {} : { endTime: timeFromMs(end) }),
    ...(overlap === undefined ? {} : { overlap: readOverlap(overlap) }),
    ...(catchUp === undefined ? {} : { catchUp: readCatchUp(catchUp) }),
    ...(catchUpLimit === undefined ? {} : { catchUpLimit }),
    ...(paused === undefined ? {} : { paused }),
  };
}
