import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { version } from "../version.ts";
import { and, eq, gt, lt, ne, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { cluster, coordinators } from "./schema-fleet.ts";

/** Shows that a coordinator lives. Returns the cluster's epoch. */
export async function upsertCoordinator(
  db: PostgresJsDatabase,
  row: { readonly coordinatorId: string; readonly apiAddress: string; readonly links: number },
): Promise<number> {
  const [shown] = await db
    .insert(coordinators)
    .values({ ...row, version, seenAt: clock })
    .onConflictDoUpdate({ target: coordinators.coordinatorId, set: { ...row, seenAt: clock } })
    .returning({ epoch: sql`(select ${cluster.epoch} from ${cluster})`.mapWith(Number) });
  return shown?.epoch ?? 0;
}

/** Forgets coordinators that have not shown life for an hour. */
export async function forgetCoordinators(db: PostgresJsDatabase): Promise<void> {
  await db.delete(coordinators).where(lt(coordinators.seenAt, sql`${clock} - interval '1 hour'`));
}

/** Takes a coordinator that stops off the list. */
export async function removeCoordinator(db: PostgresJsDatabase, coordinatorId: string): Promise<void> {
  await db.delete(coordinators).where(eq(coordinators.coordinatorId, coordinatorId));
}

/** Whether another coordinator showed life within a time. */
export async function hasPeers(
  db: PostgresJsDatabase,
  coordinatorId: string,
  withinMs: number,
): Promise<boolean> {
  const found = await db
    .select({ coordinatorId: coordinators.coordinatorId })
    .from(coordinators)
    .where(
      and(
        ne(coordinators.coordinatorId, coordinatorId),
        gt(coordinators.seenAt, sql`${clock} - ${withinMs}::float8 * interval '1 millisecond'`),
      ),
    )
    .limit(1);
  return found.length > 0;
}

/**
 * Says that committed work may be lost. Coordinators see it within 5 s: workers send results again that they kept,
 * and every watch starts anew. For the owner of the tables; answers with the new epoch.
 */
export async function raiseEpoch(db: PostgresJsDatabase): Promise<number> {
  const [row] = await db
    .update(cluster)
    .set({ epoch: sql`${cluster.epoch} + 1` })
    .returning({ epoch: cluster.epoch });
  if (row === undefined) throw new Error("the database holds no Muster cluster");
  return row.epoch;
}

/** The cluster's epoch, and the database's clock in milliseconds. */
export async function readCluster(db: PostgresJsDatabase): Promise<{ epoch: number; nowMs: number }> {
  const [row] = await db
    .select({ epoch: cluster.epoch, nowMs: sql<number>`(extract(epoch from ${clock}) * 1000)::float8` })
    .from(cluster);
  return { epoch: row?.epoch ?? 1, nowMs: row?.nowMs ?? Date.now() };
}
