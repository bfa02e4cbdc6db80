import { create } from "@bufbuild/protobuf";
import {
  CancelJobResponseSchema,
  CancelOutcome,
  GetJobResponseSchema,
  JobAction,
  JobService,
  ListAttemptsResponseSchema,
  RetryJobResponseSchema,
} from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { wholeOption } from "../input/options.ts";
import { sanitize } from "../output/sanitize.ts";
import { actOnMany, commandOf, type ManyOptions, namedJobs, reasonWords, withMany } from "./job-acts.ts";
import { registerJobEdit } from "./job-edit.ts";
import { registerJobExplain } from "./job-explain.ts";
import { registerJobList } from "./job-list.ts";
import { registerJobPark } from "./job-park.ts";
import { attemptTable, jobDetail, jobLine } from "./job-show.ts";
import { registerJobSubmit } from "./job-submit.ts";
import { waitForJob } from "./job-wait.ts";
import { whyWaiting } from "./job-waiting.ts";
import { type LogsOptions, printLogs, printWatch, type WatchOptions } from "./job-watch.ts";
import { collectPages } from "./pages.ts";
import { forEachId } from "./several.ts";

const anId = "job_01jd9y3f4k8qkx2m0000000000";

/** Registers `muster job`. */
export function registerJob(cli: Cli): void {
  const job = cli.program.command("job").alias("jobs").description("Submit, watch and steer jobs.");
  registerJobSubmit(job, cli);
  registerJobList(job, cli);
  registerGet(job, cli);
  registerJobExplain(job, cli);
  registerFollow(job, cli);
  registerSteer(job, cli);
  registerJobPark(job, cli);
  registerJobEdit(job, cli);
  job
    .command("attempts <job>")
    .description("List the executions of a job, oldest first: where, when, and how each ended.")
    .examples(`muster job attempts ${anId}`)
    .action(cli.action((call, jobId: string) => printAttempts(call, jobId)));
}

function registerGet(job: MusterCommand, cli: Cli): void {
  job
    .command("get [job]")
    .description("Show everything about a job: state, payload, result, error.")
    .examples(`muster job get ${anId}`, "muster job get --external-id shot-0412 --json")
    .option("--external-id <id>", "the job with this id of yours")
    .action(
      cli.action(async (call, jobId: string | undefined, options: { externalId?: string }) => {
        const externalId = options.externalId ?? "";
        if ((jobId === undefined) === (externalId === "")) {
          throw usageError("give the id of the job, or --external-id", `Like: muster job get ${anId}`);
        }
        const response = await call
          .client(JobService)
          .getJob({ jobId: jobId ?? "", externalId }, call.once());
        const { job: found } = response;
        call.output.print({
          schema: GetJobResponseSchema,
          message: response,
          text: () => (found === undefined ? [] : jobDetail(found, call.output, call.surroundings.now())),
          names: () => (found === undefined ? [] : [found.jobId]),
        });
        const why = found === undefined ? undefined : await whyWaiting(call, found);
        if (why !== undefined) call.output.note(why);
        return exitCodes.done;
      }),
    );
}

function registerFollow(job: MusterCommand, cli: Cli): void {
  job
    .command("watch <job>")
    .description(
      "Show what becomes of a job until it has ended: states, progress, partial results, messages.",
    )
    .examples(
      `muster job watch ${anId}`,
      `muster job watch ${anId} --logs --exit-status`,
      `muster job watch ${anId} -o jsonl`,
    )
    .option("--logs", "the log, too")
    .option("--exit-status", "exit 9 if it failed or was cancelled")
    .action(cli.action((call, jobId: string, options: WatchOptions) => printWatch(call, jobId, options)));
  job
    .command("logs <job>")
    .description("Print the log of a job, from its first attempt on.")
    .examples(
      `muster job logs ${anId}`,
      `muster job logs ${anId} -f --timestamps`,
      `muster job logs ${anId} --attempt 2`,
    )
    .option("-f, --follow", "go on until the job has ended")
    .option("-t, --timestamps", "time and source in front of each line")
    .option("--attempt <number>", "only this attempt", wholeOption(1, 1_000_000))
    .action(cli.action((call, jobId: string, options: LogsOptions) => printLogs(call, jobId, options)));
  job
    .command("wait <job>")
    .description(
      "Wait until a job has ended and print its result. Exits with 9 if it failed or was cancelled.",
    )
    .examples(`muster job wait ${anId}`, `muster job wait ${anId} --timeout 10m | jq .`)
    .action(cli.action((call, jobId: string) => waitForJob(call, jobId)));
}

function registerSteer(job: MusterCommand, cli: Cli): void {
  withMany(job.command("cancel [job...]"))
    .description("Cancel jobs: at once where they wait, by asking the worker where they run.")
    .examples(
      `muster job cancel ${anId} --reason "wrong branch"`,
      "muster job cancel --filter 'kind:agent.* state:ready' --dry-run",
      "muster job cancel --filter 'kind:agent.* state:ready' --confirm 1204",
    )
    .option("--force", "do not wait for the worker: end the job now, refuse what its worker still sends")
    .action(
      cli.action((call, jobIds: string[], options: ManyOptions & { force?: boolean }) => {
        const { jobs, isTogether } = namedJobs(jobIds, options, `muster job cancel ${anId}`);
        if (!isTogether) return forEachId(call, jobIds, (jobId) => cancelJob(call, jobId, options));
        const { reason, force } = options;
        const words = [...(force === true ? ["--force"] : []), ...reasonWords(reason)];
        const isDryRun = options.dryRun === true;
        const command = commandOf("job cancel", jobs, words);
        return actOnMany(call, { action: JobAction.CANCEL, jobs, reason, force, isDryRun, command });
      }),
    );
  withMany(job.command("retry [job...]"))
    .description("Run dead or cancelled jobs again, or try waiting ones now instead of after their delay.")
    .examples(
      `muster job retry ${anId}`,
      "muster job list --state dead -o name | xargs -n 20 muster job retry",
      "muster job retry --filter 'state:cancelled queue:renders age<1h' --dry-run",
    )
    .action(
      cli.action((call, jobIds: string[], options: ManyOptions) => {
        const { jobs, isTogether } = namedJobs(jobIds, options, `muster job retry ${anId}`);
        const { reason, dryRun: isDryRun = false } = options;
        if (!isTogether) return forEachId(call, jobIds, (jobId) => retryJob(call, jobId, reason ?? ""));
        const command = commandOf("job retry", jobs, reasonWords(reason));
        return actOnMany(call, { action: JobAction.RETRY, jobs, reason, isDryRun, command });
      }),
    );
}

/** Runs a dead or cancelled job again and prints it. */
export async function retryJob(call: Call, jobId: string, reason: string): Promise<void> {
  const response = await call
    .client(JobService)
    .retryJob({ jobId, reason, requestId: crypto.randomUUID() }, call.once());
  const { job } = response;
  call.output.printOne({
    schema: RetryJobResponseSchema,
    message: response,
    text: () => [`${sanitize(jobId)}\t${job === undefined ? "" : jobLine(job)}`],
    names: () => [jobId],
  });
}

async function cancelJob(
  call: Call,
  jobId: string,
  options: { reason?: string; force?: boolean },
): Promise<void> {
  const request = {
    jobId,
    reason: options.reason ?? "",
    force: options.force === true,
    requestId: crypto.randomUUID(),
  };
  const response = await call.client(JobService).cancelJob(request, call.once());
  const { job, outcome } = response;
  call.output.printOne({
    schema: CancelJobResponseSchema,
    message: response,
    text: () => [`${sanitize(jobId)}\t${job === undefined ? "" : jobLine(job)}`],
    names: () => [jobId],
  });
  if (outcome === CancelOutcome.ALREADY_TERMINAL) call.output.note(`${jobId} had ended before.`);
  if (outcome === CancelOutcome.REQUESTED) call.output.note(`${jobId}: its worker was asked to stop.`);
}

async function printAttempts(call: Call, jobId: string): Promise<number> {
  const page = await collectPages({ all: true }, async (pageSize, pageToken) => {
    const response = await call.client(JobService).listAttempts({ jobId, pageSize, pageToken }, call.once());
    return { rows: response.attempts, nextPageToken: response.nextPageToken };
  });
  call.output.print({
    schema: ListAttemptsResponseSchema,
    message: create(ListAttemptsResponseSchema, { attempts: page.rows }),
    text: () => attemptTable(page.rows, call.output, call.surroundings.now()),
    names: () => page.rows.map((one) => String(one.attempt)),
  });
  if (page.rows.length === 0 && call.output.format === "text") call.output.note("No attempts yet.");
  return exitCodes.done;
}
