import { JobState } from "../domain/rules/states.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import type { JobFilter } from "./job-lists.ts";
import { jobConditions, joinLive } from "./job-scans.ts";
import { termConditions } from "./job-terms.ts";
import { jobNames as j, queueNames as q } from "./names.ts";
import { jobQueue, jobs } from "./schema.ts";

/** A place in the order in which ready jobs are offered. */
export interface ReadyPlace {
  readonly priority: number;
  /** Microseconds since 1970, in decimal digits. */
  readonly readyAtMicros: string;
  readonly jobId: string;
}

/** Ready jobs in the order in which they are offered. */
export interface RunnablePage {
  readonly ids: readonly string[];
  /** After which the next page begins; null at the end. */
  readonly next: ReadyPlace | null;
}

const ready = sql.raw(String(JobState.ready));

// Before all others: no priority is above 255.
const start: ReadyPlace = {
  priority: 256,
  readyAtMicros: "0",
  jobId: "00000000-0000-0000-0000-000000000000",
};

/**
 * The ready jobs of some shapes that a filter lets through, after a place, in the order in which they are offered.
 *
 * Read in windows along the line of each shape. A page whose matches are rare ends early, with the place to go on.
 */
export async function readRunnableIds(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  {
    shapeIds,
    after,
    limit,
    mostExamined = 20_000,
  }: {
    readonly shapeIds: readonly bigint[];
    readonly after: ReadyPlace | null;
    readonly limit: number;
    /** How many rows the page may look at before it ends, full or not. */
    readonly mostExamined?: number;
  },
): Promise<RunnablePage> {
  const found: ReadyPlace[] = [];
  let place = after ?? start;
  let examined = 0;
  while (shapeIds.length > 0) {
    const rows = limit + 1 - found.length;
    const window = await readWindow(tx, orgId, filter, { shapeIds, after: place, rows });
    found.push(...window.filter(({ isMatch }) => isMatch));
    if (found.length > limit) {
      return { ids: found.slice(0, limit).map(({ jobId }) => jobId), next: found[limit - 1] ?? null };
    }
    const last = window.at(-1);
    if (last === undefined || window.length < rows) break;
    place = last;
    examined += window.length;
    if (examined >= mostExamined) return { ids: found.map(({ jobId }) => jobId), next: place };
  }
  return { ids: found.map(({ jobId }) => jobId), next: null };
}

async function readWindow(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  {
    shapeIds,
    after,
    rows,
  }: { readonly shapeIds: readonly bigint[]; readonly after: ReadyPlace; readonly rows: number },
) {
  const inLine = sql`r.${q.orgId} = ${orgId}::uuid and r.${q.shapeId} = s.id and r.${q.state} = ${ready}`;
  const of = sql`r.${q.jobId} as job, r.${q.priority} as priority, r.${q.readyAt} as ready`;
  const order = sql`order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit ${rows}`;
  const readyAt = sql`timestamptz 'epoch' + ${after.readyAtMicros}::bigint * interval '1 microsecond'`;
  const terms = filter.terms.filter((term) => term.type !== "holder");
  const conditions = [...jobConditions(filter), ...termConditions(orgId, terms, false)];
  const isMatch =
    conditions.length === 0
      ? sql`true`
      : sql`exists (select 1 from ${jobs} d ${joinLive(orgId, sql`d.${j.jobId}`, false)} where d.${j.orgId} = ${orgId}::uuid and d.${j.jobId} = w.job
          and ${sql.join(conditions, sql` and `)})`;
  // Two ranges of the index a shape: an "or" of both would be a filter over the whole line.
  return tx.execute<{ jobId: string; priority: number; readyAtMicros: string; isMatch: boolean }>(sql`
    with w as materialized (
      select h.job, h.priority, h.ready from unnest(${`{${shapeIds.join(",")}}`}::bigint[]) as s(id)
      cross join lateral (
        (select ${of} from ${jobQueue} r where ${inLine} and r.${q.priority} = ${after.priority}
          and (r.${q.readyAt}, r.${q.jobId}) > (${readyAt}, ${after.jobId}::uuid) ${order})
        union all
        (select ${of} from ${jobQueue} r where ${inLine} and r.${q.priority} < ${after.priority} ${order})
      ) h
      order by h.priority desc, h.ready, h.job limit ${rows}
    )
    select w.job::text as "jobId", w.priority as priority,
      (extract(epoch from w.ready) * 1000000)::bigint::text as "readyAtMicros", ${isMatch} as "isMatch"
    from w order by w.priority desc, w.ready, w.job`);
}
