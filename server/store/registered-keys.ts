import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { sql } from "./drizzle.ts";

/** What keys that were hashed elsewhere begin with, in all orgs. */
export async function readRegisteredPrefixes(sweep: PostgresJsDatabase): Promise<string[]> {
  const rows = await sweep.execute(sql`select distinct p.prefix from muster.registered_prefixes() p`);
  return rows.map((row) => String(row["prefix"]));
}
