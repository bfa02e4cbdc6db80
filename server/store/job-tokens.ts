import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { inOrg } from "./database.ts";
import { and, eq } from "./drizzle.ts";
import { jobQueue } from "./schema.ts";
import { workers } from "./schema-fleet.ts";

/** Who holds a lease that is current; null when it is not. */
export function readLeaseHolder(
  db: PostgresJsDatabase,
  orgId: string,
  lease: { readonly jobId: string; readonly attempt: number; readonly leaseId: string },
): Promise<{ readonly workerId: string; readonly workerName: string } | null> {
  return inOrg(db, orgId, async (tx) => {
    const [row] = await tx
      .select({ workerId: workers.workerId, workerName: workers.name })
      .from(jobQueue)
      .innerJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, jobQueue.workerId)))
      .where(
        and(
          eq(jobQueue.orgId, orgId),
          eq(jobQueue.jobId, lease.jobId),
          eq(jobQueue.attempt, lease.attempt),
          eq(jobQueue.leaseId, lease.leaseId),
        ),
      );
    return row ?? null;
  });
}
