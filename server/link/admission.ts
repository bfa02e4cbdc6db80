import type { Caller } from "../domain/context.ts";
import type { Counters } from "../domain/counters.ts";
import { overloaded } from "../domain/errors.ts";
import type { Renewals } from "./renewals.ts";

/** The longest that a worker is asked to wait: less than what makes it stale. */
const maxWaitMs = 10_000;

/** What the admission of Hellos works with. */
export interface AdmissionParts {
  readonly renewals: Pick<Renewals, "touch">;
  readonly counters: Counters;
  readonly hellosPerSecond: number;
  /** Workers of an org that may be attached here at once. */
  readonly linksPerOrg: number;
  /** Those of an org that are. */
  readonly linksOf: (orgId: string) => ReadonlyMap<string, unknown>;
  /** Milliseconds of a steady clock. */
  readonly nowMs: () => number;
}

/**
 * How many workers may attach in a second, so that a whole fleet that comes
 * back leaves the database to its work. The others are told when to come
 * again, spread over the time that those before them need, and count as seen
 * meanwhile: waiting at our word costs nobody a lease. Heartbeats never pass
 * here.
 */
export class HelloAdmission {
  readonly #parts: AdmissionParts;
  #tokens: number;
  /** Hellos that were told to wait and have not had their time yet. */
  #waiting = 0;
  #filledMs: number;

  constructor(parts: AdmissionParts) {
    this.#parts = parts;
    this.#tokens = parts.hellosPerSecond;
    this.#filledMs = parts.nowMs();
  }

  /** Takes a Hello. Throws OVERLOADED with the time to come again, or LINKS_EXHAUSTED. */
  admit(caller: Caller, { bootId }: { readonly bootId: string }): void {
    const attached = this.#parts.linksOf(caller.orgId);
    if (attached.size >= this.#parts.linksPerOrg && !attached.has(caller.workerId ?? "")) {
      throw overloaded(maxWaitMs, "LINKS_EXHAUSTED");
    }
    this.#refill();
    if (this.#tokens >= 1) {
      this.#tokens--;
      return;
    }
    const { renewals, counters, hellosPerSecond } = this.#parts;
    this.#waiting++;
    counters.add("muster_deferred_hellos_total");
    const { orgId, workerId } = caller;
    if (workerId !== null) renewals.touch({ orgId, workerId, bootId });
    throw overloaded(Math.min(maxWaitMs, Math.ceil((1_000 * (this.#waiting + 1)) / hellosPerSecond)));
  }

  #refill(): void {
    const { nowMs, hellosPerSecond } = this.#parts;
    const now = nowMs();
    const fresh = ((now - this.#filledMs) * hellosPerSecond) / 1_000;
    this.#filledMs = now;
    this.#tokens = Math.min(hellosPerSecond, this.#tokens + fresh);
    this.#waiting = Math.max(0, this.#waiting - fresh);
  }
}
