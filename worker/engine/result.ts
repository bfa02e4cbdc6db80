import { randomUUID } from "node:crypto";
import { type Duration, durationFromMs } from "@bufbuild/protobuf/wkt";
import { Isolation, type JobError, type Profile } from "@muster/client/v1/job";
import type { LeaseRef } from "@muster/client/v1/job_service";
import type { Failure, Release, Result } from "@muster/client/v1/link";
import type { StopKind } from "../stop.ts";
import { durationText } from "../text.ts";
import type { AttemptEnd, JobProfile, Outcome } from "./messages.ts";

/*
 * Messages are written as literals here: `create` costs as much as everything else that is done for a small
 * job, and the types check a literal just as well.
 */

/** What `resultOf` makes a Result of. */
export interface EndedAttempt {
  /** The lease. */
  readonly lease: LeaseRef;
  /** How the handler ended. */
  readonly outcome: Outcome;
  /** What it had been asked to do before, if anything. */
  readonly stopKind: StopKind | undefined;
  /** How long the lease could last from its offer. */
  readonly timeLeftMs: number;
  /** Last sequence that the attempt reported. */
  readonly lastSequence: number;
}

/** The Result of an attempt, under a new result id. A handler that stopped ends as what stopped it. */
export function resultOf(ended: EndedAttempt): Result {
  return {
    $typeName: "muster.v1.Result",
    lease: ended.lease,
    resultId: randomUUID(),
    outcome: wireOutcome(ended),
    lastSequence: BigInt(ended.lastSequence),
    isolation: wireIsolation[ended.outcome.isolation ?? ""] ?? Isolation.UNSPECIFIED,
    ...(ended.outcome.profile === undefined ? {} : { profile: wireProfile(ended.outcome.profile) }),
  };
}

/** The Failure that takes the place of a result which the coordinator found malformed. */
export function rejectedResultOf(result: Result, detail: string): Result {
  const error = jobError(rejectedCode, "The coordinator rejected the result.", detail);
  const value = failure({ error, retryable: false });
  return { ...result, resultId: randomUUID(), outcome: { case: "failure", value } };
}

/** This result already stands for one that was rejected. */
export function isRejection(result: Result): boolean {
  return result.outcome.case === "failure" && result.outcome.value.error?.code === rejectedCode;
}

/** The outcome in the words of an AttemptEnd. */
export function outcomeName(outcome: Result["outcome"]["case"]): Exclude<AttemptEnd["outcome"], "lost"> {
  switch (outcome) {
    case "success":
      return "succeeded";
    case "cancelled":
      return "cancelled";
    case "release":
      return "released";
    case "park":
      return "parked";
    case "failure":
    case undefined:
      return "failed";
  }
}

const wireIsolation: Readonly<Partial<Record<string, Isolation>>> = {
  none: Isolation.NONE,
  uid: Isolation.UID,
  bwrap: Isolation.BWRAP,
};

function wireProfile({ spans, dropped, runMs }: JobProfile): Profile {
  return {
    $typeName: "muster.v1.Profile",
    spans: spans.map(({ name, parent, count, failed, totalMs, selfMs }) => ({
      $typeName: "muster.v1.ProfileSpan",
      name,
      parent: parent === null ? 0 : parent + 1,
      count: BigInt(count),
      failed: BigInt(failed),
      totalTime: fineDuration(totalMs),
      selfTime: fineDuration(selfMs),
    })),
    dropped: BigInt(dropped),
    runTime: fineDuration(runMs),
  };
}

// To the microsecond: spans are short.
function fineDuration(ms: number): Duration {
  const micros = Math.max(0, Math.round(ms * 1_000));
  const seconds = BigInt(Math.floor(micros / 1e6));
  return { $typeName: "google.protobuf.Duration", seconds, nanos: (micros % 1e6) * 1_000 };
}

const rejectedCode = "RESULT_REJECTED";

function wireOutcome({ outcome, stopKind, timeLeftMs }: EndedAttempt): Result["outcome"] {
  switch (outcome.kind) {
    case "succeeded": {
      const content = { case: "data" as const, value: outcome.result };
      const result = { $typeName: "muster.v1.Payload" as const, content };
      return { case: "success", value: { $typeName: "muster.v1.Success", result, prUrl: outcome.prUrl } };
    }
    case "failed": {
      const { code, message, detail, retryable, retryAfterMs } = outcome;
      const error = jobError(code, message, detail);
      return { case: "failure", value: failure({ error, retryable, retryAfter: duration(retryAfterMs) }) };
    }
    case "released":
      return { case: "release", value: release(outcome.reason) };
    case "parked": {
      const { reason, wakeAfterMs, isPool: pool, session: sessionId } = outcome;
      const wakeAfter = duration(wakeAfterMs);
      const value = { $typeName: "muster.v1.Park" as const, reason, wakeAfter, pool, sessionId };
      return { case: "park", value };
    }
    case "stopped":
      return stoppedOutcome(outcome, stopKind, timeLeftMs);
  }
}

function stoppedOutcome(
  outcome: Extract<Outcome, { kind: "stopped" }>,
  stopKind: StopKind | undefined,
  timeLeftMs: number,
): Result["outcome"] {
  switch (stopKind) {
    case "cancelled":
      return { case: "cancelled", value: { $typeName: "muster.v1.Cancelled", killed: outcome.killed } };
    case "shutdown":
      return { case: "release", value: release("the worker stops") };
    case "deadline":
      return { case: "release", value: release("the link was silent for too long for an exclusive job") };
    case "cap": {
      const message = `The attempt passed the cap of its lease (${durationText(timeLeftMs)}).`;
      const error = jobError("LEASE_EXPIRED", message, outcome.detail);
      return { case: "failure", value: failure({ error, retryable: true, timedOut: true }) };
    }
    case "timeout":
    case "superseded":
    case undefined: {
      const error = jobError("TIMEOUT", "The attempt passed its hard timeout.", outcome.detail);
      return { case: "failure", value: failure({ error, retryable: true, timedOut: true }) };
    }
  }
}

function failure(given: Pick<Failure, "error" | "retryable"> & Partial<Failure>): Failure {
  return { timedOut: false, retryAfter: undefined, ...given, $typeName: "muster.v1.Failure" };
}

function release(reason: string): Release {
  return { $typeName: "muster.v1.Release", reason };
}

function jobError(code: string, message: string, detail: string): JobError {
  return { $typeName: "muster.v1.JobError", code, message, detail };
}

function duration(ms: number | undefined) {
  return ms === undefined ? undefined : durationFromMs(Math.ceil(ms));
}
