import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { type Result, ResultSchema } from "@muster/client/v1/link";
import { viewOf } from "../text.ts";

/** The part of an `Outbox` that the engine needs; several engines of one process may share one. */
export interface ResultOutbox {
  /** What is durable and not acknowledged, oldest first. */
  pending(): readonly { readonly resultId: string; readonly body: Uint8Array }[];
  /** Resolves when the result is durable. */
  append(entry: { readonly resultId: string; readonly body: Uint8Array }): Promise<void>;
  /** Forgets what the coordinator has. */
  acknowledge(resultIds: readonly string[]): void;
}

interface PendingResult {
  readonly result: Result;
  readonly bytes: number;
  /** In the outbox: may go on the wire. */
  isDurable: boolean;
}

/**
 * The results that the coordinator has not acknowledged: written to the outbox first, sent then, sent again on
 * each new link. A body in the outbox is the length of the owner's name, the name, and a Result: in an outbox
 * that several workers share, each takes up only its own after a restart.
 */
export class PendingResults {
  readonly #outbox: ResultOutbox;
  readonly #owner: Buffer;
  readonly #results = new Map<string, PendingResult>();
  readonly #byLease = new Map<string, string>();
  #unsent: PendingResult[] = [];

  /** `owner`: at most 255 bytes; results of others in the outbox are left alone. */
  constructor(outbox: ResultOutbox, owner: string) {
    this.#outbox = outbox;
    this.#owner = Buffer.from(owner).subarray(0, 255);
    for (const { body } of outbox.pending()) {
      const result = this.#decode(body);
      if (result !== undefined) this.#unsent.push(this.#keep(result, body.length, true));
    }
  }

  /** How many results are not acknowledged, those included that are not durable yet. */
  get size(): number {
    return this.#results.size;
  }

  /** Something can be sent. */
  get hasUnsent(): boolean {
    return this.#unsent.length > 0;
  }

  /** A result for the lease waits for its acknowledgement. */
  has(leaseId: string): boolean {
    return this.#byLease.has(leaseId);
  }

  /** The leases whose results are in the outbox. */
  leases(): LeaseRef[] {
    const leases: LeaseRef[] = [];
    for (const { result, isDurable } of this.#results.values()) {
      if (isDurable && result.lease !== undefined) leases.push(result.lease);
    }
    return leases;
  }

  /**
   * Keeps a result; resolves when it may be sent. When the disk refuses it, it is sent from memory, because
   * holding it back would lose it for certain; then the error is the answer.
   */
  async add(result: Result): Promise<unknown> {
    const body = this.#encode(result);
    const kept = this.#keep(result, body.length, false);
    const error = await this.#outbox.append({ resultId: result.resultId, body }).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    kept.isDurable = true;
    if (this.#results.has(result.resultId)) this.#unsent.push(kept);
    return error;
  }

  /** Takes unsent results of up to `budgetBytes`, at least one if there is one. */
  take(budgetBytes: number): Result[] {
    let bytes = 0;
    let count = 0;
    for (const kept of this.#unsent) {
      if (count > 0 && bytes + kept.bytes > budgetBytes) break;
      bytes += kept.bytes;
      count++;
    }
    return this.#unsent.splice(0, count).map(({ result }) => result);
  }

  /** A new link: everything durable is sent again. */
  rewind(): void {
    this.#unsent = [...this.#results.values()].filter(({ isDurable }) => isDurable);
  }

  /** Forgets acknowledged results, and answers with them; unknown ids are left out. */
  acknowledge(resultIds: readonly string[]): Result[] {
    const known: Result[] = [];
    for (const resultId of resultIds) {
      const kept = this.#results.get(resultId);
      if (kept === undefined) continue;
      this.#results.delete(resultId);
      const leaseId = kept.result.lease?.leaseId ?? "";
      if (this.#byLease.get(leaseId) === resultId) this.#byLease.delete(leaseId);
      known.push(kept.result);
    }
    if (known.length > 0) this.#outbox.acknowledge(known.map(({ resultId }) => resultId));
    return known;
  }

  #keep(result: Result, bytes: number, isDurable: boolean): PendingResult {
    const kept = { result, bytes, isDurable };
    this.#results.set(result.resultId, kept);
    this.#byLease.set(result.lease?.leaseId ?? "", result.resultId);
    return kept;
  }

  #encode(result: Result): Uint8Array {
    const message = toBinary(ResultSchema, result);
    const body = Buffer.allocUnsafe(1 + this.#owner.length + message.length);
    body[0] = this.#owner.length;
    body.set(this.#owner, 1);
    body.set(message, 1 + this.#owner.length);
    return body;
  }

  #decode(body: Uint8Array): Result | undefined {
    const at = 1 + this.#owner.length;
    const isOurs = body[0] === this.#owner.length && viewOf(body.subarray(1, at)).equals(this.#owner);
    return isOurs ? fromBinary(ResultSchema, body.subarray(at)) : undefined;
  }
}
