import { isLeased, JobState, Outcome } from "./states.ts";
import { type Refusal, refusal } from "./transition-table.ts";
import { type Decision, decide, type LeasedJob, type LeaseEvent } from "./transitions.ts";

/** What the table needs to know of a job. */
export interface JobFacts extends LeasedJob {
  readonly state: JobState;
  /** Dependencies that have not succeeded yet. */
  readonly waitingOn: number;
  /** Time until its `run_at`, or until the backoff that a park interrupted; null when nothing is ahead. */
  readonly readyInMs: number | null;
}

/** What can happen to a job, besides its submit and its removal. */
export type JobEvent =
  | LeaseEvent
  | { readonly type: "dependency-succeeded" }
  | { readonly type: "dependency-ended"; readonly policy: "cancel" | "release" }
  /** Its `wake_at` has passed. */
  | { readonly type: "due" }
  | { readonly type: "unparked" }
  /** Somebody wants it tried now, whatever it waits for but its dependencies. */
  | { readonly type: "hurried" }
  | { readonly type: "claimed" }
  | { readonly type: "accepted" }
  | { readonly type: "cancel-requested"; readonly isForced: boolean }
  | { readonly type: "deadline-passed" }
  /** T16: an operator parks it. */
  | { readonly type: "held"; readonly wakeAfterMs: number | null }
  | { readonly type: "replayed" }
  | LeftEvent;

/**
 * What a worker leaves behind that takes nothing new and ends: a drain costs no attempt. `isProven`: by its own word
 * nothing of it runs any more; else it fell silent while it drained.
 */
export interface LeftEvent {
  readonly type: "left";
  readonly isProven: boolean;
}

/** T1: where a job starts. */
export function initialState(job: Pick<JobFacts, "waitingOn" | "readyInMs">): JobState {
  if (job.waitingOn > 0) return JobState.blocked;
  return isAhead(job) ? JobState.scheduled : JobState.ready;
}

/** Decides what an event makes of a job, or says why it is none of its state. `random` is uniform in [0, 1). */
export function transit(job: JobFacts, event: JobEvent, random: number): Decision | Refusal {
  const refused = refusal(job.state, event.type);
  if (refused) return refused;
  if (event.type.startsWith("dependency-") && job.waitingOn === 0) {
    return { refused: "not-possible", state: job.state };
  }
  // Its worker may have begun, and may go on: that would be twice.
  if (event.type === "revoked" && job.isAtMostOnce && !job.isCancelRequested) {
    return { refused: "not-possible", state: job.state };
  }
  const base = unchanged(job);
  switch (event.type) {
    case "dependency-succeeded":
      return countDown(job, base);
    case "dependency-ended":
      return event.policy === "release" ? countDown(job, base) : cancelled(job, base);
    case "due":
      // A job that waited keeps the place in line that it may have; one that was parked gets a new one.
      return job.state === JobState.parked ? wake(job, base) : { ...base, state: rest(job), wakeInMs: null };
    case "unparked":
      return wake(job, base);
    case "hurried":
      return { ...base, state: rest(job), wakeInMs: null, renewsReadyAt: true };
    case "claimed":
      return { ...base, state: JobState.offered, attemptStep: 1, wakeInMs: null };
    case "accepted":
      return { ...base, state: JobState.running };
    case "cancel-requested":
      if (job.state === JobState.running && !event.isForced) return { ...base, isCancelRequested: true };
      return cancelled(job, base);
    case "deadline-passed":
      return job.state === JobState.running ? { ...base, isCancelRequested: true } : cancelled(job, base);
    case "held":
      return { ...base, state: JobState.parked, wakeInMs: event.wakeAfterMs, renewsReadyAt: true };
    case "replayed":
      return {
        ...base,
        state: JobState.ready,
        ...{ failures: 0, losses: 0, releases: 0 },
        generationStep: 1,
        renewsReadyAt: true,
        runsAlone: false,
        isCancelRequested: false,
      };
    case "left":
      return decide(job, whatIsLeft(job, event), random);
    default:
      return decide(job, event, random);
  }
}

// An offer was never seen, and what ran is given back. What may run once alone, and may have begun, is lost.
function whatIsLeft({ state, isAtMostOnce }: JobFacts, { isProven }: LeftEvent): LeaseEvent {
  const isUnseen = state === JobState.offered;
  if (isAtMostOnce && !(isUnseen && isProven)) return { type: "lost", isFleetEvent: false };
  return { type: isUnseen ? "offer-timed-out" : "released" };
}

/** True when `transit` refused. */
export function isRefused(answer: Decision | Refusal): answer is Refusal {
  return "refused" in answer;
}

function unchanged(job: JobFacts): Decision {
  return {
    state: job.state,
    outcome: null,
    failures: job.failures,
    losses: job.losses,
    releases: job.releases,
    wakeInMs: null,
    renewsReadyAt: false,
    avoidsWorker: false,
    runsAlone: job.isAlone,
    deadCause: null,
    attemptStep: 0,
    generationStep: 0,
    isCancelRequested: job.isCancelRequested,
    waitingOn: job.waitingOn,
  };
}

// T2: the last one opens the job; one that is parked only counts down.
function countDown(job: JobFacts, base: Decision): Decision {
  const waitingOn = job.waitingOn - 1;
  if (job.state === JobState.parked || waitingOn > 0) return { ...base, waitingOn };
  return { ...opened(job, base), waitingOn };
}

// T3 from PARKED: back to what it waited for before.
function wake(job: JobFacts, base: Decision): Decision {
  if (job.waitingOn > 0) return { ...base, state: JobState.blocked };
  return opened(job, base);
}

function opened(job: JobFacts, base: Decision): Decision {
  if (!isAhead(job)) return { ...base, state: JobState.ready, renewsReadyAt: true };
  return { ...base, state: JobState.scheduled, wakeInMs: job.readyInMs, renewsReadyAt: true };
}

// T14: at once. A run that held no lease takes the next attempt number for its final row.
function cancelled(job: JobFacts, base: Decision): Decision {
  return {
    ...base,
    state: JobState.cancelled,
    outcome: Outcome.cancelled,
    attemptStep: isLeased(job.state) ? 0 : 1,
    isCancelRequested: false,
  };
}

function rest(job: JobFacts): JobState {
  return job.waitingOn > 0 ? JobState.blocked : JobState.ready;
}

function isAhead({ readyInMs }: Pick<JobFacts, "readyInMs">): boolean {
  return readyInMs !== null && readyInMs > 0;
}
