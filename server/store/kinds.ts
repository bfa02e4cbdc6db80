import type { Tx } from "./database.ts";
import { and, asc, eq, sql } from "./drizzle.ts";
import { links, workers } from "./schema-fleet.ts";

/** Names of workers that are connected and serve a kind, at most so many, and how many there are in all. */
export async function readServing(
  tx: Tx,
  orgId: string,
  { kind, limit }: { readonly kind: string; readonly limit: number },
): Promise<{ readonly names: readonly string[]; readonly count: number }> {
  const rows = await tx
    .select({ name: workers.name, count: sql<number>`(count(*) over ())::int` })
    .from(links)
    .innerJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, links.workerId)))
    .where(
      and(eq(links.orgId, orgId), eq(links.isAttached, true), sql`${kind}::text = any(${workers.kinds})`),
    )
    .orderBy(asc(workers.name))
    .limit(limit);
  return { names: rows.map(({ name }) => name), count: rows[0]?.count ?? 0 };
}

/** A kind that workers registered. */
export interface ServedKind {
  readonly kind: string;
  /** Workers that are connected, by name: the first ones. */
  readonly names: readonly string[];
  /** How many are. */
  readonly count: number;
}

/** Every kind that workers of an org registered, connected or not, with so many names of those that are at most. */
export async function readServed(tx: Tx, orgId: string, limit: number): Promise<ServedKind[]> {
  const rows = await tx
    .select({
      kind: sql<string>`u.kind`,
      names: sql<string[]>`coalesce((array_agg(${workers.name} order by ${workers.name})
        filter (where ${links.isAttached}))[1:${limit}::int], '{}')`,
      count: sql<number>`(count(*) filter (where ${links.isAttached}))::int`,
    })
    .from(workers)
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, workers.workerId)))
    .innerJoin(sql`lateral unnest(${workers.kinds}) u(kind)`, sql`true`)
    .where(eq(workers.orgId, orgId))
    .groupBy(sql`u.kind`);
  return rows;
}
