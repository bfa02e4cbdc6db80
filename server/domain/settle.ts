import { createHash } from "node:crypto";
import type { StoredError, Transition } from "../store/transition.ts";
import type { LockedJob } from "./locked-job.ts";
import { avoidWorker, type InternedShape, internShape } from "./rules/shapes.ts";
import { isTerminal, JobState } from "./rules/states.ts";
import { type Decision, decide, type LeaseEvent } from "./rules/transitions.ts";

/** What an attempt left behind. */
export interface Remains {
  readonly resultId: string | null;
  /** JSON text. */
  readonly result: string | null;
  readonly error: StoredError | null;
  readonly prUrl: string | null;
  readonly lastSequence: number | null;
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

/** What an event makes of a locked job: the row to write, and the shape if it changed. */
export function settle(
  job: LockedJob,
  event: LeaseEvent,
  remains: Remains,
  random: number,
): { readonly transition: Transition; readonly shape: InternedShape | null } {
  const decision = decide(job, event, random);
  const isEnded = isTerminal(decision.state);
  const shape = isEnded ? null : nextShape(job, event, decision);
  const transition: Transition = {
    jobId: job.jobId,
    batchId: job.batchId,
    state: decision.state,
    attempt: job.attempt,
    generation: job.generation,
    shapeId: shape?.shapeId ?? job.shapeId,
    failures: decision.failures,
    losses: decision.losses,
    releases: decision.releases,
    renewsReadyAt: decision.renewsReadyAt,
    wakeInMs: decision.wakeInMs,
    reason: remains.reason ?? (job.isCancelRequested ? job.reason : null),
    ended:
      decision.outcome === null
        ? null
        : {
            attempt: job.attempt,
            outcome: decision.outcome,
            grantedAtSeconds: job.grantedAtSeconds,
            workerId: job.workerId,
            leaseId: job.leaseId,
            resultId: remains.resultId,
            result: decision.state === JobState.succeeded ? remains.result : null,
            error: remains.error,
            prUrl: remains.prUrl,
            lastSequence: remains.lastSequence,
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

function nextShape(job: LockedJob, event: LeaseEvent, decision: Decision): InternedShape | null {
  if (decision.avoidsWorker && job.workerId !== null) {
    const avoid = avoidWorker(job.shape.avoid, job.workerId);
    return internShape({ ...job.shape, avoid, isAlone: decision.runsAlone });
  }
  // A new try after a failure of the job's own may go anywhere again.
  if (event.type === "failed" && job.shape.avoid.length > 0) return internShape({ ...job.shape, avoid: [] });
  return null;
}

// Equal errors share it, whatever numbers they mention.
function fingerprint(kind: string, error: StoredError | null, cause: string): string {
  const text = `${kind}\n${cause}\n${error?.code ?? ""}\n${(error?.message ?? "").replace(/[0-9a-f]{8,}|\d+/gi, "#")}`;
  return createHash("sha256").update(text).digest("hex").slice(0, 12);
}
