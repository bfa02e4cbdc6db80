import { createHash } from "node:crypto";
import type { EndedAttempt, StoredError, Transition } from "../store/transition.ts";
import type { LockedJob } from "./locked-job.ts";
import { errorPattern } from "./rules/fingerprints.ts";
import type { Isolation } from "./rules/isolations.ts";
import { isRefused, type JobEvent, transit } from "./rules/lifecycle.ts";
import { type Profile, pathsOf, writeProfile } from "./rules/profiles.ts";
import {
  avoidWorker,
  gateKeys,
  type InternedShape,
  internShape,
  type Shape,
  type ShapeTarget,
  targetParts,
} from "./rules/shapes.ts";
import { isLeased, isTerminal, JobState } from "./rules/states.ts";
import type { Refusal } from "./rules/transition-table.ts";
import { type Decision, lostCoolDownMs, succeededAnyway } from "./rules/transitions.ts";

/** What an attempt left behind. */
export interface Remains {
  readonly resultId: string | null;
  /** JSON text. */
  readonly result: string | null;
  readonly error: StoredError | null;
  readonly prUrl: string | null;
  readonly lastSequence: number | null;
  readonly isolation?: Isolation | null;
  readonly profile?: Profile | null;
  /** For people: why it was released, parked, declined or lost. */
  readonly reason: string | null;
}

/** Nothing. */
export const noRemains: Remains = {
  resultId: null,
  result: null,
  error: null,
  prUrl: null,
  lastSequence: null,
  reason: null,
};

/** A decision about a locked job: the row to write, and its shape if it changed. */
export interface Settled {
  readonly transition: Transition;
  readonly shape: InternedShape | null;
}

/** What an event makes of a locked job, or why it is none of its state. */
export function settle(job: LockedJob, event: JobEvent, remains: Remains, random: number): Settled | Refusal {
  const decision = transit(job, event, random);
  if (isRefused(decision)) return decision;
  const shape = isTerminal(decision.state) ? null : nextShape(job, decision, nextTarget(job, event));
  const attempt = job.attempt + decision.attemptStep;
  const isHeld = isLeased(job.state);
  const transition: Transition = {
    jobId: job.jobId,
    batchId: job.batchId,
    queue: job.shape.queue,
    gates: isHeld ? gateKeys(job.shape) : [],
    from: job.state,
    state: decision.state,
    attempt,
    generation: job.generation,
    shapeId: shape?.shapeId ?? job.shapeId,
    failures: decision.failures,
    losses: decision.losses,
    releases: decision.releases,
    renewsReadyAt: decision.renewsReadyAt,
    wakeInMs: decision.wakeInMs ?? (avoids(shape ?? job.shape, decision) ? lostCoolDownMs : null),
    reason: reasonOf(job, decision, remains),
    sessionId: pinnedSession(shape ?? job.shape),
    waitingOn: decision.waitingOn,
    isPoolParked:
      event.type === "parked" &&
      event.isPool === true &&
      decision.state === JobState.parked &&
      job.shape.pool !== null,
    ended:
      decision.outcome === null
        ? null
        : {
            attempt,
            outcome: decision.outcome,
            grantedAtSeconds: isHeld ? job.grantedAtSeconds : null,
            waitedSeconds: isHeld ? job.waitedSeconds : null,
            workerId: isHeld ? job.workerId : null,
            leaseId: isHeld ? job.leaseId : null,
            resultId: remains.resultId,
            result: decision.state === JobState.succeeded ? remains.result : null,
            error: remains.error,
            prUrl: remains.prUrl,
            sessionId: isHeld ? job.sessionId : null,
            lastSequence: remains.lastSequence,
            isolation: remains.isolation ?? null,
            profile: profileOf(job.kind, remains),
          },
    dead:
      decision.deadCause === null
        ? null
        : {
            cause: decision.deadCause,
            fingerprint: fingerprint(job.kind, remains.error, decision.deadCause),
            kind: job.kind,
          },
  };
  return { transition, shape };
}

/** True when `settle` decided. */
export function isSettled(answer: Settled | Refusal): answer is Settled {
  return "transition" in answer;
}

function profileOf(kind: string, { profile = null }: Remains): EndedAttempt["profile"] {
  if (profile === null) return null;
  return { text: writeProfile(profile), sums: pathsOf(profile).map((one) => ({ kind, ...one })) };
}

function reasonOf(job: LockedJob, decision: Decision, remains: Remains): string | null {
  if (!job.isCancelRequested) return remains.reason;
  return decision.state === JobState.succeeded ? succeededAnyway : (remains.reason ?? job.reason);
}

// Whom a job avoids is reckoned again at each return: a loss is remembered while the job is offered again at
// once, until its cool-down is over; after a wait of any other sort it may go anywhere.
function nextShape(job: LockedJob, decision: Decision, target: ShapeTarget | null): InternedShape | null {
  if (decision.avoidsWorker && job.workerId !== null) {
    const avoid = avoidWorker(job.shape.avoid, job.workerId);
    return internShape({ ...job.shape, target, avoid, isAlone: decision.runsAlone });
  }
  const isKept = decision.state === JobState.ready && isLeased(job.state) && decision.losses > 0;
  const avoid = isKept ? job.shape.avoid : [];
  if (avoid.length === job.shape.avoid.length && target === job.shape.target) return null;
  return internShape({ ...job.shape, target, avoid });
}

// A handler that parks comes back to its session, however often it is lost or given back meanwhile; a failure starts
// anew, where the job was submitted for.
function nextTarget(job: LockedJob, event: JobEvent): ShapeTarget | null {
  if (event.type === "failed") return job.askedTarget;
  if (event.type !== "parked") return job.shape.target;
  const sessionId = event.sessionId ?? job.sessionId;
  return sessionId === null ? job.shape.target : `session:${sessionId}`;
}

function pinnedSession({ target }: Shape): string | null {
  return target?.startsWith("session:") ? targetParts(target).name : null;
}

// What a ready job avoids lapses by its wake_at: without one it would avoid for good.
function avoids({ avoid }: Shape, decision: Decision): boolean {
  return decision.state === JobState.ready && avoid.length > 0;
}

// Equal errors share it, whatever numbers, ids and paths they mention.
function fingerprint(kind: string, error: StoredError | null, cause: string): string {
  const text = `${kind}\n${cause}\n${error?.code ?? ""}\n${errorPattern(error?.message ?? "")}`;
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}
