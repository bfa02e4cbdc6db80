import type { Isolation } from "../domain/rules/isolations.ts";
import type { JobState, Outcome } from "../domain/rules/states.ts";
import type { DeadCause } from "../domain/rules/transitions.ts";
import type { SpanSum } from "./schema-stats.ts";

/** Why an attempt failed, as kept. */
export interface StoredError {
  readonly code: string;
  readonly message: string;
  readonly detail: string;
}

/** An attempt that a transition ends: a row of the history. */
export interface EndedAttempt {
  readonly attempt: number;
  readonly outcome: Outcome;
  /** Seconds since the epoch, by the database's clock; null without a lease. */
  readonly grantedAtSeconds: number | null;
  /** From ready to granted; null: not known. */
  readonly waitedSeconds: number | null;
  readonly workerId: string | null;
  readonly leaseId: string | null;
  readonly resultId: string | null;
  /** JSON text. */
  readonly result: string | null;
  readonly error: StoredError | null;
  readonly prUrl: string | null;
  readonly sessionId: string | null;
  readonly lastSequence: number | null;
  /** What its programs ran under; null when it started none. */
  readonly isolation: Isolation | null;
  /** Where its time went, as it is kept, and summed up; null: its handler marked nothing. */
  readonly profile: { readonly text: string; readonly sums: readonly SpanSum[] } | null;
}

/** What is written about a job whose row is locked. */
export interface Transition {
  readonly jobId: string;
  readonly batchId: string | null;
  /** Its queue. */
  readonly queue: string;
  /** The gates that its lease held places of. */
  readonly gates: readonly string[];
  /** The state before it. */
  readonly from: JobState;
  /** The state after it. */
  readonly state: JobState;
  /** The latest attempt number after it. */
  readonly attempt: number;
  readonly generation: number;
  readonly shapeId: bigint;
  readonly failures: number;
  readonly losses: number;
  readonly releases: number;
  readonly renewsReadyAt: boolean;
  /** Time until a sweep looks again; null for never. */
  readonly wakeInMs: number | null;
  readonly reason: string | null;
  /** The session that the job goes back to. */
  readonly sessionId: string | null;
  /** Jobs that it waits for. */
  readonly waitingOn: number;
  /** It is parked, and goes on with its pool. */
  readonly isPoolParked: boolean;
  readonly ended: EndedAttempt | null;
  readonly dead: { readonly cause: DeadCause; readonly fingerprint: string; readonly kind: string } | null;
}
