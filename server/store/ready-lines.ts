import type { InternedShape } from "../domain/rules/shapes.ts";
import { JobState } from "../domain/rules/states.ts";
import type { Tx } from "./database.ts";
import { and, eq, sql } from "./drizzle.ts";
import { internedShape } from "./explain.ts";
import { queueNames as q } from "./names.ts";
import { jobQueue, shapes } from "./schema.ts";

const ready = sql.raw(String(JobState.ready));

/** The ready jobs of one shape. */
export interface ReadyLineRow {
  readonly shape: InternedShape;
  /** The one that would be offered first. */
  readonly jobId: string;
  readonly priority: number;
  readonly readyAt: Date;
}

/**
 * The shapes that have ready jobs, up to `limit`: found by skipping through the ready index from shape to shape, one
 * probe each, however many jobs wait.
 */
export async function readReadyShapes(tx: Tx, orgId: string, limit: number): Promise<InternedShape[]> {
  const rows = await tx.execute<{ id: string }>(sql`
    with recursive ${found(orgId)} select f.id::text as id from found f where f.id is not null limit ${limit}`);
  return [...(await readShapes(tx, orgId, rows.map(idOf))).values()];
}

/** The same, with their first jobs. */
export async function readReadyLines(tx: Tx, orgId: string, limit: number): Promise<ReadyLineRow[]> {
  const rows = await tx.execute<{ id: string; job: string; priority: number; ready: number }>(sql`
    with recursive ${found(orgId)}, lines as (
      select f.id from found f where f.id is not null limit ${limit}
    )
    select l.id::text as id, h.job::text as job, h.priority as priority, ${epochMs(sql`h.ready`)} as ready
    from lines l cross join lateral (
      select r.${q.jobId} as job, r.${q.priority} as priority, r.${q.readyAt} as ready from ${jobQueue} r
      where r.${q.orgId} = ${orgId}::uuid and r.${q.shapeId} = l.id and r.${q.state} = ${ready}
      order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit 1
    ) h`);
  const known = await readShapes(tx, orgId, rows.map(idOf));
  return rows.flatMap(({ id, job, priority, ready }) => {
    const shape = known.get(BigInt(id));
    return shape === undefined ? [] : [{ shape, jobId: job, priority, readyAt: new Date(ready) }];
  });
}

/**
 * Since when the job that waits longest of each shape is ready, by shape: one probe a priority, because the line of a
 * shape is in the order of priorities first.
 */
export async function oldestReady(
  tx: Tx,
  orgId: string,
  shapeIds: readonly bigint[],
): Promise<ReadonlyMap<bigint, Date>> {
  if (shapeIds.length === 0) return new Map();
  const next = (below: ReturnType<typeof sql>) => sql`
    select r.${q.priority} as priority, r.${q.readyAt} as ready from ${jobQueue} r
    where r.${q.orgId} = ${orgId}::uuid and r.${q.shapeId} = s.id and r.${q.state} = ${ready} and r.${q.priority} < ${below}
    order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit 1`;
  const rows = await tx.execute<{ id: string; ready: number }>(sql`
    select s.id::text as id, ${epochMs(sql`o.oldest`)} as ready from ${listOf(shapeIds)} as s(id) cross join lateral (
      with recursive levels as (
        (${next(sql`256`)})
        union all
        select n.priority, n.ready from levels v cross join lateral (${next(sql`v.priority`)}) n
      )
      select min(ready) as oldest from levels
    ) o where o.oldest is not null`);
  return new Map(rows.map(({ id, ready }) => [BigInt(id), new Date(ready)]));
}

/** How many jobs of each shape are ready, in the order of the shapes: counted up to `most` each. */
export async function countReady(
  tx: Tx,
  orgId: string,
  shapeIds: readonly bigint[],
  most: number,
): Promise<number[]> {
  if (shapeIds.length === 0) return [];
  const rows = await tx.execute<{ count: number }>(sql`
    select (select count(*)::int from (
      select 1 from ${jobQueue} r
      where r.${q.orgId} = ${orgId}::uuid and r.${q.shapeId} = s.id and r.${q.state} = ${ready}
      order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit ${most}) c) as count
    from ${listOf(shapeIds)} with ordinality as s(id, place) order by s.place`);
  return rows.map(({ count }) => count);
}

/** The first ready jobs of some shapes, up to `limit` of each, in their order. */
export async function firstReady(
  tx: Tx,
  orgId: string,
  shapeIds: readonly bigint[],
  limit: number,
): Promise<ReadonlyMap<bigint, readonly string[]>> {
  if (shapeIds.length === 0) return new Map();
  const rows = await tx.execute<{ id: string; jobs: string[] }>(sql`
    select s.id::text as id, array(
      select r.${q.jobId}::text from ${jobQueue} r
      where r.${q.orgId} = ${orgId}::uuid and r.${q.shapeId} = s.id and r.${q.state} = ${ready}
      order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit ${limit}) as jobs
    from ${listOf(shapeIds)} as s(id)`);
  return new Map(rows.map(({ id, jobs }) => [BigInt(id), jobs]));
}

/** How many ready jobs of some shapes go before a job, counted up to `most` in all. */
export async function countAhead(
  tx: Tx,
  orgId: string,
  {
    shapeIds,
    jobId,
    most,
  }: { readonly shapeIds: readonly bigint[]; readonly jobId: string; readonly most: number },
): Promise<number> {
  if (shapeIds.length === 0) return 0;
  const inLine = sql`r.${q.orgId} = ${orgId}::uuid and r.${q.shapeId} = s.id and r.${q.state} = ${ready}`;
  const inOrder = sql`r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId}`;
  // Two ranges of the index: an "or" of both would be a filter over the whole line.
  const [row] = await tx.execute<{ count: number }>(sql`
    with own as materialized (
      select o.${q.priority} as priority, o.${q.readyAt} as ready, o.${q.jobId} as job from ${jobQueue} o
      where o.${q.orgId} = ${orgId}::uuid and o.${q.jobId} = ${jobId}::uuid
    )
    select count(*)::int as count from (
      select 1 from ${listOf(shapeIds)} as s(id) cross join lateral (
        (select 1 from ${jobQueue} r where ${inLine} and r.${q.priority} > (select priority from own)
          order by ${inOrder} limit ${most})
        union all
        (select 1 from ${jobQueue} r where ${inLine} and r.${q.priority} = (select priority from own)
          and (r.${q.readyAt}, r.${q.jobId}) < ((select ready from own), (select job from own))
          order by ${inOrder} limit ${most})
      ) x limit ${most}
    ) c`);
  return row?.count ?? 0;
}

// The ids of the shapes, and a null at the end.
function found(orgId: string) {
  const first = (after: ReturnType<typeof sql>) => sql`
    select r.${q.shapeId} from ${jobQueue} r
    where r.${q.orgId} = ${orgId}::uuid and r.${q.state} = ${ready}${after} order by r.${q.shapeId} limit 1`;
  return sql`found as (
    select (${first(sql``)}) as id
    union all
    select (${first(sql` and r.${q.shapeId} > found.id`)}) from found where found.id is not null
  )`;
}

async function readShapes(
  tx: Tx,
  orgId: string,
  shapeIds: readonly bigint[],
): Promise<ReadonlyMap<bigint, InternedShape>> {
  if (shapeIds.length === 0) return new Map();
  const rows = await tx
    .select()
    .from(shapes)
    // One parameter: a thousand of them take longer to be read than the rows.
    .where(
      and(eq(shapes.orgId, orgId), sql`${shapes.shapeId} = any(${`{${shapeIds.join(",")}}`}::bigint[])`),
    );
  return new Map(rows.map((row) => [row.shapeId, internedShape(row)]));
}

function listOf(ids: readonly bigint[]) {
  return sql`unnest(${`{${ids.join(",")}}`}::bigint[])`;
}

function epochMs(time: ReturnType<typeof sql>) {
  return sql`(extract(epoch from ${time}) * 1000)::float8`;
}

function idOf({ id }: { readonly id: string }): bigint {
  return BigInt(id);
}
