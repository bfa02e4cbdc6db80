import { create } from "@bufbuild/protobuf";
import { LogStream } from "@muster/client/v1/event";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { type ReportItem, ReportItemSchema } from "@muster/client/v1/link";
import type { LogSource, ReportBody } from "./messages.ts";
import { type Entry, ReportBacklog } from "./report-backlog.ts";
import type { SpillFolder } from "./spill.ts";

/** What an item costs on the wire besides its text. */
const itemOverheadBytes = 128;
/** Least time between two progress reports of an attempt. */
const progressIntervalMs = 1000;

/** What a numbered record says. */
export type Sequenced =
  | Exclude<ReportBody, { kind: "progress" }>
  | { readonly kind: "gap"; readonly from: number; readonly to: number };

/** Bounds of a ReportBuffer. */
export interface ReportLimits {
  /** Bytes that may be on the way without an acknowledgement. */
  readonly windowBytes: number;
  /** Bytes that wait in memory. What is more waits on disk; beyond that the oldest there give way to a gap. */
  readonly waitingBytes: number;
  /** Absent: memory only. */
  readonly spill: SpillFolder | undefined;
}

/**
 * What the handler of one attempt said and the coordinator has not acknowledged. Every record has a number
 * that rises by one over all links of the attempt. At most `windowBytes` are under way; what was sent is kept
 * until acknowledged, because a new link sends it again. Progress has no number: the latest wins, the first
 * goes at once and later ones at most once a second.
 *
 *   said ──► backlog (memory, disk) ──► waiting (memory) ──► sent ──► acknowledged
 *     └────── while there is room ─────────▲
 */
export class ReportBuffer {
  readonly lease: LeaseRef;
  readonly #limits: ReportLimits;
  #lastSequence: number;
  #sent: Entry[] = [];
  #sentBytes = 0;
  #sentAtMs = 0;
  #waiting: Entry[] = [];
  #waitingBytes = 0;
  #backlog: ReportBacklog | undefined;
  readonly #changed: (buffer: ReportBuffer) => void;
  #progress: Extract<ReportBody, { kind: "progress" }> | undefined;
  #progressDueMs = Number.NEGATIVE_INFINITY;

  /** `changed`: something may be taken that had to be read from the disk. */
  constructor(
    lease: LeaseRef,
    lastSequence: number,
    limits: ReportLimits,
    changed: (buffer: ReportBuffer) => void,
  ) {
    this.lease = lease;
    this.#changed = changed;
    this.#lastSequence = lastSequence;
    this.#limits = limits;
  }

  /** Number of the last record; what a Result declares. */
  get lastSequence(): number {
    return this.#lastSequence;
  }

  /** Nothing waits and nothing is unacknowledged. */
  get isEmpty(): boolean {
    const isAllSent = this.#waiting.length === 0 && (this.#backlog?.isEmpty ?? true);
    return isAllSent && this.#sent.length === 0 && this.#progress === undefined;
  }

  /** Takes what the handler says. */
  push(body: ReportBody): void {
    if (body.kind === "progress") {
      this.#progress = body;
      return;
    }
    const bytes = itemOverheadBytes + sizeOf(body);
    const entry = { sequence: ++this.#lastSequence, bytes, body };
    const isRoom = this.#waiting.length === 0 || this.#waitingBytes + bytes <= this.#limits.waitingBytes / 4;
    if (isRoom && (this.#backlog?.isEmpty ?? true)) {
      this.#waiting.push(entry);
      this.#waitingBytes += bytes;
      return;
    }
    this.#backlog ??= new ReportBacklog({
      memoryBytes: (this.#limits.waitingBytes * 3) / 4,
      spill: this.#limits.spill?.file(),
      changed: () => this.#changed(this),
    });
    this.#backlog.push(entry);
  }

  /** Resolves when the disk has what it was given. */
  async flushed(): Promise<void> {
    await this.#backlog?.flushed();
  }

  /** Forgets everything; resolves when nothing of it is on disk. Undefined when nothing ever was. */
  close(): Promise<void> | undefined {
    return this.#backlog?.close();
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
    this.#refill();
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
    if (count > 0) {
      this.#waiting.splice(0, count);
      this.#sentAtMs = nowMs;
    }
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

  /** As `rewind`, when nothing was sent since a time and something is not acknowledged: true then. */
  repeat(beforeMs: number): boolean {
    if (this.#sent.length === 0 || this.#sentAtMs >= beforeMs) return false;
    this.rewind();
    return true;
  }

  #refill(): void {
    const backlog = this.#backlog;
    if (backlog === undefined) return;
    while (!backlog.isEmpty && this.#waitingBytes <= this.#limits.waitingBytes / 8) {
      const entries = backlog.take();
      if (entries.length === 0) return;
      for (const entry of entries) {
        this.#waiting.push(entry);
        this.#waitingBytes += entry.bytes;
      }
    }
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
    case "event":
      return body.name.length + body.data.length;
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
    case "event": {
      const { name, data } = body;
      return {
        case: "event" as const,
        value: { name, body: { content: { case: "data" as const, value: data } } },
      };
    }
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
