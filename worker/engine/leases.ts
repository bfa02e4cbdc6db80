import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import {
  CancelProgress,
  type HeldLease as HeldLeaseMessage,
  HeldLeaseSchema,
  type LeaseVerdict,
  type Offer,
  type OfferAck,
  type OfferedLease,
  Verdict,
} from "@muster/client/v1/link";
import type { Clock } from "../clock.ts";
import type { StopKind } from "../stop.ts";
import { Answers, type Refusal } from "./answers.ts";
import { HeldLease, type LeaseTimeouts } from "./held-lease.ts";
import { LeaseTable } from "./lease-table.ts";
import type { Outcome, ReportBody, ToHandlers } from "./messages.ts";
import type { PendingResult, PendingResults } from "./pending-results.ts";
import type { Reports } from "./reports.ts";
import { resultOf } from "./result.ts";

/** What a handler that kills its processes at the end of the grace needs to say so. */
const giveUpMs = 1000;
/** What a superseded handler gets to stop: somebody else may do its work by now. */
const supersededGraceMs = 500;

/** What the leases of a worker need. */
export interface LeasesOptions {
  /** Jobs at once. */
  readonly slots: number;
  /** Points at once. */
  readonly points: number;
  /** The kinds that have a handler. */
  readonly kinds: ReadonlySet<string>;
  /** Leases to take in all; `Infinity` unless the worker takes one job and ends. */
  readonly maxLeases: number;
  readonly clock: Clock;
  readonly results: PendingResults;
  readonly reports: Reports;
  /** Says something to the handlers' side. */
  readonly post: (message: ToHandlers) => void;
  /** Called when there is something to send, or when the worker may be done. */
  readonly changed: () => void;
}

/** What is free. */
export interface FreeCapacity {
  readonly slots: number;
  readonly points: number;
  /** Sequence of the last Offer that is counted. */
  readonly offerSequence: bigint;
}

/**
 * The leases of a worker: takes offers into free capacity, starts and stops handlers, and turns their ends
 * into results. Knows nothing of the link: what it has to say waits in `answers`, `results` and `reports`.
 */
export class Leases {
  readonly answers = new Answers();
  /** Capacity came free that no other frame will tell: a heartbeat should. Lowered by who sends it. */
  hasRisen = false;
  /** Time that a handler has from the request to stop until it is given up, unless a cancel says otherwise. */
  killGraceMs = 10_000;
  readonly #options: LeasesOptions;
  readonly #held: LeaseTable;
  #usedSlots = 0;
  #usedPoints = 0;
  #taken = 0;
  #offerSequence = 0n;
  #isDraining = false;
  #isClosing = false;
  #exclusiveDeadlineMs = Number.POSITIVE_INFINITY;
  #callOffExclusive: (() => void) | undefined;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#held = new LeaseTable(options.slots);
  }

  /** Nothing new is wanted. */
  get isDraining(): boolean {
    return this.#isDraining;
  }

  /** How many leases were taken in all. */
  get taken(): number {
    return this.#taken;
  }

  /** No lease is held under which something may still be said. */
  get isIdle(): boolean {
    return !this.#held.values().some(({ isCurrent }) => isCurrent);
  }

  /** What is free, as the coordinator should see it. */
  free(): FreeCapacity {
    const left = this.#isDraining ? 0 : this.#options.maxLeases - this.#taken;
    const slots = Math.max(0, Math.min(left, this.#options.slots - this.#usedSlots));
    const points = slots === 0 ? 0 : Math.max(0, this.#options.points - this.#usedPoints);
    return { slots, points, offerSequence: this.#offerSequence };
  }

  /** The leases that run, or whose results are not durable yet. */
  held(): HeldLeaseMessage[] {
    const nowMs = this.#options.clock.nowMs();
    const held: HeldLeaseMessage[] = [];
    for (const { ref, isCurrent, activeMs } of this.#held.values()) {
      const idle = durationFromMs(Math.max(0, Math.floor(nowMs - activeMs)));
      if (isCurrent) held.push(create(HeldLeaseSchema, { lease: ref, idle }));
    }
    return held;
  }

  /** Takes nothing new. With `closing` not even the one job of a worker that takes one and ends. */
  drain(mode: "draining" | "closing"): void {
    this.#isClosing ||= mode === "closing";
    if (this.#isDraining) return;
    this.#isDraining = true;
    this.#rise();
  }

  /** Takes work again. */
  resume(): void {
    if (this.#isClosing || !this.#isDraining) return;
    this.#isDraining = false;
    this.#rise();
  }

  /** A link stands: offers are counted anew, and each lease has its verdict. */
  attached(verdicts: readonly LeaseVerdict[]): void {
    this.#offerSequence = 0n;
    for (const { lease: ref, verdict } of verdicts) {
      const lease = this.#held.get(ref?.leaseId ?? "");
      if (lease === undefined) continue;
      if (verdict === Verdict.SUPERSEDED) this.#supersede(lease, "another attempt took over");
      else if (verdict === Verdict.CANCEL) this.#cancel(lease, "the job was cancelled", this.killGraceMs);
      else if (verdict === Verdict.KEEP && lease.phase === "unconfirmed") this.#start(lease);
    }
  }

  /** Offers came. */
  offered(offer: Offer): void {
    if (offer.sequence > this.#offerSequence) this.#offerSequence = offer.sequence;
    for (const lease of offer.leases) this.#offeredOne(lease);
    this.#options.changed();
  }

  /** Accepts of exclusive jobs are committed. What lay about while this process was stopped proves nothing any more. */
  confirmed(ack: OfferAck): void {
    const isTooLate = this.#options.clock.nowMs() >= this.#exclusiveDeadlineMs;
    for (const ref of isTooLate ? [] : ack.leases) {
      const lease = this.#held.get(ref.leaseId);
      if (lease?.phase === "unconfirmed") this.#start(lease);
    }
    this.lost(ack.superseded, "the job went to another worker");
  }

  /** Somebody wants a handler to stop. */
  cancel(ref: LeaseRef, reason: string, graceMs: number | undefined): void {
    const lease = this.#held.get(ref.leaseId);
    if (lease?.isCurrent) this.#cancel(lease, reason, graceMs ?? this.killGraceMs);
    else if (!this.#options.results.has(ref.leaseId)) this.answers.cancelled(ref, CancelProgress.NOT_HELD);
    this.#options.changed();
  }

  /** An answer or a steer for a handler. */
  message(ref: LeaseRef, messageId: string, text: string): void {
    const lease = this.#held.get(ref.leaseId);
    if (lease?.phase === "running" && lease.isCurrent) {
      this.#options.post({ type: "message", leaseId: ref.leaseId, messageId, text });
    }
  }

  /** These leases are no longer this worker's. */
  lost(refs: readonly LeaseRef[], reason = "the lease was lost"): void {
    for (const ref of refs) {
      const lease = this.#held.get(ref.leaseId);
      if (lease !== undefined) this.#supersede(lease, reason);
      this.answers.forget(ref.leaseId);
    }
  }

  /** The worker has no right to any lease any more. */
  supersedeAll(reason: string): void {
    for (const lease of this.#held.values()) this.#supersede(lease, reason);
  }

  /** Gives everything back: handlers are asked to stop, and given up after the grace. */
  releaseAll(reason: string, graceMs: number): void {
    for (const lease of this.#held.values()) {
      if (lease.phase === "unconfirmed") this.#end(lease, { kind: "released", reason });
      else if (lease.phase === "running" && lease.isCurrent) {
        this.#stop(lease, "shutdown", reason, graceMs);
        lease.after(graceMs + giveUpMs, () => this.#giveUp(lease, { kind: "released", reason }));
      }
    }
  }

  /** A handler said something. */
  report(leaseId: string, body: ReportBody): void {
    const lease = this.#held.get(leaseId);
    if (lease === undefined || lease.phase !== "running" || !lease.isCurrent) return;
    lease.activeMs = this.#options.clock.nowMs();
    this.#options.reports.push(lease.offer, body);
    this.#options.changed();
  }

  /** A handler has ended. */
  settled(leaseId: string, outcome: Outcome): void {
    const lease = this.#held.get(leaseId);
    if (lease === undefined || lease.phase !== "running") return;
    this.#sayStopped(lease, outcome);
    if (lease.isCurrent) {
      this.#end(lease, outcome);
      return;
    }
    lease.settle();
    this.#held.delete(leaseId);
    this.#release(lease);
    this.#rise();
  }

  /** The link lived until then: exclusive handlers stop on their own if it never lives again. */
  renewed(exclusiveDeadlineMs: number): void {
    this.#exclusiveDeadlineMs = exclusiveDeadlineMs;
    if (this.#callOffExclusive !== undefined) this.#watchExclusive();
  }

  /** Stops what has passed the cap of its lease, and accepts again what waits. To be called at each heartbeat. */
  sweep(nowMs: number): void {
    for (const lease of this.#held.values()) {
      // The accept, or what confirms it, may be lost; without it the job would wait as long as the link lives.
      if (lease.phase === "unconfirmed") this.answers.accept(lease.ref);
      if (lease.phase === "running" && nowMs >= lease.capMs)
        this.#overdue(lease, "cap", "the attempt passed the cap of its lease");
    }
    this.#options.changed();
  }

  /** Calls all timers off. */
  close(): void {
    this.#callOffExclusive?.();
    for (const lease of this.#held.values()) lease.settle();
    this.#held.clear();
  }

  #offeredOne(offer: OfferedLease): void {
    const ref = offer.lease;
    if (ref === undefined || this.#options.results.has(ref.leaseId) || this.#held.hasEnded(ref.leaseId))
      return;
    const known = this.#held.get(ref.leaseId);
    if (known !== undefined) {
      if (known.phase !== "settled" && known.isCurrent) this.answers.accept(ref);
      return;
    }
    const refusal = this.#refusal(offer);
    if (refusal !== undefined) {
      this.answers.decline(ref, refusal);
      this.#held.remember(ref.leaseId);
      return;
    }
    const lease = new HeldLease(ref, offer, this.#options.clock);
    this.#held.set(ref.leaseId, lease);
    this.#usedSlots += 1;
    this.#usedPoints += lease.points;
    this.#taken += 1;
    this.answers.accept(ref);
    if (lease.phase === "running") this.#start(lease);
  }

  #refusal(offer: OfferedLease): Refusal | undefined {
    const { kinds, maxLeases, slots, points } = this.#options;
    if (!kinds.has(offer.kind)) return { reason: `UNSUPPORTED: no handler for the kind ${offer.kind}` };
    const takesLast = Number.isFinite(maxLeases) && !this.#isClosing;
    if (this.#taken >= maxLeases || (this.#isDraining && !takesLast)) return { reason: "draining" };
    const fits = this.#usedSlots < slots && this.#usedPoints + Math.max(1, offer.points) <= points;
    return fits ? undefined : { reason: "no capacity", retryAfterMs: 5000 };
  }

  #start(lease: HeldLease): void {
    lease.run(this.#timeouts);
    if (lease.offer.exclusive) this.#watchExclusive();
    this.#options.post({ type: "start", offer: lease.offer });
  }

  #cancel(lease: HeldLease, reason: string, graceMs: number): void {
    if (lease.phase === "unconfirmed")
      this.#end(lease, { kind: "stopped", killed: false, detail: "" }, "cancelled");
    if (lease.phase !== "running") return;
    this.#stop(lease, "cancelled", reason, graceMs);
    this.answers.cancelled(lease.ref, CancelProgress.STOPPING);
  }

  // The coordinator asked for the end of this handler, and now it has come.
  #sayStopped({ ref, stop }: HeldLease, outcome: Outcome): void {
    if (stop?.kind !== "cancelled" && stop?.kind !== "superseded") return;
    const isKilled = outcome.kind === "stopped" && outcome.killed;
    this.answers.cancelled(ref, isKilled ? CancelProgress.KILLED : CancelProgress.STOPPED);
  }

  #supersede(lease: HeldLease, reason: string): void {
    if (!lease.isCurrent || lease.phase === "settled") return;
    lease.isCurrent = false;
    this.#options.reports.drop(lease.ref.leaseId);
    const { jobId, attempt } = lease.ref;
    this.#options.post({ type: "ended", end: { jobId, attempt, outcome: "lost", status: undefined } });
    if (lease.phase === "running")
      this.#stop(lease, "superseded", reason, Math.min(this.killGraceMs, supersededGraceMs));
    else {
      lease.settle();
      this.#held.delete(lease.ref.leaseId);
      this.#release(lease);
      this.#rise();
    }
    this.#options.changed();
  }

  #stop(lease: HeldLease, kind: StopKind, reason: string, graceMs: number): void {
    // The first request stands; only the loss of the lease changes what its end means.
    if (lease.stop !== undefined && kind !== "superseded") return;
    lease.stop = { kind, reason, graceMs };
    this.#options.post({ type: "stop", leaseId: lease.ref.leaseId, order: lease.stop });
  }

  readonly #timeouts: LeaseTimeouts = {
    soft: (lease) => this.#options.post({ type: "softTimeout", leaseId: lease.ref.leaseId }),
    hard: (lease) => this.#overdue(lease, "timeout", "the attempt passed its hard timeout"),
  };

  #overdue(lease: HeldLease, kind: "timeout" | "cap", reason: string): void {
    if (!lease.isCurrent || lease.isOverdue) return;
    lease.isOverdue = true;
    const graceMs = this.killGraceMs;
    this.#stop(lease, kind, reason, graceMs);
    const outcome: Outcome = { kind: "stopped", killed: false, detail: "" };
    lease.after(graceMs + giveUpMs, () => this.#giveUp(lease, outcome, kind));
  }

  /**
   * Ends the attempt of a handler that ignores the request to stop. It keeps its slot until it ends. Never
   * for an exclusive job: while its handler runs no other may.
   */
  #giveUp(lease: HeldLease, outcome: Outcome, stopKind?: StopKind): void {
    if (lease.phase !== "running" || !lease.isCurrent || lease.offer.exclusive) return;
    lease.isCurrent = false;
    this.#add(lease, outcome, stopKind);
  }

  #end(lease: HeldLease, outcome: Outcome, stopKind = lease.stop?.kind): void {
    lease.settle();
    this.#release(lease);
    if (!lease.offer.exclusive) this.answers.forget(lease.ref.leaseId);
    this.#add(lease, outcome, stopKind);
  }

  #add(lease: HeldLease, outcome: Outcome, stopKind: StopKind | undefined): void {
    const { results, reports } = this.#options;
    const { ref, offer, timeLeftMs } = lease;
    const ended = { lease: ref, outcome, stopKind, timeLeftMs, lastSequence: reports.finish(offer) };
    results.add(resultOf(ended), this.#kept);
  }

  readonly #kept = ({ lease: ref }: PendingResult, error?: unknown): void => {
    const { leaseId = "", jobId = "" } = ref ?? {};
    if (this.#held.get(leaseId)?.phase === "settled") this.#held.delete(leaseId);
    if (error !== undefined) {
      const fields = { jobId, error: String(error) };
      const message = "a result could not be written to the outbox";
      this.#options.post({ type: "log", level: "error", message, fields });
    }
    this.#options.changed();
  };

  #release(lease: HeldLease): void {
    this.#usedSlots -= 1;
    this.#usedPoints -= lease.points;
  }

  #rise(): void {
    this.hasRisen = true;
    this.#options.changed();
  }

  #watchExclusive(): void {
    this.#callOffExclusive?.();
    this.#callOffExclusive = undefined;
    const held = this.#held.values();
    const running = held.filter(({ phase, offer }) => phase === "running" && offer.exclusive).toArray();
    if (running.length === 0 || this.#exclusiveDeadlineMs === Number.POSITIVE_INFINITY) return;
    const leftMs = this.#exclusiveDeadlineMs - this.#options.clock.nowMs();
    this.#callOffExclusive = this.#options.clock.after(leftMs, () => {
      this.#callOffExclusive = undefined;
      for (const lease of running) {
        this.#stop(lease, "deadline", "the link was silent for too long", this.killGraceMs);
      }
    });
  }
}
