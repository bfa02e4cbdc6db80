import { durationMs } from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import type { OfferedLease } from "@muster/client/v1/link";
import type { Clock } from "../clock.ts";
import type { StopOrder } from "../stop.ts";

/** What a HeldLease tells its owner when a time has come. */
export interface LeaseTimeouts {
  /** The soft timeout: warn the handler. */
  soft(lease: HeldLease): void;
  /** The hard timeout: stop the handler. */
  hard(lease: HeldLease): void;
}

/**
 * A lease from its offer until its handler has ended.
 *
 *   unconfirmed ──► running ──► settled        an exclusive lease waits for the OfferAck before it runs
 *        └──────────────────────────┘          and may be given up while it waits
 *
 * `isCurrent` falls once and for all when nothing may be said under the lease any more: it was superseded, or
 * its result was sent although the handler still runs. Such a lease goes on occupying its slot.
 */
export class HeldLease {
  readonly ref: LeaseRef;
  readonly offer: OfferedLease;
  readonly points: number;
  phase: "unconfirmed" | "running" | "settled";
  isCurrent = true;
  /** What the handler was asked to do. */
  stop: StopOrder | undefined;
  /** Its hard timeout, or the cap of the lease, has passed. */
  isOverdue = false;
  /** When the handler last said something, or started. */
  activeMs: number;
  /** How long the lease may last from its offer; Infinity when nothing was said. */
  readonly timeLeftMs: number;
  /** When the lease's cap passes, by our clock. */
  readonly capMs: number;
  readonly #clock: Clock;
  #callOffs: (() => void)[] | undefined;

  constructor(ref: LeaseRef, offer: OfferedLease, clock: Clock) {
    this.ref = ref;
    this.offer = offer;
    this.points = Math.max(1, offer.points);
    this.phase = offer.exclusive ? "unconfirmed" : "running";
    this.#clock = clock;
    this.activeMs = clock.nowMs();
    this.timeLeftMs = offer.timeLeft === undefined ? Number.POSITIVE_INFINITY : durationMs(offer.timeLeft);
    this.capMs = this.activeMs + this.timeLeftMs;
  }

  /** The handler starts now: its timeouts begin. */
  run(timeouts: LeaseTimeouts): void {
    this.phase = "running";
    this.activeMs = this.#clock.nowMs();
    const { softTimeout, hardTimeout } = this.offer;
    if (softTimeout !== undefined) this.after(durationMs(softTimeout), () => timeouts.soft(this));
    if (hardTimeout !== undefined) this.after(durationMs(hardTimeout), () => timeouts.hard(this));
  }

  /** Calls `then` after a while unless the handler has ended before. */
  after(delayMs: number, then: () => void): void {
    this.#callOffs ??= [];
    this.#callOffs.push(this.#clock.after(delayMs, then));
  }

  /** The handler has ended, or never started. */
  settle(): void {
    this.phase = "settled";
    for (const callOff of this.#callOffs ?? []) callOff();
    this.#callOffs = undefined;
  }
}
