import type { Job } from "@muster/client/v1/job";
import {
  JobAction,
  JobService,
  ParkJobResponseSchema,
  UnparkJobResponseSchema,
} from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { durationOption, timeOption } from "../input/options.ts";
import { timeFromMs } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { actOnMany, commandOf, type ManyOptions, namedJobs, reasonWords, withMany } from "./job-acts.ts";
import { jobLine } from "./job-show.ts";
import { forEachId } from "./several.ts";

interface ParkOptions extends ManyOptions {
  readonly until?: number;
  readonly for?: number;
}

const anId = "job_01jd9y3f4k8qkx2m0000000000";

/** Registers `muster job park` and `muster job unpark`. */
export function registerJobPark(job: MusterCommand, cli: Cli): void {
  withMany(job.command("park [job...]"))
    .description(
      "Hold jobs that wait, without spending an attempt: until a time, or until they are unparked.",
    )
    .examples(
      `muster job park ${anId} --for 10m --reason "quota spent"`,
      `muster job park ${anId} --until 2026-11-23T08:00:00Z`,
      "muster job list --state ready -o name | xargs -n 20 muster job park",
    )
    .option("--until <time>", "go on by itself then: RFC 3339, or 'in 10m'", timeOption(cli.surroundings.now))
    .option("--for <duration>", "go on by itself after this long, like 10m", durationOption)
    .action(
      cli.action((call, jobIds: string[], options: ParkOptions) => {
        const until = untilOf(options, cli.surroundings.now());
        const { jobs, isTogether } = namedJobs(jobIds, options, `muster job park ${anId}`);
        const { reason, dryRun: isDryRun = false } = options;
        if (!isTogether) return forEachId(call, jobIds, (jobId) => parkJob(call, jobId, reason ?? "", until));
        const time = until === null ? [] : ["--until", new Date(until).toISOString()];
        const command = commandOf("job park", jobs, [...time, ...reasonWords(reason)]);
        return actOnMany(call, { action: JobAction.PARK, jobs, reason, until, isDryRun, command });
      }),
    );
  withMany(job.command("unpark [job...]"))
    .description("Let parked jobs go on: to what they depend on, to their time, or to a worker.")
    .examples(
      `muster job unpark ${anId}`,
      "muster job list --state parked -o name | xargs -n 20 muster job unpark",
    )
    .action(
      cli.action((call, jobIds: string[], options: ManyOptions) => {
        const { jobs, isTogether } = namedJobs(jobIds, options, `muster job unpark ${anId}`);
        const { reason, dryRun: isDryRun = false } = options;
        if (!isTogether) return forEachId(call, jobIds, (jobId) => unparkJob(call, jobId, reason ?? ""));
        const command = commandOf("job unpark", jobs, reasonWords(reason));
        return actOnMany(call, { action: JobAction.UNPARK, jobs, reason, isDryRun, command });
      }),
    );
}

function untilOf(options: ParkOptions, nowMs: number): number | null {
  if (options.until !== undefined && options.for !== undefined) {
    throw usageError("give --until or --for, not both", `Like: muster job park ${anId} --for 10m`);
  }
  if (options.for === 0) throw usageError("--for must be longer than nothing", "Like: --for 10m");
  return options.for === undefined ? (options.until ?? null) : nowMs + options.for;
}

async function parkJob(call: Call, jobId: string, reason: string, until: number | null): Promise<void> {
  const time = until === null ? {} : { until: timeFromMs(until) };
  const request = { jobId, reason, requestId: crypto.randomUUID(), ...time };
  const response = await call.client(JobService).parkJob(request, call.once());
  call.output.printOne({
    schema: ParkJobResponseSchema,
    message: response,
    text: () => [line(jobId, response.job)],
    names: () => [jobId],
  });
}

async function unparkJob(call: Call, jobId: string, reason: string): Promise<void> {
  const request = { jobId, reason, requestId: crypto.randomUUID() };
  const response = await call.client(JobService).unparkJob(request, call.once());
  call.output.printOne({
    schema: UnparkJobResponseSchema,
    message: response,
    text: () => [line(jobId, response.job)],
    names: () => [jobId],
  });
}

function line(jobId: string, job: Job | undefined): string {
  return `${sanitize(jobId)}\t${job === undefined ? "" : jobLine(job)}`;
}
