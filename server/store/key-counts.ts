import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import { keyCounts } from "./schema-fleet.ts";
import { names, param, statement } from "./statement.ts";

const k = names(keyCounts);

/** What of a key is counted. */
export type Counted = "calls" | "jobs";

/** How long what is counted is counted together, by the database's clock: from a full minute, from midnight UTC. */
const spans = { calls: "minute", jobs: "day" } as const;

/**
 * Counts so many, whole or not at all: null when that would be more than `limit` in the present minute or day, and
 * then how long it still is. Any number of coordinators may count the same key at once: they wait for its row.
 */
export async function countKey(
  tx: Tx,
  {
    orgId,
    keyId,
    counted,
    by,
    limit,
  }: {
    readonly orgId: string;
    readonly keyId: string;
    readonly counted: Counted;
    readonly by: number;
    readonly limit: number;
  },
): Promise<{ readonly isCounted: boolean; readonly leftMs: number }> {
  const span = spans[counted];
  const start = sql`date_trunc(${span}, ${now}, 'UTC')`;
  const isNew = sql`x.${k.startedAt} < excluded.${k.startedAt}`;
  const sum = sql`case when ${isNew} then 0 else x.${k.used} end + excluded.${k.used}`;
  const rows = await tx.execute(sql`
    insert into ${keyCounts} as x (${k.orgId}, ${k.keyId}, ${k.counted}, ${k.startedAt}, ${k.used})
    select ${orgId}::uuid, ${keyId}::text, ${counted}::text, ${start}, ${by}::bigint where ${by}::bigint <= ${limit}::bigint
    on conflict (${k.orgId}, ${k.keyId}, ${k.counted}) do update
      set ${k.used} = ${sum}, ${k.startedAt} = greatest(x.${k.startedAt}, excluded.${k.startedAt})
      where ${sum} <= ${limit}::bigint
    returning ${k.used}`);
  if (rows.length > 0) return { isCounted: true, leftMs: 0 };
  const [left] = await tx.execute(sql`
    select ceil(extract(epoch from ${start} + ${`1 ${span}`}::interval - ${now}) * 1000)::float8 as left_ms`);
  return { isCounted: false, leftMs: Math.max(1, Number(left?.["left_ms"])) };
}

/** Drops what was counted in minutes and days that are over. Parameters: org, limit. */
export const dropKeyCounts = statement(sql`
  delete from ${keyCounts} x where x.${k.orgId} = ${param("org")}::uuid and x.${k.keyId} = any(array(
    select o.${k.keyId} from ${keyCounts} o where o.${k.orgId} = ${param("org")}::uuid
      and o.${k.startedAt} < ${now} - interval '2 days'
    limit ${param("limit")}::int)) and x.${k.startedAt} < ${now} - interval '2 days'
  returning 1 as dropped`);
