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
