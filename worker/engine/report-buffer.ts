import { create } from "@bufbuild/protobuf";
import { LogStream } from "@muster/client/v1/event";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { type ReportItem, ReportItemSchema } from "@muster/client/v1/link";
import type { LogSource, ReportBody } from "./messages.ts";

/** What an item costs on the wire besides its text. */
const itemOverheadBytes = 128;
/** Least time between two progress reports of an attempt. */
const progressIntervalMs = 1000;

type Sequenced =
  | Exclude<ReportBody, { kind: "progress" }>
  | { readonly kind: "gap"; from: number; to: number };

interface Entry {
  sequence: number;
  readonly bytes: number;
  readonly body: Sequenced;
}

/** Bounds of a ReportBuffer. */
export interface ReportLimits {
  /** Bytes that may be on the way without an acknowledgement. */
  readonly windowBytes: number;
  /** Bytes that wait to be sent; beyond it the oldest are dropped and a gap stands for them. */
  readonly waitingBytes: number;
}

/**
 * What the handler of one attempt said and the coordinator has not acknowledged. Every record has a number
 * that rises by one over all links of the attempt. At most `windowBytes` are under way; what was sent is kept
 * until acknowledged, because a new link sends it again. Progress has no number: the latest wins, the first
 * goes at once and later ones at most once a second.
 */
export class ReportBuffer {
  readonly lease: LeaseRef;
  readonly #limits: ReportLimits;
  #lastSequence: number;
  #sent: Entry[] = [];
  #sentBytes = 0;
  #waiting: Entry[] = [];
  #waitingBytes = 0;
  #progress: Extract<ReportBody, { kind: "progress" }> | undefined;
  #progressDueMs = Number.NEGATIVE_INFINITY;

  constructor(lease: LeaseRef, lastSequence: number, limits: ReportLimits) {
    this.lease = lease;
    this.#lastSequence = lastSequence;
    this.#limits = limits;
  }

  /** Number of the last record; what a Result declares. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  /** Nothing waits and nothing is unacknowledged. */
  get isEmpty(): boolean {
    return this.#sent.length === 0 && this.#waiting.length === 0 && this.#progress === undefined;
  }

  /** Takes what the handler says. */
  push(body: ReportBody): void {
    if (body.kind === "progress") {
      this.#progress = body;
      return;
    }
    const bytes = itemOverheadBytes + sizeOf(body);
    this.#waiting.push({ sequence: ++this.#lastSequence, bytes, body });
    this.#waitingBytes += bytes;
    // What was said last is never dropped, however large.
    while (this.#waitingBytes > this.#limits.waitingBytes && this.#dropOldest());
  }

  /** The handler has ended: waiting progress need not wait any longer. */
  finish(): void {
    this.#progressDueMs = Number.NEGATIVE_INFINITY;
  }

  /** How long until `take` has something, whatever is acknowledged meanwhile; undefined: nothing is waiting for time. */
  dueInMs(nowMs: number): number | undefined {
    return this.#progress === undefined ? undefined : Math.max(0, this.#progressDueMs - nowMs);
  }

  /** Moves up to `budgetBytes` (at least one item) into `into` as sent; answers with the bytes taken. */
  take(into: ReportItem[], budgetBytes: number, nowMs: number): number {
    let taken = 0;
    if (this.#progress !== undefined && nowMs >= this.#progressDueMs) {
      into.push(this.#item(0, this.#progress));
      this.#progress = undefined;
      this.#progressDueMs = nowMs + progressIntervalMs;
      taken += itemOverheadBytes;
    }
    let count = 0;
    for (const entry of this.#waiting) {
      const isWindowFull = this.#sent.length > 0 && this.#sentBytes + entry.bytes > this.#limits.windowBytes;
      if (isWindowFull || (taken > 0 && taken + entry.bytes > budgetBytes)) break;
      into.push(this.#item(entry.sequence, entry.body));
      this.#sent.push(entry);
      this.#sentBytes += entry.bytes;
      this.#waitingBytes -= entry.bytes;
      taken += entry.bytes;
      count++;
    }
    if (count > 0) this.#waiting.splice(0, count);
    return taken;
  }

  /** Forgets what is durable: everything up to `sequence`. */
  acknowledge(sequence: number): void {
    const count = this.#sent.findIndex((entry) => entry.sequence > sequence);
    for (const entry of this.#sent.splice(0, count === -1 ? this.#sent.length : count)) {
      this.#sentBytes -= entry.bytes;
    }
  }

  /** A new link: what was sent and not acknowledged is sent again. */
  rewind(): void {
    this.#waiting = [...this.#sent, ...this.#waiting];
    this.#waitingBytes += this.#sentBytes;
    this.#sent = [];
    this.#sentBytes = 0;
  }

  // The gap takes the place, and the number, of the last record that it stands for.
  #dropOldest(): boolean {
    const [first, second, third] = this.#waiting;
    if (first === undefined || second === undefined) return false;
    if (first.body.kind !== "gap") {
      const gap = { kind: "gap" as const, from: first.sequence, to: first.sequence };
      this.#waiting[0] = { sequence: first.sequence, bytes: itemOverheadBytes, body: gap };
      this.#waitingBytes += itemOverheadBytes - first.bytes;
      return true;
    }
    if (third === undefined) return false;
    first.body.to = second.sequence;
    first.sequence = second.sequence;
    this.#waiting.splice(1, 1);
    this.#waitingBytes -= second.bytes;
    return true;
  }

  #item(sequence: number, body: ReportBody | Sequenced): ReportItem {
    return create(ReportItemSchema, { lease: this.lease, sequence: BigInt(sequence), body: wireBody(body) });
  }
}

function sizeOf(body: Sequenced): number {
  switch (body.kind) {
    case "log":
    case "message":
      return Buffer.byteLength(body.text);
    case "partial":
      return body.data.length;
    case "gap":
      return 0;
  }
}

function wireBody(body: ReportBody | Sequenced) {
  switch (body.kind) {
    case "progress": {
      const fraction = body.fraction === undefined ? {} : { fraction: body.fraction };
      return { case: "progress" as const, value: { ...fraction, message: body.message } };
    }
    case "log": {
      const level = body.stream === "log" ? body.level : "";
      return { case: "log" as const, value: { stream: logStreams[body.stream], text: body.text, level } };
    }
    case "partial":
      return { case: "partial" as const, value: { content: { case: "data" as const, value: body.data } } };
    case "message":
      return { case: "message" as const, value: body.text };
    case "gap": {
      const { from, to } = body;
      return {
        case: "gap" as const,
        value: { fromSequence: BigInt(from), toSequence: BigInt(to), cause: "worker" },
      };
    }
  }
}

const logStreams: Readonly<Record<LogSource, LogStream>> = {
  log: LogStream.LOG,
  stdout: LogStream.STDOUT,
  stderr: LogStream.STDERR,
  system: LogStream.SYSTEM,
};
