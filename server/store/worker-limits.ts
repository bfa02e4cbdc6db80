import type { OwnerLimits, WeekHours, WorkerLimits } from "../domain/rules/worker-limits.ts";
import type { Tx } from "./database.ts";
import { and, eq, sql } from "./drizzle.ts";
import { workers } from "./schema-fleet.ts";

/** What is changed of what a worker may do; absent: it stays. */
export interface WorkerTerms {
  readonly limits?: WorkerLimits | null;
  readonly newcomerLimits?: WorkerLimits | null;
  readonly maxOpenPrs?: number | null;
  readonly ownerLimits?: OwnerLimits | null;
  readonly hours?: WeekHours | null;
  readonly approval?: "approved" | "rejected";
}

/** Writes what a worker may do. */
export async function updateWorkerTerms(
  tx: Tx,
  orgId: string,
  workerId: string,
  terms: WorkerTerms,
): Promise<void> {
  await tx
    .update(workers)
    .set(terms)
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)));
}

/** Whether the database knows a time zone. */
export async function isTimeZone(tx: Tx, zone: string): Promise<boolean> {
  const rows = await tx.execute(sql`select 1 as known from pg_timezone_names where name = ${zone} limit 1`);
  return rows.length > 0;
}
