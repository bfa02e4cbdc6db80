import type { SQL } from "drizzle-orm";
import { isLeased, isTerminal, type JobState } from "../domain/rules/states.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import { attemptNames as a, batchNames as b, jobNames as j, queueNames as q } from "./names.ts";
import { attempts, batches, jobQueue, jobs } from "./schema.ts";

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
}

/** Ids of a page, newest first. */
export interface JobIdPage {
  readonly ids: readonly string[];
  /** Where the next page begins (before this id); null at the end. */
  readonly next: string | null;
}

const largestWindow = 20_000;

/**
 * The ids of jobs that a filter lets through, before an id, newest first.
 *
 * Read in windows along the primary key, of the live rows if only they can match, else of all jobs:
 * the bounds of a window leave out the partitions that cannot match. A page whose matches are rare ends
 * early, with the place to go on, rather than read the org's whole past.
 */
export async function readJobIds(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  {
    before,
    limit,
    mostExamined = 100_000,
  }: {
    readonly before: string | null;
    readonly limit: number;
    /** How many rows the page may look at before it ends, full or not. */
    readonly mostExamined?: number;
  },
): Promise<JobIdPage> {
  const range = await idRange(tx, orgId, filter);
  if (range === null) return { ids: [], next: null };
  const ids: string[] = [];
  let cursor = before;
  let examined = 0;
  for (let rows = limit + 1; ; rows = Math.min(rows * 4, largestWindow)) {
    const window = await readWindow(tx, orgId, filter, {
      rows,
      matches: limit + 1 - ids.length,
      within: cursor === null ? range : [...range, sql`x.${j.jobId} < ${cursor}::uuid`],
    });
    ids.push(...window.ids);
    if (ids.length > limit) return { ids: ids.slice(0, limit), next: ids[limit - 1] ?? null };
    if (window.examined < rows) return { ids, next: null };
    examined += window.examined;
    cursor = window.last;
    if (examined >= mostExamined) return { ids, next: cursor };
  }
}

interface Window {
  readonly ids: readonly string[];
  readonly examined: number;
  readonly last: string | null;
}

async function readWindow(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  { rows, matches, within }: { readonly rows: number; readonly matches: number; readonly within: SQL[] },
): Promise<Window> {
  const isLiveOnly = onlyLive(filter);
  const conditions = [...within, ...(isLiveOnly ? liveConditions(filter) : [])];
  const [window] = await tx.execute<{ ids: string[]; examined: number; last: string | null }>(sql`
    with w as materialized (
      select x.${j.jobId} as id from ${isLiveOnly ? jobQueue : jobs} x where x.${j.orgId} = ${orgId}::uuid
        ${and(conditions)} order by x.${j.jobId} desc limit ${rows}
    ), bounds as materialized (
      select min(id::text)::uuid as low, max(id::text)::uuid as high from w
    )
    select (select count(*)::int from w) as examined, (select low::text from bounds) as last, array(
      select w.id::text from w
      join ${jobs} d on d.${j.orgId} = ${orgId}::uuid and d.${j.jobId} = w.id
        and d.${j.jobId} >= (select low from bounds) and d.${j.jobId} <= (select high from bounds)
      ${isLiveOnly ? sql`` : joinState(orgId)}
      where true ${and([...jobConditions(filter), ...(isLiveOnly ? [] : stateConditions(filter))])}
      order by w.id desc limit ${matches}
    ) as ids`);
  if (window === undefined) throw new Error("a window of jobs came back without a row");
  return window;
}

/** True when every match has a live row. */
function onlyLive({ states, workerId }: JobFilter): boolean {
  return workerId !== null || (states.length > 0 && !states.some(isTerminal));
}

/** The bounds of the ids: those of the batch; children come after their parent. Null: nothing can match. */
async function idRange(tx: Tx, orgId: string, { batchId, parentJobId }: JobFilter): Promise<SQL[] | null> {
  const bounds: SQL[] = [];
  if (parentJobId !== null) bounds.push(sql`x.${j.jobId} > ${parentJobId}::uuid`);
  if (batchId === null) return bounds;
  const [batch] = await tx.execute<{ first: string; last: string }>(sql`
    select ${b.firstJobId} as first, ${b.lastJobId} as last from ${batches}
    where ${b.orgId} = ${orgId}::uuid and ${b.batchId} = ${batchId}::uuid`);
  if (batch === undefined) return null;
  return [...bounds, sql`x.${j.jobId} >= ${batch.first}::uuid`, sql`x.${j.jobId} <= ${batch.last}::uuid`];
}

function joinState(orgId: string): SQL {
  return sql`left join ${jobQueue} q on q.${q.orgId} = ${orgId}::uuid and q.${q.jobId} = w.id
    left join lateral (
      select e.${a.state} from ${attempts} e where e.${a.orgId} = ${orgId}::uuid and e.${a.jobId} = w.id
        and q.${q.jobId} is null order by e.${a.attempt} desc limit 1
    ) l on true`;
}

/** What a filter asks of the row `d` of jobs. */
export function jobConditions(filter: JobFilter): SQL[] {
  const conditions: SQL[] = [];
  if (filter.kind !== null) conditions.push(sql`d.${j.kind} = ${filter.kind}`);
  if (filter.queue !== null) conditions.push(sql`d.${j.queue} = ${filter.queue}`);
  if (filter.project !== null) conditions.push(sql`d.${j.project} = ${filter.project}`);
  if (filter.batchId !== null) conditions.push(sql`d.${j.batchId} = ${filter.batchId}::uuid`);
  if (filter.parentJobId !== null) conditions.push(sql`d.${j.parentJobId} = ${filter.parentJobId}::uuid`);
  if (Object.keys(filter.labels).length > 0) {
    conditions.push(sql`d.${j.labels} @> ${JSON.stringify(filter.labels)}::text::jsonb`);
  }
  return conditions;
}

function liveConditions({ states, workerId }: JobFilter): SQL[] {
  const conditions: SQL[] = [];
  if (states.length > 0) conditions.push(sql`x.${q.state} in ${[...states]}`);
  if (workerId !== null) conditions.push(sql`x.${q.workerId} = ${workerId}::uuid`);
  // As in the index of leases.
  else if (states.every(isLeased)) conditions.push(sql`x.${q.workerId} is not null`);
  return conditions;
}

/** A live row wins over the last attempt; without either the job is being removed. */
function stateConditions({ states }: JobFilter): SQL[] {
  if (states.length === 0) return [sql`(q.${q.jobId} is not null or l.${a.state} is not null)`];
  return [sql`coalesce(q.${q.state}, l.${a.state}) in ${[...states]}`];
}

function and(conditions: readonly SQL[]): SQL {
  return conditions.length === 0 ? sql`` : sql`and ${sql.join([...conditions], sql` and `)}`;
}
