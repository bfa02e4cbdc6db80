import { DiscardDeadLetterResponseSchema, JobAction, JobService } from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { findGroup, type NamedGroup } from "../input/groups.ts";
import { rateOption } from "../input/options.ts";
import type { Rate } from "../input/values.ts";
import { sanitize } from "../output/sanitize.ts";
import { retryJob } from "./job.ts";
import { actOnMany, commandOf, type ManyOptions, namedJobs, reasonWords, withMany } from "./job-acts.ts";
import { forEachId } from "./several.ts";

interface LetterOptions extends ManyOptions {
  readonly group?: string;
  readonly rate?: Rate | "none";
}

const anId = "job_01jd9y3f4k8qkx2m0000000000";
const aGroup = "7f3a9c01d2e4";

/** Registers `muster dlq retry` and `muster dlq discard`. */
export function registerDlqActs(dlq: MusterCommand, cli: Cli): void {
  withMany(dlq.command("retry [job...]"))
    .description("Run dead letters again, with all their attempts anew.")
    .examples(
      `muster dlq retry ${anId} --reason "rotated token"`,
      `muster dlq retry --group ${aGroup} --dry-run`,
      `muster dlq retry --group ${aGroup} --rate 10/m --confirm 9`,
    )
    .option("--group <fingerprint>", "all of a group of muster dlq groups; the beginning will do")
    .option("--rate <jobs/time>", "so many at most in a time, like 10/m", rateOption)
    .action(
      cli.action(async (call, jobIds: string[], options: LetterOptions) => {
        const { rate = "none", reason } = options;
        const letters = await namedLetters(call, jobIds, options, "retry");
        if (!letters.isTogether && rate === "none") {
          return forEachId(call, jobIds, (jobId) => retryJob(call, jobId, reason ?? ""));
        }
        const words = rate === "none" ? [] : ["--rate", `${rate.jobs}/${rate.periodMs}ms`];
        return actOnLetters(call, JobAction.RETRY, letters, options, words);
      }),
    );
  withMany(dlq.command("discard [job...]"))
    .description("Take dead letters off the list without running them again. The jobs stay DEAD.")
    .examples(
      `muster dlq discard ${anId} --reason "obsolete"`,
      `muster dlq discard --group ${aGroup} --confirm 9`,
      "muster dlq discard --filter 'age>30d' --dry-run",
    )
    .option("--group <fingerprint>", "all of a group of muster dlq groups; the beginning will do")
    .action(
      cli.action(async (call, jobIds: string[], options: LetterOptions) => {
        const letters = await namedLetters(call, jobIds, options, "discard");
        if (letters.isTogether) return actOnLetters(call, JobAction.DISCARD, letters, options, []);
        return forEachId(call, jobIds, (jobId) => discardLetter(call, jobId, options.reason ?? ""));
      }),
    );
}

interface NamedLetters extends ReturnType<typeof namedJobs> {
  readonly group?: NamedGroup;
}

// A filter, or a group, of dead letters is one of jobs that have one.
async function namedLetters(
  call: Call,
  jobIds: readonly string[],
  options: LetterOptions,
  verb: string,
): Promise<NamedLetters> {
  const { group: given, filter, ...others } = options;
  const example = `muster dlq ${verb} ${anId}`;
  if (given === undefined) {
    const letters = filter === undefined ? others : { ...others, filter: `${filter} fingerprint:*` };
    return namedJobs(jobIds, letters, example);
  }
  if (filter !== undefined) {
    throw usageError("give --group or --filter, not both", `Like: muster dlq ${verb} --group ${aGroup}`);
  }
  const { isTogether } = namedJobs(jobIds, { ...others, filter: "fingerprint:*" }, example);
  const group = await findGroup(call, given);
  return { jobs: { filter: `fingerprint:${group.fingerprint}` }, isTogether, group };
}

function actOnLetters(
  call: Call,
  action: JobAction,
  { jobs, group }: NamedLetters,
  { filter, rate, reason, dryRun: isDryRun = false }: LetterOptions,
  more: readonly string[],
): Promise<number> {
  const verb = action === JobAction.RETRY ? "dlq retry" : "dlq discard";
  const named =
    group !== undefined
      ? `muster ${verb} --group ${group.fingerprint}`
      : commandOf(verb, filter === undefined ? jobs : { filter });
  const command = [named, ...more, ...reasonWords(reason)].join(" ");
  return actOnMany(call, {
    ...{ action, jobs, reason, isDryRun, command },
    rate: rate === "none" ? undefined : rate,
    absent: group?.absent,
  });
}

async function discardLetter(call: Call, jobId: string, reason: string): Promise<void> {
  const response = await call.client(JobService).discardDeadLetter({ jobId, reason }, call.once());
  call.output.printOne({
    schema: DiscardDeadLetterResponseSchema,
    message: response,
    text: () => [`${sanitize(jobId)}\tdiscarded`],
    names: () => [jobId],
  });
}
