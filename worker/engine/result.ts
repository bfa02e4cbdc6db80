import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { type Result, ResultSchema } from "@muster/client/v1/link";
import type { StopKind } from "../stop.ts";
import type { AttemptEnd, Outcome } from "./messages.ts";

type Wire = NonNullable<MessageInitShape<typeof ResultSchema>["outcome"]>;

/** What `resultOf` makes a Result of. */
export interface EndedAttempt {
  /** The lease. */
  readonly lease: LeaseRef;
  /** How the handler ended. */
  readonly outcome: Outcome;
  /** What it had been asked to do before, if anything. */
  readonly stopKind: StopKind | undefined;
  /** Last sequence that the attempt reported. */
  readonly lastSequence: number;
}

/** The Result of an attempt, under a new result id. A handler that stopped ends as what stopped it. */
export function resultOf(ended: EndedAttempt): Result {
  return create(ResultSchema, {
    lease: ended.lease,
    resultId: randomUUID(),
    outcome: wireOutcome(ended.outcome, ended.stopKind),
    lastSequence: BigInt(ended.lastSequence),
  });
}

/** The Failure that takes the place of a result which the coordinator found malformed. */
export function rejectedResultOf(result: Result, detail: string): Result {
  const error = { code: "RESULT_REJECTED", message: "The coordinator rejected the result.", detail };
  return create(ResultSchema, {
    ...(result.lease === undefined ? {} : { lease: result.lease }),
    resultId: randomUUID(),
    outcome: { case: "failure", value: { error, retryable: false } },
    lastSequence: result.lastSequence,
  });
}

/** This result already stands for one that was rejected. */
export function isRejection(result: Result): boolean {
  return result.outcome.case === "failure" && result.outcome.value.error?.code === "RESULT_REJECTED";
}

/** The outcome in the words of an AttemptEnd. */
export function outcomeName(result: Result): Exclude<AttemptEnd["outcome"], "lost"> {
  switch (result.outcome.case) {
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

function wireOutcome(outcome: Outcome, stopKind: StopKind | undefined): Wire {
  switch (outcome.kind) {
    case "succeeded": {
      const result = { content: { case: "data" as const, value: outcome.result } };
      return { case: "success", value: { result, prUrl: outcome.prUrl } };
    }
    case "failed": {
      const { code, message, detail, retryable, retryAfterMs } = outcome;
      const retryAfter = retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(Math.ceil(retryAfterMs)) };
      return { case: "failure", value: { error: { code, message, detail }, retryable, ...retryAfter } };
    }
    case "released":
      return { case: "release", value: { reason: outcome.reason } };
    case "parked": {
      const { reason, wakeAfterMs } = outcome;
      const wakeAfter = wakeAfterMs === undefined ? {} : { wakeAfter: durationFromMs(Math.ceil(wakeAfterMs)) };
      return { case: "park", value: { reason, ...wakeAfter } };
    }
    case "stopped":
      return stoppedOutcome(outcome, stopKind);
  }
}

function stoppedOutcome(outcome: Extract<Outcome, { kind: "stopped" }>, stopKind: StopKind | undefined): Wire {
  switch (stopKind) {
    case "cancelled":
      return { case: "cancelled", value: { killed: outcome.killed } };
    case "shutdown":
      return { case: "release", value: { reason: "the worker stops" } };
    case "deadline":
      return { case: "release", value: { reason: "the link was silent for too long for an exclusive job" } };
    case "timeout":
    case "superseded":
    case undefined: {
      const error = { code: "TIMEOUT", message: "The attempt passed its hard timeout.", detail: outcome.detail };
      return { case: "failure", value: { error, retryable: true, timedOut: true } };
    }
  }
}
