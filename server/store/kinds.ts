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
