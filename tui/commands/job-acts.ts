import { setTimeout } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { JobState, type StateCount } from "@muster/client/v1/job";
import {
  type ActOnJobsResponse,
  ActOnJobsResponseSchema,
  JobAction,
  type JobCounts,
  JobService,
} from "@muster/client/v1/job_service";
import type { Call } from "../call.ts";
import type { MusterCommand } from "../command.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { confirmDanger, dangerOfMany, quote } from "../input/confirm.ts";
import { type Rate, timeFromMs } from "../input/values.ts";
import { jobLooks } from "../output/states.ts";
import { layTable } from "../output/table.ts";
import { showCount, showCounted } from "../output/time.ts";

/** What is done to many jobs. */
export interface ManyJobs {
  readonly action: JobAction;
  /** All that match, or these. */
  readonly jobs: { readonly filter: string } | { readonly ids: readonly string[] };
  readonly reason?: string | undefined;
  readonly force?: boolean | undefined;
  /** Milliseconds since 1970. */
  readonly until?: number | null | undefined;
  readonly isDryRun: boolean;
  /** The equal command line, for who has to confirm it. */
  readonly command: string;
  /** How many to act on in a time; undefined: all as fast as it goes. */
  readonly rate?: Rate | undefined;
  /** What to throw when no job is what was named; undefined: that is fine. */
  readonly absent?: CliError | undefined;
}

/** Options of acts on many jobs. */
export interface ManyOptions {
  readonly filter?: string;
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** Adds the options of an act on many jobs. */
export function withMany<Command extends MusterCommand>(command: Command): Command {
  return command
    .option("--filter <filter>", "all that match; see: muster help filter")
    .option("--dry-run", "only count and check")
    .option("--reason <text>", "for people");
}

/** More ids than these are acted on together, as a filter is. */
const mostSingly = 50;

/** Jobs that one call takes at most. */
const mostACall = 1_000;

/**
 * Which jobs the arguments and `--filter` name, and whether they are acted on together: by a filter, dry, or when they
 * are many. Throws a usage error when both or neither are given.
 */
export function namedJobs(
  jobIds: readonly string[],
  { filter, dryRun = false }: ManyOptions,
  example: string,
): { readonly jobs: ManyJobs["jobs"]; readonly isTogether: boolean } {
  if ((jobIds.length === 0) === (filter === undefined)) {
    throw usageError("give the ids of jobs, or --filter, and not both", `Like: ${example}`);
  }
  if (filter !== undefined) return { jobs: { filter }, isTogether: true };
  return { jobs: { ids: jobIds }, isTogether: dryRun || jobIds.length > mostSingly };
}

/** A command line of these words, with the options of an act on many jobs. */
export function commandOf(words: string, jobs: ManyJobs["jobs"], options: readonly string[] = []): string {
  const named = "filter" in jobs ? ["--filter", quote(jobs.filter)] : jobs.ids.map(quote);
  return ["muster", words, ...named, ...options].join(" ");
}

/** `--reason` as a command line has it, where one was given. */
export function reasonWords(reason: string | undefined): string[] {
  return reason === undefined ? [] : ["--reason", quote(reason)];
}

/**
 * Acts on many jobs: counts them, asks, and goes page by page, telling how far it is. Exits with 12 when it did not
 * apply to some.
 */
export async function actOnMany(call: Call, many: ManyJobs): Promise<number> {
  if (call.output.format === "name") {
    throw usageError("an act on many jobs has no names to print", "Use -o text, json, jsonl or yaml.");
  }
  const dry = await act(call, many, many.jobs, { dryRun: true });
  const found = "ids" in many.jobs ? many.jobs.ids.length : countOf(dry.matched);
  if (found === 0 && many.absent !== undefined) throw many.absent;
  if (many.isDryRun) return showDry(call, many, dry, found);
  if (found === 0) {
    call.output.note("No jobs match: nothing was done.");
    show(call, many, create(ActOnJobsResponseSchema, { ...rest(dry), done: 0 }));
    return exitCodes.done;
  }
  const atLeast = dry.matched?.atLeast === true ? "at least " : "";
  await confirmDanger(call, {
    level: dangerOfMany(found, "filter" in many.jobs),
    what: `${words[many.action].plan} ${atLeast}${showCounted(found, "job")}${detailOf(many, dry)}`,
    count: found,
    command: many.command,
  });
  const total = await actOnPages(call, many, found, dry.matched?.atLeast === true);
  show(call, many, create(ActOnJobsResponseSchema, { ...total, matched: dry.matched }));
  if (total.skipped === 0) return exitCodes.done;
  throw new CliError(
    `${showCount(total.skipped)} of ${showCounted(total.done + total.skipped, "job")} skipped`,
    {
      reason: "PART_FAILED",
      exitCode: exitCodes.partFailed,
      suggestion: "The others are done.",
      violations: total.failures.map(({ jobId, reason, message }) => ({
        field: jobId,
        message: `${message} (${reason})`,
      })),
    },
  );
}

interface Total {
  done: number;
  skipped: number;
  failures: ActOnJobsResponse["failures"];
}

async function actOnPages(call: Call, many: ManyJobs, found: number, isAtLeast: boolean): Promise<Total> {
  const total: Total = { done: 0, skipped: 0, failures: [] };
  const progress = startProgress(call, found);
  const add = (answer: ActOnJobsResponse): void => {
    total.done += answer.done;
    total.skipped += answer.skipped;
    total.failures = [...total.failures, ...answer.failures].slice(0, mostFailures);
    progress(total.done + total.skipped);
  };
  if ("filter" in many.jobs && many.rate === undefined) {
    const requestId = crypto.randomUUID();
    for (let pageToken = ""; ; ) {
      const answer = await act(call, many, many.jobs, { pageToken, requestId, confirmed: BigInt(found) });
      add(answer);
      pageToken = answer.nextPageToken;
      if (pageToken === "") return total;
    }
  }
  const ids = "ids" in many.jobs ? many.jobs.ids : await matchingIds(call, many.jobs.filter);
  // By ids the coordinator has no count to hold them against.
  if (ids.length > found && !isAtLeast) throw countChanged(found, ids.length);
  const { size, pauseMs } = paceOf(many.rate);
  for (let at = 0; at < ids.length; at += size) {
    if (at > 0 && pauseMs > 0) await setTimeout(pauseMs, undefined, { signal: call.signal });
    add(await act(call, many, { ids: ids.slice(at, at + size) }, { requestId: crypto.randomUUID() }));
  }
  return total;
}

const mostFailures = 20;

function countChanged(confirmed: number, matched: number): CliError {
  return new CliError(`${showCounted(matched, "job")} match, and ${showCount(confirmed)} were confirmed`, {
    reason: "COUNT_CHANGED",
    exitCode: exitCodes.conflict,
    suggestion: "Look at what matches now, and confirm that count.",
  });
}

/** How many at a time, and how long between: one by one, where that is at most one a second. */
export function paceOf(rate: Rate | undefined): { readonly size: number; readonly pauseMs: number } {
  if (rate === undefined) return { size: mostACall, pauseMs: 0 };
  const pauseMs = Math.max(1_000, Math.round(rate.periodMs / rate.jobs));
  const size = Math.min(mostACall, Math.max(1, Math.round((rate.jobs * pauseMs) / rate.periodMs)));
  return { size, pauseMs };
}

async function matchingIds(call: Call, filterText: string): Promise<string[]> {
  const ids: string[] = [];
  for (let pageToken = ""; ; ) {
    const request = { filterText, pageSize: mostACall, pageToken };
    const page = await call.client(JobService).listJobs(request, call.once());
    ids.push(...page.jobs.map((job) => job.jobId));
    pageToken = page.nextPageToken;
    if (pageToken === "") return ids;
  }
}

function act(
  call: Call,
  { action, reason = "", force = false, until = null }: ManyJobs,
  jobs: ManyJobs["jobs"],
  more: { dryRun?: boolean; pageToken?: string; requestId?: string; confirmed?: bigint },
): Promise<ActOnJobsResponse> {
  return call.client(JobService).actOnJobs(
    {
      ...{ action, reason, force },
      ...(until === null ? {} : { until: timeFromMs(until) }),
      jobs:
        "filter" in jobs
          ? { case: "filter", value: jobs.filter }
          : { case: "ids", value: { jobIds: jobs.ids.slice(0, mostACall) } },
      ...more,
    },
    call.once(),
  );
}

// On a terminal after each call; elsewhere a line each 10 s.
function startProgress(call: Call, found: number): (seen: number) => void {
  const { surroundings, output } = call;
  const isTty = surroundings.stderr.isTTY === true;
  let toldMs = surroundings.now();
  return (seen) => {
    const isLast = seen >= found;
    if (isLast || (!isTty && surroundings.now() - toldMs < 10_000)) return;
    toldMs = surroundings.now();
    output.note(`${showCount(seen)} of ${showCount(found)} jobs …`);
  };
}

function showDry(call: Call, many: ManyJobs, dry: ActOnJobsResponse, found: number): number {
  call.output.print({
    schema: ActOnJobsResponseSchema,
    message: dry,
    text: () =>
      layTable(
        [{ title: "STATE" }, { title: "JOBS", align: "right" }],
        (dry.matched?.states ?? []).map((one) => [wordOf(one), showCount(one.count)]),
        call.output.layout,
      ),
  });
  const first = dry.nextPageToken === "" ? "" : ` of the first ${showCount(dry.done + dry.skipped)}`;
  call.output.note(
    `${showCounted(found, "job")}: ${words[many.action].plan.toLowerCase()} ${showCount(dry.done)}${first}, skip ${showCount(dry.skipped)}. Nothing was done.`,
  );
  return exitCodes.done;
}

function show(call: Call, { action }: ManyJobs, message: ActOnJobsResponse): void {
  call.output.print({
    schema: ActOnJobsResponseSchema,
    message,
    text: () => [`${words[action].done}\t${showCount(message.done)}`],
  });
}

function rest({ matched }: ActOnJobsResponse) {
  return matched === undefined ? {} : { matched };
}

// `` that match "kind:a" (3 ready, 1 running)``.
function detailOf({ jobs }: ManyJobs, { matched }: ActOnJobsResponse): string {
  const states = (matched?.states ?? []).map((one) => `${showCount(one.count)} ${wordOf(one)}`);
  const how = "filter" in jobs ? ` that match ${JSON.stringify(jobs.filter)}` : "";
  return `${how}${states.length === 0 ? "" : ` (${states.join(", ")})`}`;
}

function countOf(counts: JobCounts | undefined): number {
  return (counts?.states ?? []).reduce((sum, { count }) => sum + Number(count), 0);
}

function wordOf({ state }: StateCount): string {
  return jobLooks[state]?.word ?? JobState[state] ?? String(state);
}

const words: Readonly<Record<JobAction, { readonly plan: string; readonly done: string }>> = {
  [JobAction.UNSPECIFIED]: { plan: "Do nothing to", done: "nothing done" },
  [JobAction.CANCEL]: { plan: "Cancel", done: "cancelled" },
  [JobAction.RETRY]: { plan: "Retry", done: "retried" },
  [JobAction.PARK]: { plan: "Park", done: "parked" },
  [JobAction.UNPARK]: { plan: "Unpark", done: "unparked" },
  [JobAction.SET_PRIORITY]: { plan: "Give another priority to", done: "changed" },
  [JobAction.DISCARD]: { plan: "Discard the dead letters of", done: "discarded" },
  [JobAction.DELETE]: { plan: "Delete", done: "deleted" },
};
