import { setTimeout as sleep } from "node:timers/promises";
import type { JobCountsView } from "../domain/job-counts.ts";
import { type JobListing, type JobPage, readRevisionOf } from "../domain/job-lists.ts";
import { type ChangePage, readSeenChanges } from "../store/changes.ts";
import type { Tx } from "../store/database.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Following } from "./feed.ts";
import { type PageChange, WatchedPage } from "./job-page.ts";
import type { Watches } from "./watches.ts";

/** Why a watch starts anew. */
export type ResetCause = "too-old" | "other-epoch" | "behind" | "other-list" | "time";

/** What a watcher of a page of jobs is told. */
export type JobWatchEvent =
  | { readonly type: "reset"; readonly cause: ResetCause }
  | { readonly type: "snapshot"; readonly page: JobPage; readonly counts: JobCountsView | null }
  | (PageChange & {
      readonly type: "delta";
      readonly revision: string;
      /** When they are others than told before. */
      readonly counts: JobCountsView | null;
      readonly tokens: { readonly nextPageToken: string; readonly previousPageToken: string } | null;
    })
  | { readonly type: "alive" };

/** What to watch. */
export interface JobWatchRequest {
  readonly listing: JobListing;
  readonly isCounted: boolean;
  /** Empty: begin with a snapshot. */
  readonly resumeRevision: string;
  readonly intervalMs: number;
}

/** Silence after which a watcher is told that it is still watching. */
const aliveMs = 15_000;

/** How often progress, counts, and what time alone changes are looked at. */
const progressMs = 1_000;
const timedMs = 2_000;

/** Changed jobs that wait for one watcher: beyond that the page is read anew. */
const mostPending = 250;

/** Changed jobs that a watcher may have missed and still resume. */
const mostMissed = 1_000;

/** How long after a change a count that was kept may be from before it. */
const countedMs = 12_000;

/** A watcher that takes longer for a message, and misses more than that meanwhile, starts anew. */
const slowMs = 5_000;

/**
 * Tells a page of a list of jobs, and what becomes of it, until the signal is aborted: what changed is read again, once
 * an interval, and only where it belongs to the page. What waits for a watcher is bounded, however slowly it reads.
 */
export async function* watchJobs(
  watches: Watches,
  request: JobWatchRequest,
  signal: AbortSignal,
): AsyncGenerator<JobWatchEvent> {
  using _place = watches.enter(request.listing.orgId);
  const watch = new JobWatch(watches, request);
  try {
    yield* watch.events(signal);
  } finally {
    watch.end();
  }
}

class JobWatch {
  readonly #watches: Watches;
  readonly #request: JobWatchRequest;
  readonly #page: WatchedPage;
  /** Time alone can change what is on the page, or something that the feed does not tell. */
  readonly #isTimed: boolean;
  readonly #pending = new Set<string>();
  #following: Following | undefined;
  /** More changed than is kept. */
  #isOverflown = false;
  #resetCause: ResetCause | null = null;
  #failure: { readonly error: unknown } | null = null;
  #isReading = true;
  #changedMs = Number.NEGATIVE_INFINITY;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #revision = "";
  #told = { counts: "", tokens: "" };
  #ring: () => void = () => {};

  constructor(watches: Watches, request: JobWatchRequest) {
    this.#watches = watches;
    this.#request = request;
    this.#page = new WatchedPage(request.listing);
    this.#isTimed = request.listing.filter.terms.some(
      (term) => term.type === "duration" || (term.type === "text" && term.key === "fingerprint"),
    );
  }

  end(): void {
    this.#following?.leave();
  }

  async *events(signal: AbortSignal): AsyncGenerator<JobWatchEvent> {
    const { nowMs } = this.#watches;
    const { intervalMs, listing } = this.#request;
    this.#following = await this.#watches.feed.follow(listing.orgId, {
      changed: (page) => this.#changed(page),
      failed: (error) => {
        this.#failure = { error };
        this.#ring();
      },
    });
    let spokeMs = nowMs();
    let progressAtMs = nowMs() + progressMs;
    let timedAtMs = nowMs() + timedMs;
    const first = this.#request.resumeRevision === "" ? null : await this.#resume();
    let next: JobWatchEvent | null = first ?? (await this.#snapshot());
    while (!signal.aborted) {
      if (next !== null) {
        const toldMs = nowMs();
        yield next;
        spokeMs = nowMs();
        if (next.type === "reset") {
          next = await this.#snapshot();
          continue;
        }
        if (this.#isOverflown && spokeMs - toldMs > slowMs) this.#resetCause = "behind";
      }
      if (this.#failure !== null) throw this.#failure.error;
      const dueMs = this.#isTimed ? Math.min(progressAtMs, timedAtMs) : progressAtMs;
      // What changes without a word to say is looked at no more often.
      const leastMs = Math.max(spokeMs, this.#lookedMs) + intervalMs - nowMs();
      await this.#wait({ leastMs, mostMs: dueMs - nowMs() }, signal);
      if (signal.aborted) return;
      if (this.#resetCause !== null) {
        next = { type: "reset", cause: this.#resetCause };
        this.#resetCause = null;
        continue;
      }
      const isProgressDue = nowMs() >= progressAtMs;
      const isTimedDue = nowMs() >= timedAtMs;
      if (isProgressDue) progressAtMs = nowMs() + progressMs;
      if (isTimedDue) timedAtMs = nowMs() + timedMs;
      next = await this.#delta({ isProgressDue, isTimedDue });
      if (next === null && nowMs() - spokeMs >= aliveMs) next = { type: "alive" };
    }
  }

  // What the feed tells, at once: what cannot be of the page is dropped here.
  #changed(page: ChangePage): void {
    this.#changedMs = this.#watches.nowMs();
    if (page.isReset) {
      this.#resetCause = page.resetCause;
      this.#ring();
      return;
    }
    for (const { jobId } of page.changes) {
      if (this.#isOverflown) return;
      const isOfPage = this.#isReading ? this.#page.isBeyondAnchor(jobId) : this.#page.holdsPlace(jobId);
      if (!isOfPage) continue;
      this.#pending.add(jobId);
      if (this.#pending.size > mostPending) {
        this.#isOverflown = true;
        this.#pending.clear();
      }
      this.#ring();
    }
  }

  async #snapshot(): Promise<JobWatchEvent> {
    const page = await this.#read((tx) => this.#page.read(tx));
    const counts = this.#request.isCounted ? await this.#count() : null;
    this.#told = { counts: JSON.stringify(counts), tokens: JSON.stringify(this.#page.tokens) };
    return { type: "snapshot", page, counts };
  }

  async #resume(): Promise<JobWatchEvent> {
    const { listing, resumeRevision } = this.#request;
    const known = readRevisionOf(listing, resumeRevision);
    if (known === null) return { type: "reset", cause: "other-list" };
    if (this.#isTimed) return { type: "reset", cause: "time" };
    // All that the page is read with, and no less: what comes later the feed tells.
    const resumed = await this.#read(async (tx) => {
      const seen = await readSeenChanges(tx, listing.orgId, known.feedRevision, { mostJobs: mostMissed });
      if ("resetCause" in seen) return seen;
      return this.#page.resume(tx, seen.jobIds, known.end);
    });
    if ("resetCause" in resumed) return { type: "reset", cause: resumed.resetCause };
    const counts = this.#request.isCounted ? await this.#count() : null;
    const { tokens } = this.#page;
    this.#told = { counts: JSON.stringify(counts), tokens: JSON.stringify(tokens) };
    return { type: "delta", ...resumed, revision: this.#revision, counts, tokens };
  }

  // Null: there is nothing to tell.
  async #delta({
    isProgressDue,
    isTimedDue,
  }: {
    readonly isProgressDue: boolean;
    readonly isTimedDue: boolean;
  }): Promise<JobWatchEvent | null> {
    let change: PageChange = { jobs: [], leftIds: [] };
    const ids = [...new Set([...this.#pending, ...(isProgressDue ? this.#page.leasedIds : [])])];
    if (this.#isOverflown || (this.#isTimed && isTimedDue)) {
      change = await this.#read((tx) => this.#page.refresh(tx));
    } else if (ids.length > 0 || (this.#page.isShort && isProgressDue)) {
      change = await this.#read((tx) => this.#page.update(tx, ids));
    }
    const { tokens } = this.#page;
    const isCounted = this.#request.isCounted && isProgressDue && this.#mayCountsBeOld;
    const counts = isCounted ? await this.#count() : null;
    const told = {
      counts: isCounted ? JSON.stringify(counts) : this.#told.counts,
      tokens: JSON.stringify(tokens),
    };
    const hasCounts = told.counts !== this.#told.counts;
    const hasTokens = told.tokens !== this.#told.tokens;
    this.#told = told;
    if (change.jobs.length + change.leftIds.length === 0 && !hasCounts && !hasTokens) return null;
    return {
      type: "delta",
      ...change,
      revision: this.#revision,
      counts: hasCounts ? counts : null,
      tokens: hasTokens ? tokens : null,
    };
  }

  // While the page is read, nobody knows how far it will reach: what is told meanwhile is kept until then.
  async #read<T>(body: (tx: Tx) => Promise<T>): Promise<T> {
    const { listing } = this.#request;
    const feedRevision = this.#following?.revision ?? "";
    this.#pending.clear();
    this.#isOverflown = false;
    this.#isReading = true;
    const result = await readOrgByIndex(this.#watches.coordinator.db.app, listing.orgId, body);
    this.#isReading = false;
    this.#lookedMs = this.#watches.nowMs();
    this.#revision = this.#page.revisionAt(feedRevision);
    for (const jobId of this.#pending) if (!this.#page.holdsPlace(jobId)) this.#pending.delete(jobId);
    return result;
  }

  #count(): Promise<JobCountsView> {
    const { orgId, filter } = this.#request.listing;
    return this.#watches.counts.countJobs(orgId, filter);
  }

  get #mayCountsBeOld(): boolean {
    return this.#watches.nowMs() - this.#changedMs < countedMs;
  }

  async #wait(
    { leastMs, mostMs }: { readonly leastMs: number; readonly mostMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    if (leastMs > 0) await sleep(leastMs, undefined, { signal }).catch(() => undefined);
    const leftMs = mostMs - Math.max(0, leastMs);
    const isDue =
      this.#pending.size > 0 || this.#isOverflown || this.#resetCause !== null || this.#failure !== null;
    if (signal.aborted || isDue || leftMs <= 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ring = resolve;
    const timer = setTimeout(resolve, leftMs);
    const aborted = () => resolve();
    signal.addEventListener("abort", aborted, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", aborted);
  }
}
