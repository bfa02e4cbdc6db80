import { type Attempt, AttemptOutcome, type Job, JobState } from "@muster/client/v1/job";
import type { Figures } from "./inputs.ts";
import { poisonAttempts } from "./jobs.ts";
import { type JobRecord, type Records, timeMs } from "./records.ts";

/** The counts that the demo ends with; `--json` prints them and the seconds. */
export interface Tally {
  readonly jobs: number;
  readonly succeeded: number;
  /** Failed at least once and then succeeded. */
  readonly retried: number;
  readonly dead: number;
  readonly cancelled: number;
  /** An attempt was lost with its worker, and another worker ended the job. */
  readonly reassigned: number;
  /** Results that equal our own computation. */
  readonly verified: number;
}

/** What is to be said of the records. */
export interface Verdict {
  readonly tally: Tally;
  /** Share of the ordinary jobs that started after the last one of high priority, or with it in one claim: 0 to 1. */
  readonly startedAfterHigh: number;
  /** What is wrong, a line each; empty when all is right. */
  readonly problems: readonly string[];
}

/** The ordinary jobs that must have started after the last one of high priority. */
const leastAfterHigh = 0.9;

/** Judges all records, and that a worker was killed while it held jobs. */
export function judge({ jobs, deadLetters }: Records, killedWorker: string): Verdict {
  const count = (is: (record: JobRecord) => boolean) => jobs.filter(is).length;
  const tally = {
    jobs: jobs.length,
    succeeded: count(({ job }) => job.state === JobState.SUCCEEDED),
    retried: count((record) => isSucceeded(record) && has(record, AttemptOutcome.FAILED)),
    dead: count(({ job }) => job.state === JobState.DEAD),
    cancelled: count(({ job }) => job.state === JobState.CANCELLED),
    reassigned: count(isReassigned),
    verified: count(isVerified),
  };
  const startedAfterHigh = shareAfterHigh(jobs);
  const problems = jobs.flatMap((record) => jobProblems(record, deadLetters).map((text) => of(record, text)));
  const want = (isRight: boolean, problem: string) => {
    if (!isRight) problems.push(problem);
  };
  const lost = jobs.flatMap(({ attempts }) => attempts.filter((attempt) => isLostOn(attempt, killedWorker)));
  want(lost.length > 0, `${killedWorker} was killed, and lost no job`);
  want(tally.reassigned > 0, "no job of the killed worker ran on another one");
  want(tally.retried > 0, "no job failed at first and was retried");
  want(
    startedAfterHigh >= leastAfterHigh,
    `only ${percent(startedAfterHigh)} of the ordinary jobs started after all those of high priority`,
  );
  return { tally, startedAfterHigh, problems };
}

/** The figures in the result of an attempt; null when it has none that can be read. */
export function readFigures({ result }: Pick<Attempt, "result">): Figures | null {
  if (result?.content.case !== "data") return null;
  const shell: unknown = JSON.parse(new TextDecoder().decode(result.content.value));
  const isShell = typeof shell === "object" && shell !== null && "stdoutTail" in shell;
  const output = isShell ? String(shell.stdoutTail) : "";
  const [, sha256, lines, gzipBytes] = /^([0-9a-f]{64}) .*\n *(\d+)\n *(\d+)\n$/.exec(output) ?? [];
  return sha256 === undefined ? null : { sha256, lines: Number(lines), gzipBytes: Number(gzipBytes) };
}

/** For people: `97 %`, never rounded up to 100. */
export function percent(share: number): string {
  return `${Math.floor(share * 100)} %`;
}

function jobProblems(record: JobRecord, deadLetters: Records["deadLetters"]): string[] {
  const { planned, job, attempts } = record;
  const failures = attempts.filter(({ outcome }) => outcome === AttemptOutcome.FAILED);
  const finals = attempts.filter((attempt) => attempt.final);
  const common = finals.length === 1 ? [] : [`has ${finals.length} final attempts instead of one`];
  switch (planned.role) {
    case "file":
    case "high":
    case "held":
      return [
        ...common,
        ...resultProblems(record),
        ...failures.map((attempt) => `failed in attempt ${attempt.attempt}: ${errorText(attempt)}`),
      ];
    case "flaky": {
      const first = attempts.find((attempt) => attempt.attempt === 1);
      // An attempt that never began, or whose worker was killed, could not fail as planned.
      const couldFail = first !== undefined && !neverEnded.includes(first.outcome);
      const planFailures = couldFail ? 1 : 0;
      return [
        ...common,
        ...resultProblems(record),
        ...(failures.length === planFailures
          ? []
          : [`failed ${failures.length} times instead of ${planFailures}`]),
      ];
    }
    case "poison": {
      const codes = failures.map((attempt) => attempt.error?.code);
      const isRight = failures.length === poisonAttempts && codes.every((code) => code === "EXIT_NONZERO");
      return [
        ...common,
        ...(job.state === JobState.DEAD ? [] : [`is ${stateName(job)} instead of dead`]),
        ...(isRight
          ? []
          : [`failed ${failures.length} times (${codes.join(", ")}) instead of ${poisonAttempts}`]),
        ...(deadLetters.get(job.jobId) === "failures" ? [] : ["is no dead letter for its failures"]),
      ];
    }
    case "endless":
      return [
        ...common,
        ...(job.state === JobState.CANCELLED ? [] : [`is ${stateName(job)} instead of cancelled`]),
      ];
  }
}

const neverEnded: readonly AttemptOutcome[] = [
  AttemptOutcome.LOST,
  AttemptOutcome.RELEASED,
  AttemptOutcome.OFFER_TIMED_OUT,
];

function resultProblems(record: JobRecord): string[] {
  const { job, planned, attempts } = record;
  if (job.state !== JobState.SUCCEEDED)
    return [`is ${stateName(job)} instead of succeeded: ${errorText(job)}`];
  if (isVerified(record)) return [];
  const last = attempts.at(-1);
  const got = last === undefined ? null : readFigures(last);
  const words = got === null ? "without figures" : `as ${JSON.stringify(got)}`;
  return [`came out ${words} instead of as ${JSON.stringify(planned.file?.expected)}`];
}

function isVerified({ planned, job, attempts }: JobRecord): boolean {
  const expected = planned.file?.expected;
  const last = attempts.at(-1);
  const got = job.state === JobState.SUCCEEDED && last !== undefined ? readFigures(last) : null;
  if (expected === undefined || got === null) return false;
  return (
    got.sha256 === expected.sha256 && got.lines === expected.lines && got.gzipBytes === expected.gzipBytes
  );
}

function isSucceeded({ job }: JobRecord): boolean {
  return job.state === JobState.SUCCEEDED;
}

function has({ attempts }: JobRecord, outcome: AttemptOutcome): boolean {
  return attempts.some((attempt) => attempt.outcome === outcome);
}

function isReassigned(record: JobRecord): boolean {
  const last = record.attempts.at(-1);
  const lost = record.attempts.filter(({ outcome }) => outcome === AttemptOutcome.LOST);
  return isSucceeded(record) && lost.some(({ workerId }) => workerId !== last?.workerId);
}

function isLostOn({ outcome, workerName }: Attempt, worker: string): boolean {
  return outcome === AttemptOutcome.LOST && workerName === worker;
}

function shareAfterHigh(jobs: readonly JobRecord[]): number {
  const starts = (isHigh: boolean) =>
    jobs
      .filter(({ planned }) => planned.file !== null && (planned.role === "high") === isHigh)
      .map(({ attempts }) => timeMs(attempts[0]?.startTime));
  const last = Math.max(...starts(true));
  const others = starts(false);
  return others.length === 0 ? 0 : others.filter((start) => start >= last).length / others.length;
}

function of({ planned, job }: JobRecord, text: string): string {
  return `${planned.role} job ${job.jobId} ${JSON.stringify(planned.spec.title)} ${text}`;
}

function stateName({ state }: Job): string {
  return JobState[state].toLowerCase();
}

function errorText({ error }: Pick<Job, "error"> | Pick<Attempt, "error">): string {
  return error === undefined ? "no error was given" : JSON.stringify(`${error.code} ${error.message}`);
}
