import { readHorizon } from "../store/changes.ts";
import type { Tx } from "../store/database.ts";
import { type JobFilter, type JobIdPage, readJobIds, type ScanDirection } from "../store/job-lists.ts";
import { readJobs } from "../store/job-views.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, type Violation } from "./errors.ts";
import { idRange, jobTerms, nounOf } from "./filters.ts";
import type { JobCountsReader, JobCountsView } from "./job-counts.ts";
import { type JobView, jobView } from "./job-views.ts";
import {
  type ListIdentity,
  type PageRequest,
  pageRows,
  readPageToken,
  uuidForm,
  writePageToken,
} from "./pages.ts";

/** Which page of which list of jobs. */
export interface JobListRequest extends PageRequest {
  readonly filter: JobFilter;
  readonly order: ScanDirection;
  /** The last page; without a token. */
  readonly isLastPage: boolean;
}

/** A page of a list of jobs, as it is read. */
export interface JobListing {
  readonly orgId: string;
  readonly filter: JobFilter;
  readonly order: ScanDirection;
  readonly limit: number;
  /** The way along which the page is filled from its anchor: that of the list, or against it. */
  readonly direction: ScanDirection;
  /** Beyond this id, which is not on the page; null: from the end that the direction begins at. */
  readonly anchor: string | null;
  readonly identity: ListIdentity;
}

/** A page that was read. */
export interface JobPage {
  /** In the order of the list. */
  readonly items: readonly JobView[];
  /** How far it was read along the direction of the listing; null: to the end. */
  readonly end: string | null;
  readonly nextPageToken: string;
  readonly previousPageToken: string;
  /** Every later change comes after it. */
  readonly revision: string;
}

/** Checks a request for a page. */
export function listingOf(
  orgId: string,
  request: JobListRequest,
  limits: { readonly most?: number } = {},
): JobListing {
  const { filter, order, isLastPage, pageToken } = request;
  checkFilter(filter);
  if (isLastPage && pageToken !== "") {
    throw invalidArgument([{ field: "lastPage", message: "must be false together with pageToken" }]);
  }
  const identity: ListIdentity = { list: "jobs", orgId, filter: [canonicalFilter(filter), order] };
  const limit = pageRows(request, limits);
  const [way = isLastPage ? "before" : "after", anchor = null] =
    readPageToken(identity, request, [/^(after|before)$/, uuidForm]) ?? [];
  const direction = way === "after" ? order : against(order);
  return { orgId, filter, order, limit, direction, anchor, identity };
}

/** Reads a page, in the basic view. It may be short of its size, and still not be the last: only an empty token is the end. */
export async function readListing(tx: Tx, listing: JobListing): Promise<JobPage> {
  const { orgId, filter, direction, anchor, limit } = listing;
  const { epoch, xmin } = await readHorizon(tx);
  const page = await readJobIds(tx, orgId, filter, { direction, after: anchor, limit });
  return {
    items: inOrderOf(listing.order, (await readJobs(tx, orgId, page.ids, { isFull: false })).map(jobView)),
    end: page.next,
    ...pageTokens(listing, page),
    revision: writeRevision(listing, `${epoch}.${xmin}.0`, page.next),
  };
}

/** The tokens of the pages before and after a page that holds `ids`, in any order, and was read as far as `next`. */
export function pageTokens(
  { identity, order, direction, anchor }: JobListing,
  { ids, next }: JobIdPage,
): { readonly nextPageToken: string; readonly previousPageToken: string } {
  const isForward = direction === order;
  const beyond = next === null ? "" : writePageToken(identity, [isForward ? "after" : "before", next]);
  const back = isForward ? "before" : "after";
  const nearest = firstOf(direction, ids);
  // A page without rows goes back to its anchor itself.
  const place =
    nearest ?? (anchor === null ? null : neighbourOf(anchor, direction === "newest-first" ? -1n : 1n));
  const behind = anchor === null || place === null ? "" : writePageToken(identity, [back, place]);
  return isForward
    ? { nextPageToken: beyond, previousPageToken: behind }
    : { nextPageToken: behind, previousPageToken: beyond };
}

/** The revision of a page that was read as far as `end`: where the feed stood, and which page it was. */
export function writeRevision(listing: JobListing, feedRevision: string, end: string | null): string {
  return `${feedRevision}~${writePageToken(pageIdentity(listing), [end ?? ""])}`;
}

/** Takes such a revision apart; null: it is of another page. */
export function readRevisionOf(
  listing: JobListing,
  revision: string,
): { readonly feedRevision: string; readonly end: string | null } | null {
  const [feedRevision = "", pageToken = ""] = revision.split("~");
  try {
    const [end] = readPageToken(pageIdentity(listing), { pageSize: 0, pageToken }, [uuidOrNothing]) ?? [];
    return end === undefined ? null : { feedRevision, end: end === "" ? null : end };
  } catch {
    return null;
  }
}

/** A page of a list of jobs, with how many there are when that was asked for. */
export async function listJobs(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  request: JobListRequest & { readonly isCounted: boolean },
  counts: JobCountsReader,
): Promise<JobPage & { readonly counts: JobCountsView | null }> {
  const listing = listingOf(orgId, request);
  const counting = request.isCounted ? counts.countJobs(orgId, request.filter) : null;
  const [page, counted] = await Promise.all([
    readOrgByIndex(c.db.app, orgId, (tx) => readListing(tx, listing)),
    counting,
  ]);
  return { ...page, counts: counted };
}

/** The terms of a filter as people write it, for the store. Throws FILTER_INVALID that names `field` and the column. */
export function readJobFilterText(text: string, field = "filterText"): JobFilter["terms"] {
  return jobTerms(text, field).map((term) => {
    const { isNegated } = term;
    if (term.type === "text" && term.key === "worker") {
      // A name may look like an id, hardly ever; an id that is none is a name.
      const ids = term.any.filter(
        ({ text: id, isPrefix }) => isPrefix === false && /^wrk_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(id),
      );
      return { type: "holder", isNegated, names: term.any, ids: ids.map((id) => idRange("worker", id)) };
    }
    if (term.type !== "id") return term;
    const key = term.key === "batch" || term.key === "parent" ? term.key : "id";
    return { type: "ids", key, isNegated, any: term.any.map((id) => idRange(nounOf(key, "job"), id)) };
  });
}

/** A filter as a page token remembers it: the same for the same conditions in another order. */
export function canonicalFilter(filter: JobFilter): unknown {
  return { ...filter, states: [...filter.states].sort(), labels: sorted(filter.labels) };
}

/** Throws what is wrong with a filter. */
export function checkFilter({ kind, queue, project, labels }: JobFilter): void {
  const texts = { kind, queue, project, labels: Object.entries(labels).join() };
  const violations: Violation[] = Object.entries(texts)
    .filter(([, text]) => text?.includes("\0"))
    .map(([field]) => ({ field: `filter.${field}`, message: "must not have NUL characters" }));
  if (violations.length > 0) throw invalidArgument(violations);
}

/** Jobs in the order of a list. */
export function inOrderOf(order: ScanDirection, jobs: readonly JobView[]): JobView[] {
  return [...jobs].sort((a, b) => (isBefore(order, a.jobId, b.jobId) ? -1 : 1));
}

/** Whether an id comes before another one along a direction. */
export function isBefore(direction: ScanDirection, a: string, b: string): boolean {
  return direction === "newest-first" ? a > b : a < b;
}

const uuidOrNothing = new RegExp(`^$|${uuidForm.source}`);

function pageIdentity({ orgId, identity, direction, anchor, limit }: JobListing): ListIdentity {
  return { list: "page of jobs", orgId, filter: [identity.filter, direction, anchor, limit] };
}

function against(order: ScanDirection): ScanDirection {
  return order === "newest-first" ? "oldest-first" : "newest-first";
}

function firstOf(direction: ScanDirection, ids: readonly string[]): string | null {
  return ids.reduce<string | null>(
    (first, id) => (first === null || isBefore(direction, id, first) ? id : first),
    null,
  );
}

// The id right beside: what comes before it ends with the id itself.
function neighbourOf(id: string, step: 1n | -1n): string {
  const number = BigInt(`0x${id.replaceAll("-", "")}`) + step;
  const hex = BigInt.asUintN(128, number).toString(16).padStart(32, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function sorted(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
}
