import type { EventAck, OfferedLease, ReportItem } from "@muster/client/v1/link";
import type { ReportBody } from "./messages.ts";
import { ReportBuffer, type ReportLimits } from "./report-buffer.ts";

/** How long the coordinator takes the log tail of an attempt after its result. */
const tailMs = 60_000;

interface Kept {
  readonly buffer: ReportBuffer;
  /** When an ended attempt is given up; undefined while it runs. */
  expiresAtMs: number | undefined;
}

/** The unacknowledged reports of all attempts. One that never reports costs nothing. */
export class Reports {
  #limits: ReportLimits;
  readonly #kept = new Map<string, Kept>();
  /** Those that may have something to send. */
  readonly #ready = new Set<ReportBuffer>();
  /** Those whose progress waits for its second to pass. */
  readonly #timed = new Set<ReportBuffer>();

  readonly #changed: () => void;
  readonly #closing = new Set<Promise<void>>();

  /** `changed`: there may be something to take that was not there before. */
  constructor(limits: ReportLimits, changed: () => void) {
    this.#limits = limits;
    this.#changed = changed;
  }

  /** The coordinator named its window; it counts for attempts that have not reported yet. */
  setWindow(windowBytes: number): void {
    this.#limits = { ...this.#limits, windowBytes };
  }

  /** All that was said is acknowledged. */
  get isEmpty(): boolean {
    return this.#kept.size === 0 || [...this.#kept.values()].every(({ buffer }) => buffer.isEmpty);
  }

  /** Takes what the handler of a lease says. */
  push(offer: OfferedLease, body: ReportBody): void {
    const { lease } = offer;
    if (lease === undefined) return;
    let kept = this.#kept.get(lease.leaseId);
    if (kept === undefined) {
      const buffer = new ReportBuffer(lease, Number(offer.lastSequence), this.#limits, this.#read);
      kept = { buffer, expiresAtMs: undefined };
      this.#kept.set(lease.leaseId, kept);
    }
    kept.buffer.push(body);
    this.#ready.add(kept.buffer);
  }

  /** The handler has ended: answers with the last sequence of its reports. */
  finish(offer: OfferedLease): number {
    const buffer = this.#kept.get(offer.lease?.leaseId ?? "")?.buffer;
    if (buffer === undefined) return Number(offer.lastSequence);
    buffer.finish();
    this.#ready.add(buffer);
    return buffer.lastSequence;
  }

  /** The result is committed: the tail has a minute. */
  ended(leaseId: string, nowMs: number): void {
    const kept = this.#kept.get(leaseId);
    if (kept === undefined) return;
    kept.expiresAtMs = nowMs + tailMs;
    this.#forgetIfDone(leaseId, kept, nowMs);
  }

  /** The lease is no longer current: nothing that it says counts. */
  drop(leaseId: string): void {
    const kept = this.#kept.get(leaseId);
    if (kept === undefined) return;
    this.#kept.delete(leaseId);
    this.#ready.delete(kept.buffer);
    this.#timed.delete(kept.buffer);
    const closed = kept.buffer.close();
    if (closed === undefined) return;
    const closing = closed.catch(() => {}).then(() => void this.#closing.delete(closing));
    this.#closing.add(closing);
  }

  /** Gives everything up; resolves when nothing of it is on disk. */
  async close(): Promise<void> {
    for (const leaseId of [...this.#kept.keys()]) this.drop(leaseId);
    await Promise.all(this.#closing);
  }

  /** Gives up tails whose minute is over. */
  sweep(nowMs: number): void {
    for (const [leaseId, kept] of this.#kept) this.#forgetIfDone(leaseId, kept, nowMs);
  }

  /** What was sent before a time, and is not acknowledged, is sent again: its frame, or the answer, may be lost. */
  repeat(beforeMs: number): void {
    for (const { buffer } of this.#kept.values()) if (buffer.repeat(beforeMs)) this.#ready.add(buffer);
  }

  /** Takes items of up to `budgetBytes` as sent, at least one if one may go. */
  take(budgetBytes: number, nowMs: number): ReportItem[] {
    for (const buffer of this.#timed) {
      if (buffer.dueInMs(nowMs) === 0) this.#ready.add(buffer);
    }
    const items: ReportItem[] = [];
    let left = budgetBytes;
    for (const buffer of this.#ready) {
      if (left <= 0) break;
      left -= buffer.take(items, left, nowMs);
      // With budget left over, what remains waits for an acknowledgement or for time.
      if (left > 0) this.#ready.delete(buffer);
      if (buffer.dueInMs(nowMs) === undefined) this.#timed.delete(buffer);
      else this.#timed.add(buffer);
    }
    return items;
  }

  /** How long until waiting progress may go; undefined when there is none. */
  dueInMs(nowMs: number): number | undefined {
    let least: number | undefined;
    for (const buffer of this.#timed) {
      const due = buffer.dueInMs(nowMs);
      if (due !== undefined && (least === undefined || due < least)) least = due;
    }
    return least;
  }

  /** Forgets what is durable, and all that is refused. */
  acknowledge(ack: EventAck, nowMs: number): void {
    for (const { lease, sequence, superseded } of ack.items) {
      const leaseId = lease?.leaseId ?? "";
      if (superseded) {
        this.drop(leaseId);
        continue;
      }
      const kept = this.#kept.get(leaseId);
      if (kept === undefined) continue;
      kept.buffer.acknowledge(Number(sequence));
      this.#ready.add(kept.buffer);
      this.#forgetIfDone(leaseId, kept, nowMs);
    }
  }

  /** A new link: everything unacknowledged is sent again. */
  rewind(): void {
    for (const { buffer } of this.#kept.values()) {
      buffer.rewind();
      this.#ready.add(buffer);
    }
  }

  readonly #read = (buffer: ReportBuffer): void => {
    if (this.#kept.get(buffer.lease.leaseId)?.buffer !== buffer) return;
    this.#ready.add(buffer);
    this.#changed();
  };

  #forgetIfDone(leaseId: string, { buffer, expiresAtMs }: Kept, nowMs: number): void {
    if (expiresAtMs !== undefined && (buffer.isEmpty || nowMs >= expiresAtMs)) this.drop(leaseId);
  }
}
