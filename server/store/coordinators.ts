import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { version } from "../version.ts";
import { eq, lt, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { cluster, coordinators } from "./schema-fleet.ts";

/** Shows that a coordinator lives; forgets those that have not for an hour. */
export async function upsertCoordinator(
  db: PostgresJsDatabase,
  row: { readonly coordinatorId: string; readonly apiAddress: string; readonly links: number },
): Promise<void> {
  await db
    .insert(coordinators)
    .values({ ...row, version, seenAt: clock })
    .onConflictDoUpdate({ target: coordinators.coordinatorId, set: { ...row, seenAt: clock } });
  await db.delete(coordinators).where(lt(coordinators.seenAt, sql`${clock} - interval '1 hour'`));
}

/** Takes a coordinator that stops off the list. */
export async function removeCoordinator(db: PostgresJsDatabase, coordinatorId: string): Promise<void> {
  await db.delete(coordinators).where(eq(coordinators.coordinatorId, coordinatorId));
}

/** The cluster's epoch, and the database's clock in milliseconds. */
export async function readCluster(db: PostgresJsDatabase): Promise<{ epoch: number; nowMs: number }> {
  const [row] = await db
    .select({ epoch: cluster.epoch, nowMs: sql<number>`(extract(epoch from ${clock}) * 1000)::float8` })
    .from(cluster);
  return { epoch: row?.epoch ?? 1, nowMs: row?.nowMs ?? Date.now() };
}
