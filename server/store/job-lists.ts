import type { SQL } from "drizzle-orm";
import type { TextMatch } from "../domain/rules/filter.ts";
import type { JobState } from "../domain/rules/states.ts";
import { writeArray } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import { type JobScan, joinRun, runConditions, scanOf, windowOf } from "./job-scans.ts";
import type { IdRange, JobTerm } from "./job-terms.ts";
import { jobNames as j } from "./names.ts";

/** A term on the worker that holds the job: by name, or by id. */
export interface WorkerTerm {
  readonly type: "holder";
  readonly isNegated: boolean;
  readonly names: readonly TextMatch[];
  readonly ids: readonly IdRange[];
}

/** Which jobs a list holds; null and empty are no condition. */
export interface JobFilter {
  readonly states: readonly JobState[];
  readonly kind: string | null;
  readonly queue: string | null;
  readonly batchId: string | null;
  readonly project: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Holds a lease of the job now. */
  readonly workerId: string | null;
  readonly parentJobId: string | null;
  /** Of the filter as people wrote it: they hold besides. */
  readonly terms: readonly (Exclude<JobTerm, { readonly type: "worker" }> | WorkerTerm)[];
}

/** Lets every job through. */
export const anyJob: JobFilter = {
  states: [],
  kind: null,
  queue: null,
  batchId: null,
  project: null,
  labels: {},
  workerId: null,
  parentJobId: null,
  terms: [],
};

/** The way that a list of jobs is read: by submission. */
export type ScanDirection = "newest-first" | "oldest-first";

/** Ids of a page, in the order in which they were read. */
export interface JobIdPage {
  readonly ids: readonly string[];
  /** How far was read: after this id the next page begins; null at the end. */
  readonly next: string | null;
}

/** What a page begins after, and how much it may read. */
export interface JobIdRequest {
  readonly direction?: ScanDirection;
  /** Null: from the beginning of the list. */
  readonly after: string | null;
  /** Reads no further than this id, which is read, too; null: to the end of the list. */
  readonly until?: string | null;
  readonly limit: number;
  /** How many rows the page may look at before it ends, full or not. */
  readonly mostExamined?: number;
}

const largestWindow = 20_000;

/**
 * The ids of jobs that a filter lets through, after an id.
 *
 * Read in windows along an index in the order of the ids: of the leases, of the jobs that wait, of the live rows, of
 * the dead letters, or else of all jobs; the bounds of a window leave out the partitions that cannot match. A page
 * whose matches are rare ends early, with the place to go on, rather than read the org's whole past.
 */
export async function readJobIds(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  { direction = "newest-first", after, until = null, limit, mostExamined = 100_000 }: JobIdRequest,
): Promise<JobIdPage> {
  const scan = await scanOf(tx, orgId, filter);
  if (scan === null) return { ids: [], next: null };
  const isDown = direction === "newest-first";
  const ids: string[] = [];
  let cursor = after;
  let examined = 0;
  for (let rows = limit + 1; ; rows = Math.min(rows * 4, largestWindow)) {
    const window = await readWindow(tx, orgId, scan, {
      rows,
      isDown,
      matches: limit + 1 - ids.length,
      within: [
        ...(cursor === null ? [] : [sql`x.${j.jobId} ${isDown ? sql`<` : sql`>`} ${cursor}::uuid`]),
        ...(until === null ? [] : [sql`x.${j.jobId} ${isDown ? sql`>=` : sql`<=`} ${until}::uuid`]),
      ],
    });
    ids.push(...window.ids);
    if (ids.length > limit) return { ids: ids.slice(0, limit), next: ids[limit - 1] ?? null };
    if (window.examined < rows) return { ids, next: null };
    examined += window.examined;
    cursor = window.last;
    if (examined >= mostExamined) return { ids, next: cursor };
  }
}

/** Those of some jobs that a filter lets through, in no order. */
export async function readMatchingIds(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  jobIds: readonly string[],
): Promise<string[]> {
  const scan = jobIds.length === 0 ? null : await scanOf(tx, orgId, filter);
  if (scan === null) return [];
  const rows = await tx.execute<{ id: string }>(sql`
    select w.id::text as id from unnest(${writeArray(jobIds)}::uuid[]) w(id) ${joinRun(orgId, sql`w.id`, true)}
    where true ${and(runConditions(orgId, scan, true))}`);
  return rows.map(({ id }) => id);
}

interface Window {
  readonly ids: readonly string[];
  readonly examined: number;
  readonly last: string | null;
}

async function readWindow(
  tx: Tx,
  orgId: string,
  scan: JobScan,
  {
    rows,
    isDown,
    matches,
    within,
  }: { readonly rows: number; readonly isDown: boolean; readonly matches: number; readonly within: SQL[] },
): Promise<Window> {
  const order = isDown ? sql`desc` : sql`asc`;
  const hasPast = scan.source === "all" || scan.source === "dead-letters";
  const [window] = await tx.execute<{ ids: string[]; examined: number; last: string | null }>(sql`
    with w as materialized (${windowOf(orgId, scan, { rows, isDown, within })})
    select (select count(*)::int from w) as examined,
      (select ${isDown ? sql`min` : sql`max`}(id::text) from w) as last, array(
      select w.id::text from w ${joinRun(orgId, sql`w.id`, hasPast)}
      where true ${and(runConditions(orgId, scan, hasPast))}
      order by w.id ${order} limit ${matches}
    ) as ids`);
  if (window === undefined) throw new Error("a window of jobs came back without a row");
  return window;
}

function and(conditions: readonly SQL[]): SQL {
  return conditions.length === 0 ? sql`` : sql`and ${sql.join([...conditions], sql` and `)}`;
}
