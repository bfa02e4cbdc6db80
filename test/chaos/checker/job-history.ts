import { isTerminal, JobState } from "../../../server/domain/rules/states.ts";
import type { AskedJob } from "../history.ts";
import { type Grouping, groupBy } from "./column.ts";
import type { Records } from "./records.ts";

/** A row of the history. */
export interface Attempt {
  readonly row: number;
  readonly attempt: number;
  readonly generation: number;
  readonly worker: number;
  readonly lease: number;
  readonly result: number;
  readonly org: number;
  readonly grantedAt: number;
  readonly endedAt: number;
  readonly outcome: number;
  readonly state: number;
  readonly failures: number;
  readonly losses: number;
  readonly releases: number;
  readonly isFinal: boolean;
}

/** A handler that started. */
export interface Start {
  readonly row: number;
  readonly attempt: number;
  readonly lease: number;
  readonly worker: number;
  readonly boot: number;
  readonly at: number;
}

/** A transition of the feed: a grant, or the end of a run. */
export interface Told {
  readonly state: number;
  readonly attempt: number;
  readonly worker: number;
}

/** All that is known of one job. */
export interface JobHistory {
  readonly job: number;
  /** Null: nobody is known to have asked for it. */
  readonly asked: AskedJob | null;
  readonly isAcknowledged: boolean;
  readonly org: number;
  /** By attempt number. */
  readonly attempts: readonly Attempt[];
  /** By attempt number, then by time. */
  readonly starts: readonly Start[];
  readonly grants: readonly Told[];
  readonly ends: readonly Told[];
  /** Its live row at the end. */
  readonly live: { readonly state: number; readonly attempt: number; readonly lease: number } | null;
  readonly cancels: readonly { readonly at: number; readonly answer: number }[];
}

/** The tables of a run, by job. */
export interface JobIndex {
  readonly attempts: Grouping;
  readonly starts: Grouping;
  readonly feed: Grouping;
  readonly cancels: Grouping;
}

/** Groups them. */
export function indexJobs({ attempts, starts, feed, cancels, jobIds }: Records): JobIndex {
  return {
    attempts: groupBy(attempts.job, jobIds.size),
    starts: groupBy(starts.job, jobIds.size),
    feed: groupBy(feed.job, jobIds.size),
    cancels: groupBy(cancels.job, jobIds.size),
  };
}

/** Gathers what is known of a job. */
export function historyOf(records: Records, index: JobIndex, job: number): JobHistory {
  const { jobs, feed, cancels } = records;
  const told = Array.from(index.feed.of(job), (row) => ({
    state: feed.state.get(row),
    attempt: feed.attempt.get(row),
    worker: feed.worker.get(row),
  }));
  const liveState = jobs.liveState.get(job);
  return {
    job,
    asked: records.asked[jobs.asked.get(job) - 1] ?? null,
    isAcknowledged: jobs.isAcknowledged.get(job) === 1,
    org: jobs.org.get(job),
    attempts: Array.from(index.attempts.of(job), (row) => attemptAt(records, row)).sort(
      (a, b) => a.attempt - b.attempt || a.endedAt - b.endedAt,
    ),
    starts: Array.from(index.starts.of(job), (row) => startAt(records, row)).sort(
      (a, b) => a.attempt - b.attempt || a.at - b.at,
    ),
    grants: told.filter(({ state }) => state === JobState.offered),
    ends: told.filter(({ state }) => isTerminal(state)),
    live:
      liveState === 0
        ? null
        : { state: liveState, attempt: jobs.liveAttempt.get(job), lease: jobs.liveLease.get(job) },
    cancels: Array.from(index.cancels.of(job), (row) => ({
      at: cancels.at.get(row),
      answer: cancels.answer.get(row),
    })),
  };
}

/** The last end of a run that is known; null while the first one lasts. */
export function lastEnd({ attempts }: JobHistory): Attempt | null {
  return attempts.findLast(({ isFinal }) => isFinal) ?? null;
}

function attemptAt({ attempts }: Records, row: number): Attempt {
  return {
    row,
    attempt: attempts.attempt.get(row),
    generation: attempts.generation.get(row),
    worker: attempts.worker.get(row),
    lease: attempts.lease.get(row),
    result: attempts.result.get(row),
    org: attempts.org.get(row),
    grantedAt: attempts.grantedAt.get(row),
    endedAt: attempts.endedAt.get(row),
    outcome: attempts.outcome.get(row),
    state: attempts.state.get(row),
    failures: attempts.failures.get(row),
    losses: attempts.losses.get(row),
    releases: attempts.releases.get(row),
    isFinal: attempts.isFinal.get(row) === 1,
  };
}

function startAt({ starts }: Records, row: number): Start {
  return {
    row,
    attempt: starts.attempt.get(row),
    lease: starts.lease.get(row),
    worker: starts.worker.get(row),
    boot: starts.boot.get(row),
    at: starts.at.get(row),
  };
}
