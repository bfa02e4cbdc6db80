import type { HeldLease } from "./held-lease.ts";

/** Ended leases that are remembered at least, and half of how many are at most; more with more than 128 slots. */
const minRemembered = 256;

/**
 * The leases of a worker by id. It remembers those that it had, more than any coordinator has on its way: an offer that
 * comes again starts nothing.
 */
export class LeaseTable extends Map<string, HeldLease> {
  // Two halves, of which the older goes as a whole: a set that loses its oldest one by one is walked from holes.
  readonly #halfSize: number;
  #ended = new Set<string>();
  #endedBefore = new Set<string>();

  /** `slots`: more offers are never on their way. */
  constructor(slots: number) {
    super();
    this.#halfSize = Math.max(minRemembered, 2 * slots);
  }

  override delete(leaseId: string): boolean {
    const hasHeld = super.delete(leaseId);
    if (hasHeld) this.remember(leaseId);
    return hasHeld;
  }

  /** It is not to be had again: it was declined. */
  remember(leaseId: string): void {
    this.#ended.add(leaseId);
    if (this.#ended.size < this.#halfSize) return;
    this.#endedBefore = this.#ended;
    this.#ended = new Set();
  }

  /** It was here once. */
  hasEnded(leaseId: string): boolean {
    return this.#ended.has(leaseId) || this.#endedBefore.has(leaseId);
  }
}
