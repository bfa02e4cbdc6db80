import { type Fence, type HeldLease, isCurrentLease } from "../../server/domain/rules/fences.ts";
import { isRefused, type JobEvent, type JobFacts, transit } from "../../server/domain/rules/lifecycle.ts";
import { isLeased, isTerminal, JobState } from "../../server/domain/rules/states.ts";
import { isMove, type Place } from "../../server/domain/rules/transition-table.ts";
import { type Decision, freeReleases, poisonLosses } from "../../server/domain/rules/transitions.ts";

/*
 * One job and one link of the small world: 2 jobs, 2 workers, 2 coordinators,
 * a capacity of 1 a worker. What becomes of a job is asked of the production
 * table, whether a message is heard of the production fence.
 *
 * What is left open instead of counted, so that each is covered in any number:
 *  - A message that was sent stays in the network while its lease is current,
 *    and arrives at any time, in any order, any number of times, or never.
 *  - Of a lease that is over, every message may come at any time from either
 *    worker: in every state, all of them must change nothing.
 *  - A tick of time may come out either way at every moment: an offer may be
 *    too old, a link stale or silent for reclaim_after, a wake due.
 *  - Workers and coordinators crash at any time, and links break.
 *  - The counters stand anywhere: each event is decided with the counters at
 *    their starts and at their limits.
 */

/** Workers, jobs and coordinators by number. */
export type Index = 0 | 1;

/** What a worker brought to its outbox. */
export type Outbox = "success" | "failure" | "final failure" | "release" | "park" | "cancelled";

/** A job: its row, what is under way of its current lease, and the leases that are over. */
export interface JobPart {
  readonly state: JobState;
  readonly isCancelRequested: boolean;
  /** Of the current lease. */
  readonly worker: Index | null;
  /** The claim is committed and the offer not sent; sent; or it never will be, as its sender is gone. */
  readonly offer: "unsent" | "sent" | "never";
  readonly isAcceptSent: boolean;
  readonly isDeclineSent: boolean;
  /** At the worker: what it does under the current lease, or what its outbox has of it. */
  readonly work: "nothing" | "running" | Outbox;
  /** The attempt number of the row, and the highest that was ever used: both 0 while they are equal. */
  readonly attempt: number;
  readonly used: number;
  /** Leases that are over: the worker, and the attempt. */
  readonly over: readonly string[];
}

/** What may be broken, to see that the search finds it. */
export interface Rules {
  readonly transit: typeof transit;
  readonly isCurrent: (row: HeldLease, fence: Fence) => boolean;
  /** A replay goes on with the attempt numbers. */
  readonly keepsAttempt: boolean;
  /** A claim requires the link's current epoch. */
  readonly checksEpoch: boolean;
  /** A coordinator forgets a lease only once it is known to be over. */
  readonly forgetsOnlyEnded: boolean;
  /** A Hello counts all leases of the store before anything is granted. */
  readonly recountsAll: boolean;
  /**
   * The leases that are over are kept one by one. Else both workers are taken to have one, of some lower
   * attempt, in every state: that is more than can be, and keeps the world small.
   */
  readonly tracksOver: boolean;
}

/** As in production. */
export const productionRules: Rules = {
  transit,
  isCurrent: isCurrentLease,
  keepsAttempt: true,
  checksEpoch: true,
  forgetsOnlyEnded: true,
  recountsAll: true,
  tracksOver: false,
};

/** A promise that did not hold. */
export interface Violation {
  readonly promise: "G2" | "G3" | "G4" | "G6" | "table";
  readonly what: string;
}

/** What can happen to one job, whatever else is. */
export interface JobMove {
  readonly label: string;
  readonly to: JobPart;
  /** Neither a fault, nor a repetition, nor an operator's doing: what happens when all goes well. */
  readonly isPlain: boolean;
  /** Needs the holder of the job's worker: it does this. */
  readonly byHolder: boolean;
  /** A worker that is granted the job. */
  readonly claimedFor: Index | null;
  /** What the lease's holder forgets, whether or not it ended. */
  readonly forgets: boolean;
  readonly violation: Violation | null;
}

/** A job that was submitted. */
export const freshJob: JobPart = {
  state: JobState.ready,
  isCancelRequested: false,
  worker: null,
  offer: "unsent",
  isAcceptSent: false,
  isDeclineSent: false,
  work: "nothing",
  attempt: 0,
  used: 0,
  over: [],
};

/** All that can happen to a job as it is. */
export function jobMoves(job: JobPart, rules: Rules): JobMove[] {
  const moves: JobMove[] = [];
  const add = (label: string, to: JobPart, more: Partial<JobMove> = {}) =>
    moves.push({
      label,
      to,
      isPlain: false,
      byHolder: false,
      claimedFor: null,
      forgets: false,
      violation: null,
      ...more,
    });
  const happen = (label: string, event: JobEvent, more: Partial<JobMove> = {}) => {
    for (const { to, isPlain, violation } of outcomes(job, event, rules)) {
      add(label, to, { ...more, isPlain: isPlain && (more.isPlain ?? false), violation });
      // The holder of the link may do it, or anybody else: then the holder counts the lease until it looks.
      if (job.worker !== null && to.worker === null) {
        add(label, to, { ...more, isPlain: false, byHolder: true, forgets: true, violation });
      }
    }
  };
  if (job.worker === null) {
    for (const worker of [0, 1] as const) {
      for (const { to, violation } of outcomes(job, { type: "claimed" }, rules)) {
        const claimed = { ...to, worker, offer: "unsent" as const };
        add(`claim for worker ${worker}`, claimed, { isPlain: true, claimedFor: worker, violation });
      }
    }
  } else leaseMoves(job, add, happen, rules);
  const plain = { isPlain: true };
  happen("due", { type: "due" }, plain);
  happen("unpark", { type: "unparked" }, plain);
  happen("hurry", { type: "hurried" });
  happen("park", { type: "held", wakeAfterMs: null });
  happen("cancel", { type: "cancel-requested", isForced: false });
  happen("cancel by force", { type: "cancel-requested", isForced: true });
  happen("deadline", { type: "deadline-passed" });
  happen("replay", { type: "replayed" });
  return [...moves, ...staleMessages(job, rules)];
}

/** The leases of this job that a worker's crash, or its holder's, leaves as they are now. */
export function withoutRun(job: JobPart, worker: Index): JobPart {
  return job.worker === worker && job.work === "running" ? { ...job, work: "nothing" } : job;
}

/** An offer whose sender is gone is never sent. */
export function withoutSender(job: JobPart, worker: Index): JobPart {
  return job.worker === worker && job.offer === "unsent" ? { ...job, offer: "never" } : job;
}

function leaseMoves(
  job: JobPart,
  add: (label: string, to: JobPart, more?: Partial<JobMove>) => void,
  happen: (label: string, event: JobEvent, more?: Partial<JobMove>) => void,
  rules: Rules,
): void {
  const plain = { isPlain: true };
  if (job.offer === "unsent") add("send the offer", { ...job, offer: "sent" }, { ...plain, byHolder: true });
  if (job.offer === "sent" && job.work === "nothing") {
    const taken = { ...job, work: "running", isAcceptSent: true } as const;
    // After a crash it is a repetition of the offer that starts it again.
    add("take the offer", taken, { isPlain: !job.isAcceptSent });
    if (job.state === JobState.offered && !job.isDeclineSent) {
      add("decline the offer", { ...job, isDeclineSent: true });
    }
  }
  // The reply, or a Hello or a heartbeat that lists the lease.
  if (job.isAcceptSent && job.state === JobState.offered) happen("accept", { type: "accepted" }, plain);
  if (job.isDeclineSent) {
    happen("decline", { type: "declined", coolDownMs: 1 });
    if (!rules.forgetsOnlyEnded) add("decline", job, { byHolder: true, forgets: true });
  }
  if (job.work === "running") {
    for (const work of outboxes) add(`finish: ${work}`, { ...job, work }, { isPlain: work === "success" });
  }
  if (job.work !== "nothing" && job.work !== "running") {
    happen(`result: ${job.work}`, results[job.work], plain);
  }
  happen("offer timeout", { type: "offer-timed-out" }, plain);
  happen("withdrawal", { type: "withdrawn" }, plain);
  happen("revoke", { type: "revoked" });
  happen("loss", { type: "lost", isFleetEvent: false }, plain);
  // Silent while it drained; or gone by its own word, with nothing of the lease in its outbox.
  happen("left", { type: "left", isProven: false });
  if (job.work === "nothing") happen("left by a goodbye", { type: "left", isProven: true });
}

const outboxes: readonly Outbox[] = ["success", "failure", "final failure", "release", "park", "cancelled"];
const results: Readonly<Record<Outbox, JobEvent>> = {
  success: { type: "succeeded" },
  failure: { type: "failed", isRetryable: true, isTimedOut: false, retryAfterMs: null },
  "final failure": { type: "failed", isRetryable: false, isTimedOut: false, retryAfterMs: null },
  release: { type: "released" },
  park: { type: "parked", wakeAfterMs: null },
  cancelled: { type: "cancelled" },
};
/** Everything that a worker, or who judges its lease, can say under a fence. */
const fenced: readonly JobEvent[] = [
  ...Object.values(results),
  { type: "accepted" },
  { type: "declined", coolDownMs: 1 },
  { type: "offer-timed-out" },
  { type: "withdrawn" },
  { type: "revoked" },
  { type: "lost", isFleetEvent: false },
  { type: "left", isProven: false },
  { type: "left", isProven: true },
];

// Counters at their starts, and one step before each limit.
const counters: readonly LeasedCounters[] = [
  { failures: 0, losses: 0, releases: 0, isAlone: false, isAtMostOnce: false },
  { failures: 1, losses: 0, releases: freeReleases, isAlone: false, isAtMostOnce: true },
  { failures: 1, losses: poisonLosses - 1, releases: 0, isAlone: false, isAtMostOnce: false },
  { failures: 0, losses: 2, releases: freeReleases, isAlone: true, isAtMostOnce: false },
];
type LeasedCounters = Pick<JobFacts, "failures" | "losses" | "releases" | "isAlone" | "isAtMostOnce">;

interface Happened {
  readonly to: JobPart;
  readonly isPlain: boolean;
  readonly violation: Violation | null;
}

// What the table makes of an event under the fence that is current, with the counters anywhere, where it does not
// refuse. Empty: refused.
function outcomes(job: JobPart, event: JobEvent, rules: Rules): Happened[] {
  const found = new Map<string, Happened>();
  for (const [index, counts] of counters.entries()) {
    for (const readyInMs of [null, 1_000]) {
      const decision = rules.transit(factsOf(job, counts, readyInMs), event, 0.5);
      if (isRefused(decision)) continue;
      const happened = apply(job, event, decision, rules, index === 0);
      found.set(JSON.stringify(happened.to), found.get(JSON.stringify(happened.to)) ?? happened);
    }
  }
  return [...found.values()];
}

function factsOf(job: JobPart, counts: LeasedCounters, readyInMs: number | null): JobFacts {
  return {
    ...counts,
    state: job.state,
    waitingOn: 0,
    readyInMs,
    isCancelRequested: job.isCancelRequested,
    maxAttempts: 2,
    backoff: { initialMs: 1_000, factor: 2, maxMs: 10_000 },
  };
}

function apply(job: JobPart, event: JobEvent, decision: Decision, rules: Rules, isPlain: boolean): Happened {
  const { state, isCancelRequested } = decision;
  const isReset = decision.generationStep === 1 && !rules.keepsAttempt;
  const next = (isReset ? 0 : job.attempt) + decision.attemptStep;
  const highest = Math.max(job.used, next);
  const { attempt, used } = rules.tracksOver
    ? { attempt: next, used: highest }
    : { attempt: next - highest, used: 0 };
  const base = { ...freshJob, state, isCancelRequested, attempt, used };
  const keeps = isLeased(job.state) && isLeased(state);
  const to = keeps
    ? { ...base, worker: job.worker, ...underWay(job, state) }
    : { ...base, over: overAfter(job, rules) };
  return { to, isPlain, violation: violationOf(job, event, decision, next) };
}

function underWay(job: JobPart, state: JobState) {
  // Once it runs, a late decline is refused by the table, and the accept is done.
  const isRunning = state === JobState.running;
  const { offer, work, over } = job;
  return {
    offer: isRunning ? ("sent" as const) : offer,
    isAcceptSent: isRunning || job.isAcceptSent,
    isDeclineSent: !isRunning && job.isDeclineSent,
    work,
    over,
  };
}

function overAfter(job: JobPart, rules: Rules): readonly string[] {
  if (!rules.tracksOver || job.worker === null) return job.over;
  return [...new Set([...job.over, `${job.worker}:${job.attempt}`])].sort();
}

function violationOf(
  job: JobPart,
  { type }: JobEvent,
  decision: Decision,
  attempt: number,
): Violation | null {
  const from: Place = job.state;
  if (isTerminal(from) && isTerminal(decision.state)) {
    return { promise: "G2", what: `${type} ended a run that had ended` };
  }
  if (!isMove(type, from, decision.state)) {
    return { promise: "table", what: `${type} made ${decision.state} of ${from}` };
  }
  if (decision.attemptStep === 1 && attempt <= job.used) {
    return { promise: "G3", what: `${type} used an attempt number again` };
  }
  return null;
}

// What comes under a lease that is over must change nothing.
function staleMessages(job: JobPart, rules: Rules): JobMove[] {
  const row: HeldLease = {
    jobId: "job",
    attempt: job.attempt,
    leaseId: job.worker === null ? null : "current",
    workerId: job.worker === null ? null : String(job.worker),
  };
  const over = rules.tracksOver ? job.over : ["0:-1", "1:-1"];
  return over.flatMap((one) => {
    const [workerId = "", attempt] = one.split(":");
    const fence = { jobId: "job", attempt: Number(attempt), leaseId: "over", workerId };
    if (!rules.isCurrent(row, fence)) return [];
    return fenced.flatMap((event) =>
      outcomes(job, event, rules).map(({ to, violation }) => ({
        label: `${event.type} of a lease of worker ${workerId} that is over`,
        to,
        isPlain: false,
        byHolder: false,
        claimedFor: null,
        forgets: false,
        violation: violation ?? {
          promise: "G4" as const,
          what: `${event.type} was applied from a lease that is over`,
        },
      })),
    );
  });
}
