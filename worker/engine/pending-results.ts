import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { type Result, ResultSchema, type Results, ResultsSchema } from "@muster/client/v1/link";
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
  /** Length and message, as an element of Results. */
  readonly encoded: Uint8Array;
  /** In the outbox: may go on the wire. */
  isDurable: boolean;
  /** When it went on the wire of this link; undefined: it waits. */
  sentAtMs: number | undefined;
}

/**
 * The results that the coordinator has not acknowledged: written to the outbox first, sent then, sent again on
 * each new link. A body in the outbox is the length of the owner's name, the name, and the result as an
 * element of Results: in an outbox that several workers share, each takes up only its own after a restart.
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
    const name = Buffer.from(owner).subarray(0, 255);
    this.#owner = Buffer.concat([Uint8Array.of(name.length), name]);
    this.revive(outbox.pending());
  }

  /** Takes up results that are durable already, to be sent; answers with the ids of those that it did not have. */
  revive(entries: readonly { readonly resultId: string; readonly body: Uint8Array }[]): string[] {
    const ids: string[] = [];
    for (const { resultId, body } of entries) {
      if (this.#results.has(resultId)) continue;
      if (!viewOf(body).subarray(0, this.#owner.length).equals(this.#owner)) continue;
      const encoded = body.subarray(this.#owner.length);
      const result = fromBinary(ResultSchema, new BinaryReader(encoded).bytes());
      this.#unsent.push(this.#keep(result, encoded, true));
      ids.push(resultId);
    }
    return ids;
  }

  /** The leases of results in an outbox, as far as they are this worker's. */
  leasesOf(entries: readonly { readonly body: Uint8Array }[]): LeaseRef[] {
    return entries.flatMap(({ body }) => {
      if (!viewOf(body).subarray(0, this.#owner.length).equals(this.#owner)) return [];
      const encoded = new BinaryReader(body.subarray(this.#owner.length)).bytes();
      const { lease } = fromBinary(ResultSchema, encoded);
      return lease === undefined ? [] : [lease];
    });
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
   * Keeps a result, and calls `kept` when it may be sent. When the disk refuses it, it is sent from memory,
   * because holding it back would lose it for certain; then `kept` gets the error.
   */
  add(result: Result, kept: (error: unknown) => void): void {
    const body = this.#encode(toBinary(ResultSchema, result));
    const pending = this.#keep(result, body.subarray(this.#owner.length), false);
    const settle = (error?: unknown) => {
      pending.isDurable = true;
      this.#unsent.push(pending);
      kept(error);
    };
    this.#outbox.append({ resultId: result.resultId, body }).then(settle, settle);
  }

  /** Takes unsent results of up to `budgetBytes`, at least one; undefined when there are none. */
  take(budgetBytes: number, nowMs: number): Results | undefined {
    if (this.#unsent.length === 0) return undefined;
    let bytes = 0;
    let count = 0;
    for (const { encoded } of this.#unsent) {
      if (count > 0 && bytes + encoded.length > budgetBytes) break;
      bytes += encoded.length;
      count++;
    }
    const taken = count === this.#unsent.length ? this.#unsent : this.#unsent.slice(0, count);
    this.#unsent = this.#unsent.slice(count);
    for (const pending of taken) pending.sentAtMs = nowMs;
    // Encoded already: an unknown field is written as it is.
    const $unknown = taken.map(({ encoded }) => ({
      no: resultsField,
      wireType: WireType.LengthDelimited,
      data: encoded,
    }));
    return { $typeName: "muster.v1.Results", results: [], $unknown };
  }

  /** A new link: everything durable is sent again. */
  rewind(): void {
    this.repeat(Number.POSITIVE_INFINITY);
  }

  /** What was sent before a time, and is not acknowledged, is sent again: its frame, or the answer, may be lost. */
  repeat(beforeMs: number): void {
    for (const pending of this.#results.values()) {
      if (pending.sentAtMs === undefined || pending.sentAtMs >= beforeMs) continue;
      pending.sentAtMs = undefined;
      this.#unsent.push(pending);
    }
  }

  /** Forgets an acknowledged result, and answers with it; undefined when it is unknown. */
  acknowledge(resultId: string): Result | undefined {
    const pending = this.#results.get(resultId);
    if (pending === undefined) return undefined;
    this.#results.delete(resultId);
    const leaseId = pending.result.lease?.leaseId ?? "";
    if (this.#byLease.get(leaseId) === resultId) this.#byLease.delete(leaseId);
    return pending.result;
  }

  /** Lets the outbox forget what was acknowledged. */
  forget(resultIds: readonly string[]): void {
    if (resultIds.length > 0) this.#outbox.acknowledge(resultIds);
  }

  #encode(message: Uint8Array): Buffer {
    const ownerBytes = this.#owner.length;
    const lengthBytes = varintBytes(message.length);
    const body = Buffer.allocUnsafe(ownerBytes + lengthBytes + message.length);
    body.set(this.#owner);
    let rest = message.length;
    for (let at = ownerBytes; at < ownerBytes + lengthBytes - 1; at++) {
      body[at] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    body[ownerBytes + lengthBytes - 1] = rest;
    body.set(message, ownerBytes + lengthBytes);
    return body;
  }

  #keep(result: Result, encoded: Uint8Array, isDurable: boolean): PendingResult {
    const pending: PendingResult = { result, encoded, isDurable, sentAtMs: undefined };
    this.#results.set(result.resultId, pending);
    this.#byLease.set(result.lease?.leaseId ?? "", result.resultId);
    return pending;
  }
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

const resultsField = ResultsSchema.field.results.number;
