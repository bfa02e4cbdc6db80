import type { Log } from "../domain/context.ts";
import type { OrgWork, Seen } from "../store/look.ts";
import { Attempts } from "./attempts.ts";
import type { Loop } from "./loop.ts";

/** What is done for the orgs that have work for it. Any coordinator may do it at the same time as others. */
export interface Sweep {
  readonly name: string;
  /** Least time between the beginnings of two passes; 0: at every look that finds work. */
  readonly spacingMs: number;
  /** The orgs that have work for it. */
  readonly orgs: (seen: Seen) => Iterable<string>;
  /** One pass over an org. What fails is logged; the next look finds it again. */
  readonly pass: (orgId: string, signal: AbortSignal) => Promise<void>;
}

/** What a lookout works with. */
export interface LookoutParts {
  readonly sweeps: readonly Sweep[];
  /** Asks the store what is to be done. */
  readonly look: (aheadMs: number) => Promise<Seen>;
  /** Grows with everything that this coordinator asks the store, but for heartbeats and looks. */
  readonly activity: () => number;
  /** A look succeeded, or not: then whoever seems silent may only not have been heard. */
  readonly looked: (error?: unknown) => void;
  /** Milliseconds of a steady clock. */
  readonly nowMs: () => number;
  readonly log: Log;
}

/** Time between two looks at most while something happens here, and when nothing does. */
const busyMs = 250;
const idleMs = 900;

/** How far ahead a look tells what becomes due: further than the next one. */
const aheadMs = 2_000;

/**
 * Looks what there is to do for all orgs, in one statement, and begins the
 * sweeps that have work. What has none costs nothing.
 *
 * It looks again within 250 ms of whatever this coordinator did meanwhile, and
 * when something becomes due that the last look saw coming. Otherwise once a
 * second: that finds what others did, who look themselves, and what they left
 * behind. A sweep that still runs is not begun again: its end is activity, so
 * the next look follows.
 */
export class Lookout {
  readonly #parts: LookoutParts;
  readonly #attempts: Attempts;
  readonly #running = new Set<string>();
  readonly #begunMs = new Map<string, number>();
  #lookedMs = Number.NEGATIVE_INFINITY;
  #activity = -1;
  /** When something becomes due. */
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(parts: LookoutParts) {
    this.#parts = parts;
    this.#attempts = new Attempts(parts.log);
  }

  /** The loop that looks. */
  loop(): Loop {
    return {
      name: "look",
      // So that what becomes due in between is not late.
      intervalMs: () => {
        const nextMs = Math.min(this.#dueMs, this.#lookedMs + idleMs) - this.#parts.nowMs();
        return Math.min(busyMs, Math.max(1, nextMs));
      },
      pass: (signal) => this.pass(signal),
      ended: () => this.#attempts.ended(),
    };
  }

  /** Looks, if it is time to, and begins what has work. */
  async pass(signal: AbortSignal): Promise<void> {
    const { look, activity, looked, nowMs } = this.#parts;
    if (!this.#isTime()) return;
    this.#lookedMs = nowMs();
    // Before the look: what is committed while it runs may be unseen.
    this.#activity = activity();
    const seen = await look(aheadMs).catch((error: unknown) => {
      looked(error);
      throw error;
    });
    looked();
    this.#dueMs = seen.wakesInMs === null ? Number.POSITIVE_INFINITY : nowMs() + seen.wakesInMs;
    for (const sweep of this.#parts.sweeps) this.#begin(sweep, seen, signal);
  }

  #isTime(): boolean {
    const nowMs = this.#parts.nowMs();
    return (
      this.#activity !== this.#parts.activity() || nowMs >= this.#dueMs || nowMs - this.#lookedMs >= idleMs
    );
  }

  #begin(sweep: Sweep, seen: Seen, signal: AbortSignal): void {
    const { nowMs, log } = this.#parts;
    const { name, spacingMs } = sweep;
    const sinceMs = nowMs() - (this.#begunMs.get(name) ?? Number.NEGATIVE_INFINITY);
    if (this.#running.has(name) || sinceMs < spacingMs) return;
    const orgs = [...sweep.orgs(seen)];
    if (orgs.length === 0) return;
    this.#begunMs.set(name, nowMs());
    this.#running.add(name);
    void this.#attempts.run(`sweep ${name}`, async () => {
      try {
        for (const orgId of orgs) {
          if (signal.aborted) return;
          // What fails for one org is not the others' loss.
          await sweep.pass(orgId, signal).catch((error: unknown) => {
            if (signal.aborted) return;
            log.warn(
              { err: error, orgId, sweep: name },
              "a sweep of an org failed; the next look tries again",
            );
          });
        }
      } finally {
        this.#running.delete(name);
      }
    });
  }
}

/** The orgs of which the look says this. */
export function where(says: (work: OrgWork, orgId: string) => boolean): Sweep["orgs"] {
  return ({ orgs }) => orgs.entries().flatMap(([orgId, work]) => (says(work, orgId) ? [orgId] : []));
}
