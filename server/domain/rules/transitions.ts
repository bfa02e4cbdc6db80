import { type Backoff, backoffDelayMs } from "./backoff.ts";
import { JobState, Outcome, type TerminalState } from "./states.ts";

/*
 * What ends a lease, T6 to T13 of the lease contract: which of the moves in
 * `transition-table.ts` is made, and what it counts. Events of jobs that hold
 * no lease are in `lifecycle.ts`.
 *
 * Pure: the caller holds the row's lock and writes what is decided here.
 */

/** What the table needs to know of a leased job. */
export interface LeasedJob {
  readonly failures: number;
  readonly losses: number;
  readonly releases: number;
  readonly isCancelRequested: boolean;
  readonly maxAttempts: number;
  readonly backoff: Backoff;
  readonly isAtMostOnce: boolean;
  /** The attempt ran without neighbours, to find out whether the job kills its worker. */
  readonly isAlone: boolean;
}

/** What can happen to a lease. */
export type LeaseEvent =
  | { readonly type: "succeeded" }
  | {
      readonly type: "failed";
      readonly isRetryable: boolean;
      readonly isTimedOut: boolean;
      /** The handler's own wish instead of the backoff. */
      readonly retryAfterMs: number | null;
    }
  | { readonly type: "cancelled" }
  | { readonly type: "released" }
  /** An operator took the lease from its worker. */
  | { readonly type: "revoked" }
  | {
      readonly type: "parked";
      readonly wakeAfterMs: number | null;
      /** The quota of its pool is spent: it goes on with the pool. Absent: no. */
      readonly isPool?: boolean;
      /** The session that it goes on in; absent: the one that its lease was given. */
      readonly sessionId?: string;
    }
  | { readonly type: "declined"; readonly coolDownMs: number }
  | { readonly type: "offer-timed-out" }
  /** T7 too: a gate of the job was paused while nobody had accepted it. */
  | { readonly type: "withdrawn" }
  | { readonly type: "lost"; readonly isFleetEvent: boolean };

/** Why a run is dead. */
export type DeadCause = "failures" | "final" | "poison" | "lost";

/** What becomes of the job. */
export interface Decision {
  readonly state: JobState;
  /** How the attempt ended; null when it leaves no row (a decline is counted only). */
  readonly outcome: Outcome | null;
  readonly failures: number;
  readonly losses: number;
  readonly releases: number;
  /** Time until a sweep looks at the job again; null for never. */
  readonly wakeInMs: number | null;
  /** The job joins the end of its line instead of keeping its place. */
  readonly renewsReadyAt: boolean;
  /** Offer it elsewhere first. */
  readonly avoidsWorker: boolean;
  /** The next attempt runs without neighbours. */
  readonly runsAlone: boolean;
  readonly deadCause: DeadCause | null;
  /** Added to the attempt number: by a claim, and by the end of a run that held no lease. */
  readonly attemptStep: 0 | 1;
  /** Added to the generation: by a replay. */
  readonly generationStep: 0 | 1;
  /** A worker that runs it is to be asked to stop. */
  readonly isCancelRequested: boolean;
  /** Jobs that it still waits for. */
  readonly waitingOn: number;
}

/** The reason of a success that was to be cancelled: commit order decided. */
export const succeededAnyway = "succeeded after a cancel request";

/** Losses after which a job is taken for the cause. */
export const poisonLosses = 5;

/** Releases that cost nothing; from the next one on the job waits like after a failure. */
export const freeReleases = 5;

/** How long a job that was lost is not offered to the worker that lost it. */
export const lostCoolDownMs = 10 * 60_000;

/** How long a job that was revoked is not offered to the worker that had it: it has to stop first. */
export const revokedCoolDownMs = 30_000;

/** Decides what an event makes of a leased job. `random` is uniform in [0, 1). */
export function decide(job: LeasedJob, event: LeaseEvent, random: number): Decision {
  const kept = { failures: job.failures, losses: job.losses, releases: job.releases };
  const base: Decision = {
    ...kept,
    state: JobState.ready,
    outcome: null,
    wakeInMs: null,
    renewsReadyAt: false,
    avoidsWorker: false,
    runsAlone: job.isAlone,
    deadCause: null,
    attemptStep: 0,
    generationStep: 0,
    isCancelRequested: false,
    // Who holds a lease waits for nobody.
    waitingOn: 0,
  };
  const end = (state: TerminalState, outcome: Outcome, deadCause: DeadCause | null = null): Decision => ({
    ...base,
    state,
    outcome,
    deadCause,
  });
  switch (event.type) {
    // A success under a current lease counts also after a cancel request: commit order decides.
    case "succeeded":
      return end(JobState.succeeded, Outcome.succeeded);
    case "failed": {
      const outcome = event.isTimedOut ? Outcome.timedOut : Outcome.failed;
      const failures = job.failures + 1;
      if (job.isCancelRequested) return { ...end(JobState.cancelled, outcome), failures };
      if (!event.isRetryable) return { ...end(JobState.dead, outcome, "final"), failures };
      if (failures >= job.maxAttempts) return { ...end(JobState.dead, outcome, "failures"), failures };
      const wakeInMs = event.retryAfterMs ?? backoffDelayMs(failures, job.backoff, random);
      return { ...base, state: JobState.scheduled, outcome, failures, wakeInMs, renewsReadyAt: true };
    }
    case "cancelled":
      // Without a request it is the worker's own doing: the job is given back.
      if (!job.isCancelRequested) return decide(job, { type: "released" }, random);
      return end(JobState.cancelled, Outcome.cancelled);
    case "released": {
      const releases = job.releases + 1;
      if (job.isCancelRequested) return { ...end(JobState.cancelled, Outcome.released), releases };
      if (releases <= freeReleases) return { ...base, outcome: Outcome.released, releases };
      const wakeInMs = backoffDelayMs(releases - freeReleases, job.backoff, random);
      return { ...base, state: JobState.scheduled, outcome: Outcome.released, releases, wakeInMs };
    }
    case "revoked": {
      const releases = job.releases + 1;
      if (job.isCancelRequested) return { ...end(JobState.cancelled, Outcome.released), releases };
      const returned = { ...base, outcome: Outcome.released, releases };
      return { ...returned, wakeInMs: revokedCoolDownMs, avoidsWorker: true };
    }
    case "parked":
      if (job.isCancelRequested) return end(JobState.cancelled, Outcome.parked);
      return {
        ...base,
        state: JobState.parked,
        outcome: Outcome.parked,
        wakeInMs: event.wakeAfterMs,
        renewsReadyAt: true,
      };
    case "declined":
      if (job.isCancelRequested) return end(JobState.cancelled, Outcome.cancelled);
      return { ...base, wakeInMs: event.coolDownMs, avoidsWorker: true };
    case "offer-timed-out":
      if (job.isCancelRequested) return end(JobState.cancelled, Outcome.offerTimedOut);
      return { ...base, outcome: Outcome.offerTimedOut };
    case "withdrawn":
      return job.isCancelRequested ? end(JobState.cancelled, Outcome.cancelled) : base;
    case "lost": {
      const losses = job.losses + (event.isFleetEvent ? 0 : 1);
      if (job.isCancelRequested) return { ...end(JobState.cancelled, Outcome.lost), losses };
      if (job.isAtMostOnce) return { ...end(JobState.dead, Outcome.lost, "lost"), losses };
      if (!event.isFleetEvent && (job.isAlone || losses >= poisonLosses)) {
        return { ...end(JobState.dead, Outcome.lost, "poison"), losses };
      }
      return {
        ...base,
        outcome: Outcome.lost,
        losses,
        wakeInMs: lostCoolDownMs,
        avoidsWorker: true,
        runsAlone: job.isAlone || losses >= 2,
      };
    }
  }
}
