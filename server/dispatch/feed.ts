import { setTimeout as sleep } from "node:timers/promises";
import { type ChangePage, readChanges, readRevision } from "../store/changes.ts";
import type { Database } from "../store/database.ts";

/** How long a watcher waits for a nudge before it looks by itself. */
export const pollMs = 1_000;

/** Hears what the feed of an org tells. Both are called at once, and must not throw. */
export interface FeedFollower {
  changed(page: ChangePage): void;
  /** The feed cannot be read: nothing more is told. */
  failed(error: unknown): void;
}

/** A place among the followers of an org. */
export interface Following {
  /** How far the feed was told: all that comes later is yet to be. */
  readonly revision: string;
  /** Ends it. Safe to call again. */
  leave(): void;
}

/** The one reading of an org's feed that all of its followers share. */
interface OrgFeed {
  readonly followers: Set<FeedFollower>;
  readonly started: Promise<void>;
  readonly ended: AbortController;
  revision: string;
}

/** Least time between two looks that found nothing, for an org where every moment has news. */
const spacingMs = 20;

/**
 * News for watchers. What is committed here nudges the watchers of this
 * coordinator at once; what others commit is found by the poll. A nudge
 * carries no data and may be lost.
 */
export class Feed {
  readonly #db: Database;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #orgs = new Map<string, OrgFeed>();

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

  /** Reads the feed from a revision on; an empty revision is now. `mostJobs` as in `readChanges`. */
  async readSince(
    orgId: string,
    revision: string,
    options: { readonly mostJobs?: number } = {},
  ): Promise<ChangePage> {
    if (revision === "") {
      const now = await readRevision(this.#db, orgId);
      return { isReset: false, resetCause: null, changes: [], revision: now };
    }
    return readChanges(this.#db, orgId, revision, options);
  }

  /** Tells a follower all that comes from now on. The feed is read once for all followers of an org. */
  async follow(orgId: string, follower: FeedFollower): Promise<Following> {
    let org = this.#orgs.get(orgId);
    if (!org) {
      const { promise: started, resolve, reject } = Promise.withResolvers<void>();
      org = { followers: new Set(), started, ended: new AbortController(), revision: "" };
      this.#orgs.set(orgId, org);
      void this.#tell(orgId, org, resolve).catch((error: unknown) => {
        this.#end(orgId, org);
        for (const one of org?.followers ?? []) one.failed(error);
        reject(error);
      });
    }
    const followed = org;
    followed.followers.add(follower);
    const leave = () => {
      followed.followers.delete(follower);
      if (followed.followers.size === 0) this.#end(orgId, followed);
    };
    try {
      await followed.started;
    } catch (error) {
      leave();
      throw error;
    }
    return {
      get revision() {
        return followed.revision;
      },
      leave,
    };
  }

  async #tell(orgId: string, org: OrgFeed, started: () => void): Promise<void> {
    const { signal } = org.ended;
    org.revision = await readRevision(this.#db, orgId);
    started();
    while (!signal.aborted) {
      const news = this.waitForOrg(orgId, signal);
      const page = await readChanges(this.#db, orgId, org.revision);
      org.revision = page.revision;
      const isNews = page.isReset || page.changes.length > 0;
      if (isNews) for (const follower of [...org.followers]) follower.changed(page);
      // A full page is followed by the next one at once.
      if (!isNews) await Promise.all([news, sleep(spacingMs, undefined, { signal }).catch(() => undefined)]);
    }
  }

  #end(orgId: string, org: OrgFeed | undefined): void {
    org?.ended.abort();
    if (this.#orgs.get(orgId) === org) this.#orgs.delete(orgId);
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
