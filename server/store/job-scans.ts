import type { SQL } from "drizzle-orm";
import { isLeased, isTerminal, JobState } from "../domain/rules/states.ts";
import { writeArray } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import type { JobFilter, WorkerTerm } from "./job-lists.ts";
import { type IdRange, isFingerprint, type JobTerm, statesOfTerms, termConditions } from "./job-terms.ts";
import {
  attemptNames as a,
  batchNames as b,
  clock,
  jobNames as j,
  keyNames as k,
  queueNames as q,
} from "./names.ts";
import { attempts, batches, deadLetters, jobKeys, jobQueue, jobs } from "./schema.ts";
import { workers } from "./schema-fleet.ts";
import { names } from "./statement.ts";

const wk = names(workers);

/** Along what a filter is read, and what its names came to. */
export interface JobScan {
  readonly source: "leased" | "waiting" | "live" | "dead-letters" | "all";
  /** Null for any. */
  readonly states: readonly JobState[] | null;
  readonly filter: JobFilter;
  readonly terms: readonly JobTerm[];
  /** Conditions on the id of the row `x`. */
  readonly bounds: readonly SQL[];
}

/** The states of which there is an index by id. */
const waitingStates: readonly JobState[] = [JobState.blocked, JobState.scheduled, JobState.parked];

/** How to read what a filter lets through; null: nothing can match. */
export async function scanOf(tx: Tx, orgId: string, filter: JobFilter): Promise<JobScan | null> {
  const terms: JobTerm[] = [];
  for (const term of filter.terms) {
    terms.push(term.type === "holder" ? await resolveHolder(tx, orgId, term) : term);
  }
  const states = intersect(filter.states.length === 0 ? null : filter.states, statesOfTerms(terms));
  if (states?.length === 0) return null;
  const bounds = await idBounds(tx, orgId, filter, terms);
  if (bounds === null) return null;
  const isHeld = filter.workerId !== null;
  const source = terms.some(isFingerprint) ? "dead-letters" : isHeld ? "leased" : sourceOf(states);
  return { source, states, filter, terms, bounds };
}

/** The ids, as `id`, of the next rows along the source of a scan. */
export function windowOf(
  orgId: string,
  { source, states, filter, terms, bounds }: JobScan,
  {
    rows,
    isDown,
    within,
  }: { readonly rows: number; readonly isDown: boolean; readonly within: readonly SQL[] },
): SQL {
  const table = source === "all" ? jobs : source === "dead-letters" ? deadLetters : jobQueue;
  const limits = sql`order by x.${j.jobId} ${isDown ? sql`desc` : sql`asc`} limit ${rows}`;
  const conditions = [sql`x.${j.orgId} = ${orgId}::uuid`, ...bounds, ...within];
  const select = (more: readonly SQL[]) =>
    sql`select x.${j.jobId} as id from ${table} x where ${sql.join([...conditions, ...more], sql` and `)} ${limits}`;
  if (source === "leased") {
    const holders = terms.flatMap((term) => (term.type === "worker" && !term.isNegated ? [term.ids] : []));
    // Sorted after all leases were found: in the order of the ids there is no index of them.
    const leased = sql.join(
      [
        ...conditions,
        // As in the index of leases.
        sql`x.${q.workerId} is not null`,
        ...(filter.workerId === null ? [] : [sql`x.${q.workerId} = ${filter.workerId}::uuid`]),
        ...holders.map((ids) => sql`x.${q.workerId} = any(${writeArray(ids)}::uuid[])`),
      ],
      sql` and `,
    );
    return sql`select x.id from (select x.${j.jobId} as id from ${jobQueue} x where ${leased} offset 0) x
      order by x.id ${isDown ? sql`desc` : sql`asc`} limit ${rows}`;
  }
  if (source !== "waiting" || states === null) return select([]);
  // A range of the index each, and the first of all of them.
  const ranges = states.map(
    (state) => sql`(${select([sql`x.${q.state} = ${sql.raw(String(Number(state)))}`])})`,
  );
  return sql`select x.id from (${sql.join(ranges, sql` union all `)}) x order by x.id ${isDown ? sql`desc` : sql`asc`} limit ${rows}`;
}

/**
 * Joins the row `d` of jobs, its live row `q`, and, with `hasPast`, the last attempt `l` of one that has ended, of the
 * jobs with some ids. Each is looked up by its id, whatever the planner believes of their number.
 */
export function joinRun(orgId: string, jobId: SQL, hasPast: boolean): SQL {
  return sql`cross join lateral (
      select d.* from ${jobs} d where d.${j.orgId} = ${orgId}::uuid and d.${j.jobId} = ${jobId} limit 1
    ) d ${joinLive(orgId, jobId, hasPast)}`;
}

/** The same without the row `d`. */
export function joinLive(orgId: string, jobId: SQL, hasPast: boolean): SQL {
  const live = sql`lateral (
      select q.* from ${jobQueue} q where q.${q.orgId} = ${orgId}::uuid and q.${q.jobId} = ${jobId} limit 1
    ) q`;
  if (!hasPast) return sql`cross join ${live}`;
  return sql`left join ${live} on true
    left join lateral (
      select e.${a.state}, e.${a.attempt}, e.${a.sessionId} from ${attempts} e
      where e.${a.orgId} = ${orgId}::uuid and e.${a.jobId} = ${jobId} and q.${q.jobId} is null
      order by e.${a.attempt} desc limit 1
    ) l on true`;
}

/** What a scan asks of the rows of `joinRun` and the row `d` of jobs. */
export function runConditions(orgId: string, scan: JobScan, hasPast: boolean): SQL[] {
  const { filter, states, terms } = scan;
  // A live row wins over the last attempt; without either the job is being removed.
  const state = hasPast ? sql`coalesce(q.${q.state}, l.${a.state})` : sql`q.${q.state}`;
  return [
    states === null ? sql`${state} is not null` : sql`${state} = any(${writeArray(states)}::int[])`,
    ...(filter.workerId === null ? [] : [sql`q.${q.workerId} = ${filter.workerId}::uuid`]),
    ...jobConditions(filter),
    ...termConditions(orgId, terms, hasPast),
  ];
}

/** What the fields of a filter ask of the row `d` of jobs; terms and states are left to others. */
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

function sourceOf(states: readonly JobState[] | null): JobScan["source"] {
  if (states === null || states.some(isTerminal)) return "all";
  if (states.every(isLeased)) return "leased";
  return states.every((state) => waitingStates.includes(state)) ? "waiting" : "live";
}

function intersect(one: readonly JobState[] | null, other: readonly JobState[] | null) {
  if (one === null || other === null) return one ?? other;
  return one.filter((state) => other.includes(state));
}

/** Workers that one term can stand for: beyond that a worker's name says nothing. */
const mostHolders = 10_000;

async function resolveHolder(
  tx: Tx,
  orgId: string,
  { isNegated, names: named, ids }: WorkerTerm,
): Promise<JobTerm> {
  const byName = named.map(({ text, isPrefix }) =>
    isPrefix ? sql`starts_with(w.${wk.name}, ${text}::text)` : sql`w.${wk.name} = ${text}::text`,
  );
  const byId = ids.map(
    ({ first, last }) => sql`(w.${wk.workerId} >= ${first}::uuid and w.${wk.workerId} <= ${last}::uuid)`,
  );
  const rows = await tx.execute<{ id: string }>(sql`
    select w.${wk.workerId}::text as id from ${workers} w where w.${wk.orgId} = ${orgId}::uuid
      and (${sql.join([...byName, ...byId], sql` or `)}) limit ${mostHolders}`);
  return { type: "worker", isNegated, ids: rows.map(({ id }) => id) };
}

/** Ids are older than the rows that they name, and newer than this much before. */
const slackMs = 600_000;

/** The bounds of the ids: those of the batch; children come after their parent. Null: nothing can match. */
async function idBounds(
  tx: Tx,
  orgId: string,
  { batchId, parentJobId }: JobFilter,
  terms: readonly JobTerm[],
): Promise<SQL[] | null> {
  const bounds: SQL[] = parentJobId === null ? [] : [sql`x.${j.jobId} > ${parentJobId}::uuid`];
  const ofBatches: (readonly IdRange[])[] = batchId === null ? [] : [[{ first: batchId, last: batchId }]];
  for (const term of terms) {
    if (term.isNegated) continue;
    if (term.type === "ids" && term.key === "batch") ofBatches.push(term.any);
    if (term.type === "ids" && term.key === "id") bounds.push(...within(term.any));
    if (term.type === "ids" && term.key === "parent")
      bounds.push(sql`x.${j.jobId} > ${least(term.any)}::uuid`);
    if (term.type === "duration") bounds.push(...(await ageBounds(tx, term.operator, term.ms)));
    if (term.type === "text" && term.key === "external" && !term.any.some((one) => one.isPrefix)) {
      const keys = writeArray(term.any.map((one) => one.text));
      const rows = await tx.execute<{ id: string }>(sql`select ${k.targetId}::text as id from ${jobKeys}
        where ${k.orgId} = ${orgId}::uuid and ${k.type} = 'external' and ${k.key} = any(${keys}::text[])`);
      if (rows.length === 0) return null;
      bounds.push(sql`x.${j.jobId} = any(${writeArray(rows.map(({ id }) => id))}::uuid[])`);
    }
  }
  for (const any of ofBatches) {
    const ids = writeArray(any.map(({ first }) => first));
    const rows = await tx.execute<{ first: string; last: string }>(sql`
      select ${b.firstJobId}::text as first, ${b.lastJobId}::text as last from ${batches}
      where ${b.orgId} = ${orgId}::uuid and ${b.batchId} = any(${ids}::uuid[])`);
    if (rows.length === 0) return null;
    bounds.push(...within(rows));
  }
  return bounds;
}

function within(ranges: readonly IdRange[]): SQL[] {
  const last = ranges.map((one) => one.last).reduce((a, b) => (a > b ? a : b));
  return [sql`x.${j.jobId} >= ${least(ranges)}::uuid`, sql`x.${j.jobId} <= ${last}::uuid`];
}

function least(ranges: readonly IdRange[]): string {
  return ranges.map((one) => one.first).reduce((a, b) => (a < b ? a : b));
}

// An id begins with the time at which it was made.
async function ageBounds(tx: Tx, operator: string, ms: number): Promise<SQL[]> {
  const [row] = await tx.execute<{ ms: number }>(
    sql`select (extract(epoch from ${clock}) * 1000)::float8 as ms`,
  );
  const atMs = Math.max(0, Math.round((row?.ms ?? 0) - ms));
  const isYounger = operator.startsWith("<");
  const hex = Math.max(0, isYounger ? atMs - slackMs : atMs + slackMs)
    .toString(16)
    .padStart(12, "0");
  const id = `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
  return [sql`x.${j.jobId} ${isYounger ? sql`>=` : sql`<=`} ${id}::uuid`];
}
