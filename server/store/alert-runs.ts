import { JobState } from "../domain/rules/states.ts";
import { readHorizon } from "./changes.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import { changeNames as c, jobNames as j } from "./names.ts";
import { changes, jobs } from "./schema.ts";

/** Which ended runs are read: patterns of `like`, null for any. */
export interface RunSelection {
  readonly cursor: string;
  readonly queue: string | null;
  readonly kind: string | null;
  readonly project: string | null;
  readonly groupBy: "none" | "kind" | "queue" | "project";
}

/** What runs of a group came to, in the order in which they were committed. */
export interface EndedRuns {
  readonly group: string;
  /** Succeeded or dead. */
  readonly ended: number;
  readonly dead: number;
  /** Dead ones since the last that succeeded. */
  readonly trailing: number;
  readonly hasSucceeded: boolean;
  /** The newest five that are dead. */
  readonly jobIds: readonly string[];
}

/** A piece of what ended after a place of the change feed. */
export interface RunPage {
  readonly groups: readonly EndedRuns[];
  readonly cursor: string;
  /** There is more now. */
  readonly isMore: boolean;
}

/** Rows of the feed that one piece reads: each is of a flush, with up to some hundred jobs. */
const pageRows = 300;
/** Groups that a piece tells apart at most. */
const mostGroups = 1_000;

/**
 * The runs that ended after a place of the change feed: each exactly once, whoever reads, as long as the place moves on
 * in the transaction that keeps what was counted. Where what comes next was dropped, it goes on with the oldest that is
 * kept; a place of another epoch goes on at the end.
 */
export async function readEndedRuns(tx: Tx, orgId: string, selection: RunSelection): Promise<RunPage> {
  const { epoch, xmin } = await readHorizon(tx);
  const end = `${epoch}.${xmin}.0`;
  const from = placeOf(selection.cursor);
  if (from?.epoch !== epoch) return { groups: [], cursor: end, isMore: false };
  const place = sql`(x.${c.xid}, x.${c.n}) > (${String(from.xid)}::xid8, ${from.n}::smallint)`;
  const [last] = await tx.execute<{ xid: string; n: number; rows: number }>(sql`
    select p.xid::text as xid, p.n, p.place::int as rows from (
      select x.${c.xid} as xid, x.${c.n} as n, row_number() over (order by x.${c.xid}, x.${c.n}) as place
      from ${changes} x where x.${c.orgId} = ${orgId}::uuid and ${place} and x.${c.xid} < ${xmin}::xid8
      order by x.${c.xid}, x.${c.n} limit ${pageRows}) p
    order by p.place desc limit 1`);
  if (last === undefined) {
    const isAhead = BigInt(xmin) > from.xid;
    return { groups: [], cursor: isAhead ? end : selection.cursor, isMore: false };
  }
  const { queue, kind, project, groupBy } = selection;
  const group = {
    none: sql`''`,
    kind: sql`j.${j.kind}`,
    queue: sql`j.${j.queue}`,
    project: sql`coalesce(j.${j.project}, '')`,
  };
  const rows = await tx.execute<{
    group: string;
    ended: number;
    dead: number;
    trailing: number;
    succeeded: boolean;
    jobs: string[] | null;
  }>(sql`
    with ends as materialized (
      select u.job, u.state, x.${c.xid} as xid, x.${c.n} as n, u.place from ${changes} x,
        unnest(x.${c.jobIds}, x.${c.states}) with ordinality as u(job, state, place)
      where x.${c.orgId} = ${orgId}::uuid and ${place}
        and (x.${c.xid}, x.${c.n}) <= (${last.xid}::xid8, ${last.n}::smallint)
        and u.state in (${sql.raw(`${JobState.succeeded}, ${JobState.dead}`)})
    ), runs as (
      select e.*, left(${group[groupBy]}, 300) as grp from ends e
      join ${jobs} j on j.${j.orgId} = ${orgId}::uuid and j.${j.jobId} = e.job
      where (${queue}::text is null or j.${j.queue} like ${queue}::text)
        and (${kind}::text is null or j.${j.kind} like ${kind}::text)
        and (${project}::text is null or coalesce(j.${j.project}, '') like ${project}::text)
    ), placed as (
      select r.*, sum(case when r.state = ${sql.raw(String(JobState.succeeded))} then 1 else 0 end)
        over (partition by r.grp order by r.xid desc, r.n desc, r.place desc) as later from runs r
    )
    select p.grp as "group", count(*)::int as ended, count(*) filter (where ${isDead})::int as dead,
      count(*) filter (where ${isDead} and p.later = 0)::int as trailing, bool_or(not ${isDead}) as succeeded,
      (array_agg(p.job::text order by p.xid desc, p.n desc, p.place desc) filter (where ${isDead}))[1:5] as jobs
    from placed p group by p.grp order by count(*) filter (where ${isDead}) desc, p.grp limit ${mostGroups}`);
  return {
    groups: rows.map(({ jobs: dead, succeeded, ...row }) => ({
      ...{ group: row.group, ended: row.ended, dead: row.dead, trailing: row.trailing },
      hasSucceeded: succeeded,
      jobIds: dead ?? [],
    })),
    cursor: `${epoch}.${last.xid}.${last.n}`,
    isMore: last.rows >= pageRows,
  };
}

const isDead = sql`p.state = ${sql.raw(String(JobState.dead))}`;

function placeOf(cursor: string): { epoch: number; xid: bigint; n: number } | null {
  const match = /^(\d{1,15})\.(\d{1,19})\.(\d{1,5})$/.exec(cursor);
  return match === null ? null : { epoch: Number(match[1]), xid: BigInt(match[2] ?? 0), n: Number(match[3]) };
}
