import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { inOrg, type Tx } from "./database.ts";
import { sql } from "./drizzle.ts";

/**
 * Runs several reads of one org that all see the same moment. It cannot write, and takes no
 * transaction id, so it never holds the change feed back.
 */
export function readOrg<T>(db: PostgresJsDatabase, orgId: string, body: (tx: Tx) => Promise<T>): Promise<T> {
  return inOrg(db, orgId, async (tx) => {
    await tx.execute(sql`set transaction isolation level repeatable read, read only`);
    return body(tx);
  });
}

/**
 * The same, for reads of a few rows among very many: whatever the statistics say, they go along an index, and
 * what is asked for in the order of an index is not sorted.
 */
export function readOrgByIndex<T>(
  db: PostgresJsDatabase,
  orgId: string,
  body: (tx: Tx) => Promise<T>,
): Promise<T> {
  return readOrg(db, orgId, async (tx) => {
    await goByIndex(tx);
    return body(tx);
  });
}

/** Makes the reads of a transaction that follow go along indexes. */
export async function goByIndex(tx: Tx): Promise<void> {
  await tx.execute(
    sql.raw("set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_sort = off"),
  );
}
