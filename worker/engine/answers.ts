import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import {
  type CancelProgress,
  type CancelStatus,
  CancelStatusSchema,
  type OfferAnswer,
  OfferAnswerSchema,
  type OfferReply,
  OfferReplySchema,
} from "@muster/client/v1/link";

/** Why an offer is not taken, and how long the coordinator should not repeat it. */
export interface Refusal {
  readonly reason: string;
  /** Absent: the coordinator's default. */
  readonly retryAfterMs?: number;
}

interface Answer {
  readonly lease: LeaseRef;
  readonly refusal: Refusal | undefined;
}

/** Answers to offers and cancels that wait to be sent, the latest for each lease. */
export class Answers {
  readonly #offers = new Map<string, Answer>();
  readonly #cancels = new Map<string, CancelStatus>();

  /** The lease is taken. */
  accept(lease: LeaseRef): void {
    this.#offers.set(lease.leaseId, { lease, refusal: undefined });
  }

  /** The lease is not taken. */
  decline(lease: LeaseRef, refusal: Refusal): void {
    this.#offers.set(lease.leaseId, { lease, refusal });
  }

  /** How far a cancel is. */
  cancelled(lease: LeaseRef, progress: CancelProgress): void {
    this.#cancels.set(lease.leaseId, create(CancelStatusSchema, { lease, progress }));
  }

  /** The result says all: an accept that was not sent yet is left out. */
  forget(leaseId: string): void {
    this.#offers.delete(leaseId);
  }

  /** Takes the answers to offers; undefined when there are none. */
  takeReply(heartbeatSequence: bigint): OfferReply | undefined {
    if (this.#offers.size === 0) return undefined;
    const answers = Array.from(this.#offers.values(), (answer) => wireAnswer(answer, heartbeatSequence));
    this.#offers.clear();
    return create(OfferReplySchema, { answers });
  }

  /** Takes the answers to cancels. */
  takeCancels(): CancelStatus[] {
    if (this.#cancels.size === 0) return [];
    const statuses = [...this.#cancels.values()];
    this.#cancels.clear();
    return statuses;
  }
}

function wireAnswer({ lease, refusal }: Answer, heartbeatSequence: bigint): OfferAnswer {
  if (refusal === undefined) return create(OfferAnswerSchema, { lease, heartbeatSequence });
  const retryAfter =
    refusal.retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(refusal.retryAfterMs) };
  return create(OfferAnswerSchema, {
    lease,
    heartbeatSequence,
    decline: { reason: refusal.reason, ...retryAfter },
  });
}
