import type { Coordinator } from "../domain/context.ts";
import { drainReleases } from "../domain/dependants.ts";

/**
 * Takes ends of jobs to who depends on them, where they are too many for the transaction of the end. A wake begins it
 * at once; the loop finds what a wake did not tell, and what a coordinator left behind.
 */
export class ReleaseSweep {
  readonly #c: Coordinator;
  /** Orgs whose ends are being taken, and whether there is news of them since. */
  readonly #running = new Map<string, { hasNews: boolean; readonly done: Promise<void> }>();

  constructor(c: Coordinator) {
    this.#c = c;
  }

  /** Resolves when no end of the org waits that nobody else has taken, or when the signal aborts. */
  async drain(orgId: string, signal: AbortSignal): Promise<void> {
    const running = this.#running.get(orgId);
    if (running) {
      running.hasNews = true;
      return running.done;
    }
    const { promise: done, resolve } = Promise.withResolvers<void>();
    const own = { hasNews: true, done };
    this.#running.set(orgId, own);
    try {
      while (own.hasNews && !signal.aborted) {
        own.hasNews = false;
        for (let more = true; more && !signal.aborted; ) {
          more = await drainReleases(this.#c, orgId, null);
        }
      }
    } finally {
      this.#running.delete(orgId);
      resolve();
    }
  }
}
