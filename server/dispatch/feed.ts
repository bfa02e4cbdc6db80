import { type ChangePage, readChanges, readRevision } from "../store/changes.ts";
import type { Database } from "../store/database.ts";

/** How long a watcher waits for a nudge before it looks by itself. */
export const pollMs = 1_000;

/**
 * News for watchers. What is committed here nudges the watchers of this
 * coordinator at once; what others commit is found by the poll. A nudge
 * carries no data and may be lost.
 */
export class Feed {
  readonly #db: Database;
  readonly #waiting = new Map<string, Set<() => void>>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** Jobs of an org changed, or said something. */
  nudge(orgId: string, jobIds: readonly string[]): void {
    if (this.#waiting.size === 0) return;
    this.#wake(orgId);
    for (const jobId of jobIds) this.#wake(`${orgId}:${jobId}`);
  }

  /** Resolves at the next nudge of the job, after 1 s, or when the signal aborts. */
  waitFor(orgId: string, jobId: string, signal: AbortSignal, maxMs = pollMs): Promise<void> {
    return this.#wait(`${orgId}:${jobId}`, signal, maxMs);
  }

  /** Resolves at the next nudge of any job of the org, after 1 s, or when the signal aborts. */
  waitForOrg(orgId: string, signal: AbortSignal, maxMs = pollMs): Promise<void> {
    return this.#wait(orgId, signal, maxMs);
  }

  /** Reads the feed from a revision on; an empty revision is now. */
  async readSince(orgId: string, revision: string): Promise<ChangePage> {
    if (revision === "") {
      return { isReset: false, changes: [], revision: await readRevision(this.#db, orgId) };
    }
    return readChanges(this.#db, orgId, revision);
  }

  #wake(key: string): void {
    const waiting = this.#waiting.get(key);
    if (!waiting) return;
    this.#waiting.delete(key);
    for (const resolve of waiting) resolve();
  }

  #wait(key: string, signal: AbortSignal, maxMs: number): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    let waiting = this.#waiting.get(key);
    if (!waiting) {
      waiting = new Set();
      this.#waiting.set(key, waiting);
    }
    waiting.add(resolve);
    const timer = setTimeout(resolve, maxMs);
    const aborted = () => resolve();
    signal.addEventListener("abort", aborted, { once: true });
    return promise.finally(() => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
      waiting.delete(resolve);
      if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
    });
  }
}
