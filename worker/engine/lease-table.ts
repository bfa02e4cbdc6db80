import type { HeldLease } from "./held-lease.ts";

/** How many ended leases are remembered: more than any coordinator has on its way. */
const maxRemembered = 10_000;

/** The leases of a worker by id. It remembers those that it had: an offer that comes again starts nothing. */
export class LeaseTable extends Map<string, HeldLease> {
  readonly #ended = new Set<string>();

  override delete(leaseId: string): boolean {
    const hasHeld = super.delete(leaseId);
    if (hasHeld) this.remember(leaseId);
    return hasHeld;
  }

  /** It is not to be had again: it was declined. */
  remember(leaseId: string): void {
    this.#ended.add(leaseId);
    if (this.#ended.size <= maxRemembered) return;
    const [oldest] = this.#ended;
    if (oldest !== undefined) this.#ended.delete(oldest);
  }

  /** It was here once. */
  hasEnded(leaseId: string): boolean {
    return this.#ended.has(leaseId);
  }
}
