import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { writeArray } from "./arrays.ts";
import { sql } from "./drizzle.ts";

/** Keys of these orgs that ended within so long: revoked, run out, or their worker disabled. One statement. */
export async function readEndedKeys(
  sweep: PostgresJsDatabase,
  orgIds: readonly string[],
  sinceMs: number,
): Promise<{ readonly orgId: string; readonly keyId: string }[]> {
  const rows = await sweep.execute(
    sql`select * from muster.ended_keys(${writeArray([...orgIds])}::uuid[], ${sinceMs}::bigint)`,
  );
  return rows.map((row) => ({ orgId: String(row["org"]), keyId: String(row["key"]) }));
}

/** What keys that were hashed elsewhere begin with, in all orgs. */
export async function readRegisteredPrefixes(sweep: PostgresJsDatabase): Promise<string[]> {
  const rows = await sweep.execute(sql`select distinct p.prefix from muster.registered_prefixes() p`);
  return rows.map((row) => String(row["prefix"]));
}
