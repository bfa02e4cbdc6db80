import { createHash } from "node:crypto";
import {
  inOrderOf,
  isBefore,
  type JobListing,
  type JobPage,
  pageTokens,
  readListing,
  writeRevision,
} from "../domain/job-lists.ts";
import { type JobView, jobView } from "../domain/job-views.ts";
import { isLeased } from "../domain/rules/states.ts";
import type { Tx } from "../store/database.ts";
import { readJobIds, readMatchingIds } from "../store/job-lists.ts";
import { readJobs } from "../store/job-views.ts";

/** What became of a page. */
export interface PageChange {
  /** Jobs that are new on the page, or not as they were told, in the order of the list. */
  readonly jobs: readonly JobView[];
  /** Jobs that are no longer on it. */
  readonly leftIds: readonly string[];
}

/**
 * A page of a list of jobs, as its watcher knows it: the jobs that match between its anchor and `end`, at most so
 * many as a page has. Of each job only a digest is kept.
 */
export class WatchedPage {
  readonly #listing: JobListing;
  readonly #told = new Map<string, { readonly digest: string; readonly isLeased: boolean }>();
  #end: string | null = null;

  constructor(listing: JobListing) {
    this.#listing = listing;
  }

  /** Whether there is room, and more of the list to fill it with. */
  get isShort(): boolean {
    return this.#end !== null && this.#told.size < this.#listing.limit;
  }

  /** Jobs of the page that say how far they are. */
  get leasedIds(): string[] {
    return [...this.#told].filter(([, one]) => one.isLeased).map(([id]) => id);
  }

  /** The tokens of the pages before and after it, as it is now. */
  get tokens() {
    return pageTokens(this.#listing, { ids: [...this.#told.keys()], next: this.#end });
  }

  /** Where to resume when the feed has been told up to a revision. */
  revisionAt(feedRevision: string): string {
    return writeRevision(this.#listing, feedRevision, this.#end);
  }

  /** Whether a job may be beyond the anchor: while the page is read, nobody knows yet how far it will reach. */
  isBeyondAnchor(jobId: string): boolean {
    const { anchor, direction } = this.#listing;
    return anchor === null || isBefore(direction, anchor, jobId);
  }

  /** Whether a job's place is within the page. */
  holdsPlace(jobId: string): boolean {
    return (
      this.isBeyondAnchor(jobId) &&
      (this.#end === null || !isBefore(this.#listing.direction, this.#end, jobId))
    );
  }

  /** Reads the page anew. */
  async read(tx: Tx): Promise<JobPage> {
    const page = await readListing(tx, this.#listing);
    this.#told.clear();
    this.#end = page.end;
    for (const job of page.items) this.#tell(job);
    return page;
  }

  /** Reads the page anew, and what of it is not as it was told. */
  async refresh(tx: Tx): Promise<PageChange> {
    const before = new Map(this.#told);
    const { items } = await this.read(tx);
    return {
      jobs: items.filter((job) => before.get(job.jobId)?.digest !== this.#told.get(job.jobId)?.digest),
      leftIds: [...before.keys()].filter((id) => !this.#told.has(id)),
    };
  }

  /** Reads some jobs that changed, and fills the room that those left which are gone. */
  async update(tx: Tx, changedIds: readonly string[]): Promise<PageChange> {
    const { orgId, filter, direction, limit, order } = this.#listing;
    const candidates = changedIds.filter((id) => this.#told.has(id) || this.holdsPlace(id));
    const matching = new Set(await readMatchingIds(tx, orgId, filter, candidates));
    const gone = candidates.filter((id) => this.#told.has(id) && !matching.has(id));
    const here = new Set([...this.#told.keys(), ...matching]);
    for (const id of gone) here.delete(id);
    const along = [...here].sort((a, b) => (isBefore(direction, a, b) ? -1 : 1));
    const kept = along.slice(0, limit);
    const out = along.slice(limit).filter((id) => this.#told.has(id));
    const end = along.length > limit ? (kept.at(-1) ?? null) : this.#end;
    const room = limit - kept.length;
    const filled =
      room > 0 && end !== null
        ? await readJobIds(tx, orgId, filter, { direction, after: end, limit: room })
        : { ids: [], next: end };
    const news = [...kept.filter((id) => matching.has(id)), ...filled.ids];
    const views = (await readJobs(tx, orgId, news, { isFull: false })).map(jobView);
    this.#end = filled.next;
    for (const id of [...gone, ...out]) this.#told.delete(id);
    const jobs = inOrderOf(order, views).filter((job) => this.#tell(job));
    return { jobs, leftIds: [...gone, ...out] };
  }

  /** Reads what a watcher missed that knew the page as far as `knownEnd`; `changedIds` are all that changed since. */
  async resume(tx: Tx, changedIds: readonly string[], knownEnd: string | null): Promise<PageChange> {
    const { orgId, filter, direction, limit } = this.#listing;
    const { items } = await this.read(tx);
    const changed = new Set(changedIds.filter((id) => this.isBeyondAnchor(id)));
    const isNew = (id: string) => knownEnd !== null && isBefore(direction, knownEnd, id);
    const jobs = items.filter((job) => changed.has(job.jobId) || isNew(job.jobId) || isLeased(job.state));
    // What others pushed out did not change itself.
    const pushed =
      this.#end === null || (knownEnd !== null && !isBefore(direction, this.#end, knownEnd))
        ? []
        : (
            await readJobIds(tx, orgId, filter, {
              direction,
              after: this.#end,
              until: knownEnd,
              limit: limit + changed.size,
            })
          ).ids;
    const left = new Set([...changed, ...pushed].filter((id) => !this.#told.has(id)));
    return { jobs, leftIds: [...left] };
  }

  // Whether it is not as it was told.
  #tell(job: JobView): boolean {
    const digest = createHash("sha1").update(JSON.stringify(job)).digest("base64");
    const isNews = this.#told.get(job.jobId)?.digest !== digest;
    if (isNews) this.#told.set(job.jobId, { digest, isLeased: isLeased(job.state) });
    return isNews;
  }
}
