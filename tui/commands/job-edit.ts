import { Code, ConnectError } from "@connectrpc/connect";
import {
  DeleteJobResponseSchema,
  JobAction,
  JobService,
  UpdateJobResponseSchema,
} from "@muster/client/v1/job_service";
import { LeaseService, RevokeLeaseResponseSchema } from "@muster/client/v1/lease_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { confirmDanger } from "../input/confirm.ts";
import { pairOption, priorityOption } from "../input/options.ts";
import { sanitize } from "../output/sanitize.ts";
import { showCounted } from "../output/time.ts";
import { retryJob } from "./job.ts";
import { actOnMany, commandOf, type ManyOptions, namedJobs, reasonWords, withMany } from "./job-acts.ts";
import { jobLine } from "./job-show.ts";
import { forEachId } from "./several.ts";

interface EditOptions {
  readonly priority?: number;
  readonly title?: string;
  readonly label?: Readonly<Record<string, string>>;
  readonly reason?: string;
}

const anId = "job_01jd9y3f4k8qkx2m0000000000";

/** Registers `muster job edit`, `delete` and `requeue`. */
export function registerJobEdit(job: MusterCommand, cli: Cli): void {
  job
    .command("edit <job...>")
    .description("Change priority, title and labels of jobs that have not ended.")
    .examples(
      `muster job edit ${anId} --priority high`,
      `muster job edit ${anId} --title "Shot 412" --label team=web --label old=`,
    )
    .option("--priority <priority>", "low, normal, high, critical, or 0 to 255", priorityOption)
    .option("--title <text>", "for people")
    .option("--label <key=value>", "set a label; an empty value takes it away; repeat for more", pairOption)
    .option("--reason <text>", "for people")
    .action(
      cli.action((call, jobIds: string[], options: EditOptions) => {
        const { priority, title, label = {} } = options;
        if (priority === undefined && title === undefined && Object.keys(label).length === 0) {
          throw usageError(
            "give --priority, --title or --label",
            `Like: muster job edit ${anId} --priority high`,
          );
        }
        return forEachId(call, jobIds, (jobId) => editJob(call, jobId, options));
      }),
    );
  withMany(job.command("delete [job...]"))
    .description("Delete jobs that have ended, with their attempts, logs and artifacts.")
    .examples(
      `muster job delete ${anId} --yes`,
      "muster job delete --filter 'state:succeeded age>30d' --dry-run",
      "muster job delete --filter 'state:succeeded age>30d' --confirm 1204",
    )
    .action(cli.action((call, jobIds: string[], options: ManyOptions) => deleteJobs(call, jobIds, options)));
  job
    .command("requeue <job...>")
    .description(
      "Make jobs ready now: take one that runs back from its worker, run one again that is dead or cancelled.",
    )
    .examples(`muster job requeue ${anId} --reason "its worker hangs"`)
    .option("--reason <text>", "for people")
    .action(
      cli.action(async (call, jobIds: string[], { reason }: { reason?: string }) => {
        await confirmDanger(call, {
          level: "moderate",
          what: `Take back from its worker, or run again, ${showCounted(jobIds.length, "job")}`,
          command: commandOf("job requeue", { ids: jobIds }, reasonWords(reason)),
        });
        return forEachId(call, jobIds, (jobId) => requeueJob(call, jobId, reason ?? ""));
      }),
    );
}

async function editJob(call: Call, jobId: string, options: EditOptions): Promise<void> {
  const { priority, title, label = {}, reason = "" } = options;
  const response = await call.client(JobService).updateJob(
    {
      ...{ jobId, reason, labels: { ...label }, requestId: crypto.randomUUID() },
      ...(priority === undefined ? {} : { priority }),
      ...(title === undefined ? {} : { title }),
    },
    call.once(),
  );
  const { job } = response;
  call.output.printOne({
    schema: UpdateJobResponseSchema,
    message: response,
    text: () => [`${sanitize(jobId)}\t${job === undefined ? "" : jobLine(job)}`],
    names: () => [jobId],
  });
}

async function deleteJobs(call: Call, jobIds: readonly string[], options: ManyOptions): Promise<number> {
  const { reason, dryRun = false } = options;
  const { jobs, isTogether } = namedJobs(jobIds, options, `muster job delete ${anId}`);
  const command = commandOf("job delete", jobs, reasonWords(reason));
  if (isTogether) {
    return actOnMany(call, { action: JobAction.DELETE, jobs, reason, isDryRun: dryRun, command });
  }
  const what = `Delete ${showCounted(jobIds.length, "job")} with all that is kept`;
  await confirmDanger(call, { level: "moderate", what, command });
  return forEachId(call, jobIds, async (jobId) => {
    const request = { jobId, reason: reason ?? "", requestId: crypto.randomUUID() };
    const response = await call.client(JobService).deleteJob(request, call.once());
    call.output.printOne({
      schema: DeleteJobResponseSchema,
      message: response,
      text: () => [`${sanitize(jobId)}\tdeleted`],
      names: () => [jobId],
    });
  });
}

async function requeueJob(call: Call, jobId: string, reason: string): Promise<void> {
  const leaseId = await leaseOf(call, jobId);
  if (leaseId === undefined) return retryJob(call, jobId, reason);
  await revokeLease(call, { leaseId, reason, shown: jobId });
}

/** Takes a lease back and prints what became of its job, after `shown`. */
export async function revokeLease(
  call: Call,
  { leaseId, reason, shown }: { readonly leaseId: string; readonly reason: string; readonly shown: string },
): Promise<void> {
  const request = { leaseId, reason, requestId: crypto.randomUUID() };
  const response = await call.client(LeaseService).revokeLease(request, call.once());
  const { job } = response;
  call.output.printOne({
    schema: RevokeLeaseResponseSchema,
    message: response,
    text: () => [`${sanitize(shown)}\t${job === undefined ? "" : jobLine(job)}`],
    names: () => [shown],
  });
}

async function leaseOf(call: Call, jobId: string): Promise<string | undefined> {
  try {
    return (await call.client(LeaseService).getLease({ jobId }, call.once())).lease?.leaseId;
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.NotFound) return undefined;
    throw error;
  }
}
