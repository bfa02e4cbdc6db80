import type { Link } from "../dispatch/link.ts";
import type { Log } from "../domain/context.ts";
import type { Database } from "../store/database.ts";
import { renewLinks, touchLinks } from "../store/links.ts";

interface Waiting {
  readonly resolve: (isCurrent: boolean) => void;
  readonly reject: (error: unknown) => void;
}

/** A worker that was told to wait with its Hello. */
export interface WaitingWorker {
  readonly orgId: string;
  readonly workerId: string;
  readonly bootId: string;
}

/**
 * Renews the links that showed life: one statement for all of them at a time,
 * whatever their orgs. A heartbeat is echoed after that commit, never before.
 */
export class Renewals {
  readonly #db: Database;
  readonly #log: Log;
  readonly #failed: () => void;
  #waiting = new Map<Link, Waiting[]>();
  #touched = new Map<string, WaitingWorker>();
  #timer: NodeJS.Timeout | undefined;
  #isFlushing = false;
  #isStopped = false;
  #lastMs = Number.NEGATIVE_INFINITY;
  readonly #intervalMs: number;

  /**
   * One statement for all links some 12 times in the time of a heartbeat: each 400 ms, by default, so that an echo does
   * not take half a second.
   *
   * @param failed called when links could not be renewed: their silence is ours.
   */
  constructor(db: Database, log: Log, heartbeatMs: number, failed: () => void) {
    this.#db = db;
    this.#log = log;
    this.#failed = failed;
    this.#intervalMs = heartbeatMs / 12.5;
  }

  /** A link showed life. Resolves after the commit: false when a newer link took over. */
  renew(link: Link): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(link);
      if (waiting) waiting.push({ resolve, reject });
      else this.#waiting.set(link, [{ resolve, reject }]);
      this.#schedule();
    });
  }

  /** A worker wants to attach and must wait: it counts as seen, if its boot is the link's. */
  touch(worker: WaitingWorker): void {
    this.#touched.set(worker.workerId, worker);
    this.#schedule();
  }

  /** Renews nothing more. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#timer || this.#isFlushing || this.#isStopped) return;
    if (this.#waiting.size === 0 && this.#touched.size === 0) return;
    const waitMs = Math.max(0, this.#lastMs + this.#intervalMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#flush();
    }, waitMs);
  }

  async #flush(): Promise<void> {
    const renewed = this.#waiting;
    const touched = [...this.#touched.values()];
    this.#waiting = new Map();
    this.#touched = new Map();
    this.#isFlushing = true;
    this.#lastMs = performance.now();
    try {
      if (renewed.size > 0) {
        const current = await renewLinks(this.#db.beats, [...renewed.keys()]);
        for (const [link, waiting] of renewed) {
          for (const { resolve } of waiting) resolve(current.has(link));
        }
      }
      if (touched.length > 0) await touchLinks(this.#db.beats, touched);
    } catch (error) {
      // Not echoed: the workers see that we are not well, and go on.
      this.#log.warn({ err: error, links: renewed.size }, "links could not be renewed");
      this.#failed();
      for (const waiting of renewed.values()) for (const { reject } of waiting) reject(error);
    } finally {
      this.#isFlushing = false;
      this.#schedule();
    }
  }
}
