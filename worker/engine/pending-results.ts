import { fromBinary, type UnknownField } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { type Result, ResultSchema, type Results, ResultsSchema } from "@muster/client/v1/link";
import { viewOf } from "../text.ts";
import { encodeResult } from "./result-encoder.ts";

const resultsField = ResultsSchema.field.results.number;

/** A result that an outbox keeps. */
export interface KeptResult {
  readonly resultId: string;
  readonly body: Uint8Array;
}

/** The part of an `Outbox` that the engine needs; several engines of one process may share one. */
export interface ResultOutbox {
  /** What is durable and not acknowledged, oldest first. */
  pending(): readonly KeptResult[];
  /**
   * Keeps a result; calls `kept` with its id later, when it is durable, or with the error when it cannot be. It must
   * not throw. One function for all results, and not a promise each, which would cost as much as the writing.
   */
  keep(result: KeptResult, kept: (resultId: string, error?: unknown) => void): void;
  /** Forgets what the coordinator has. */
  acknowledge(resultIds: readonly string[]): void;
}

/** A result from its making to its acknowledgement. As an unknown field of Results it is written as it stands. */
export class PendingResult implements KeptResult, UnknownField {
  readonly no = resultsField;
  readonly wireType = WireType.LengthDelimited;
  readonly resultId: string;
  readonly body: Uint8Array;
  readonly lease: LeaseRef | undefined;
  readonly outcome: Result["outcome"]["case"];
  /** In the outbox: may go on the wire. */
  isDurable = false;
  /** When it went on the wire of this link; undefined: it waits. */
  sentAtMs: number | undefined;
  /** Called when it may be sent; with an error when it is sent from memory. */
  readonly kept: ((result: PendingResult, error?: unknown) => void) | undefined;
  readonly #start: number;

  /** The message begins, with its length, at `start` of the body. */
  constructor(
    { resultId, lease, outcome }: Result,
    body: Uint8Array,
    start: number,
    kept: PendingResult["kept"],
  ) {
    this.resultId = resultId;
    this.lease = lease;
    this.outcome = outcome.case;
    this.body = body;
    this.#start = start;
    this.kept = kept;
  }

  /** Bytes of `data`. */
  get dataBytes(): number {
    return this.body.length - this.#start;
  }

  /** Length and message, as an element of Results. */
  get data(): Uint8Array {
    return this.body.subarray(this.#start);
  }
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
  readonly #byLease = new Map<string, PendingResult>();
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
      const pending = this.#hold(this.#read(body), body, undefined);
      pending.isDurable = true;
      this.#unsent.push(pending);
      ids.push(resultId);
    }
    return ids;
  }

  /** The leases of results in an outbox, as far as they are this worker's. */
  leasesOf(entries: readonly { readonly body: Uint8Array }[]): LeaseRef[] {
    return entries.flatMap(({ body }) => {
      if (!viewOf(body).subarray(0, this.#owner.length).equals(this.#owner)) return [];
      const { lease } = this.#read(body);
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
    for (const { lease, isDurable } of this.#results.values()) {
      if (isDurable && lease !== undefined) leases.push(lease);
    }
    return leases;
  }

  /**
   * Keeps a result, and calls `kept` when it may be sent. When the disk refuses it, it is sent from memory,
   * because holding it back would lose it for certain; then `kept` gets the error.
   */
  add(result: Result, kept: PendingResult["kept"]): void {
    this.#outbox.keep(this.#hold(result, encodeResult(this.#owner, result), kept), this.#kept);
  }

  readonly #kept = (resultId: string, error?: unknown): void => {
    const pending = this.#results.get(resultId);
    if (pending === undefined) return;
    pending.isDurable = true;
    this.#unsent.push(pending);
    pending.kept?.(pending, error);
  };

  /** Takes unsent results of up to `budgetBytes`, at least one; undefined when there are none. */
  take(budgetBytes: number, nowMs: number): Results | undefined {
    if (this.#unsent.length === 0) return undefined;
    let bytes = 0;
    let count = 0;
    for (const { dataBytes } of this.#unsent) {
      if (count > 0 && bytes + dataBytes > budgetBytes) break;
      bytes += dataBytes;
      count++;
    }
    const taken = count === this.#unsent.length ? this.#unsent : this.#unsent.slice(0, count);
    this.#unsent = this.#unsent.slice(count);
    for (const pending of taken) pending.sentAtMs = nowMs;
    return { $typeName: "muster.v1.Results", results: [], $unknown: taken };
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
  acknowledge(resultId: string): PendingResult | undefined {
    const pending = this.#results.get(resultId);
    if (pending === undefined) return undefined;
    this.#results.delete(resultId);
    const leaseId = pending.lease?.leaseId ?? "";
    if (this.#byLease.get(leaseId) === pending) this.#byLease.delete(leaseId);
    return pending;
  }

  /** The whole of a result, which is kept as bytes. */
  resultOf({ body }: PendingResult): Result {
    return this.#read(body);
  }

  /** Lets the outbox forget what was acknowledged. */
  forget(resultIds: readonly string[]): void {
    if (resultIds.length > 0) this.#outbox.acknowledge(resultIds);
  }

  #read(body: Uint8Array): Result {
    return fromBinary(ResultSchema, new BinaryReader(body.subarray(this.#owner.length)).bytes());
  }

  // Of the message itself only what is asked for stays: at saturation thousands wait for their acknowledgement.
  #hold(result: Result, body: Uint8Array, kept: PendingResult["kept"]): PendingResult {
    const pending = new PendingResult(result, body, this.#owner.length, kept);
    this.#results.set(pending.resultId, pending);
    this.#byLease.set(pending.lease?.leaseId ?? "", pending);
    return pending;
  }
}
