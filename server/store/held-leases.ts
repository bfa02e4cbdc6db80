import type { Tx } from "./database.ts";
import { and, eq, inArray, isNotNull, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { jobQueue, shapes } from "./schema.ts";

/** The leases of workers, as the store has them. */
export async function leasesOf(tx: Tx, orgId: string, workerIds: readonly string[]) {
  const rows = await tx
    .select({
      jobId: jobQueue.jobId,
      attempt: jobQueue.attempt,
      leaseId: jobQueue.leaseId,
      workerId: jobQueue.workerId,
      points: jobQueue.points,
      isAlone: sql<boolean>`coalesce(${shapes.alone}, false)`,
      isRunning: sql<boolean>`${jobQueue.state} = 5`,
      isCancelRequested: isNotNull(jobQueue.cancelRequestedAt).mapWith(Boolean),
      reason: sql<string>`coalesce(${jobQueue.reason}, '')`,
      ageMs: sql<number>`(extract(epoch from ${clock} - ${jobQueue.grantedAt}) * 1000)::float8`,
      leaseTtlMs: jobQueue.leaseTtlMs,
      reclaimAfterMs: jobQueue.reclaimAfterMs,
    })
    .from(jobQueue)
    .leftJoin(shapes, and(eq(shapes.orgId, jobQueue.orgId), eq(shapes.shapeId, jobQueue.shapeId)))
    .where(and(eq(jobQueue.orgId, orgId), inArray(jobQueue.workerId, [...workerIds])));
  return rows.flatMap((row) =>
    row.leaseId === null || row.workerId === null
      ? []
      : [{ ...row, leaseId: row.leaseId, workerId: row.workerId }],
  );
}

/** Running leases of workers that somebody wants cancelled. */
export async function cancelsOf(tx: Tx, orgId: string, workerIds: readonly string[]) {
  return tx
    .select({ leaseId: jobQueue.leaseId, reason: sql<string>`coalesce(${jobQueue.reason}, '')` })
    .from(jobQueue)
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        isNotNull(jobQueue.cancelRequestedAt),
        inArray(jobQueue.workerId, [...workerIds]),
      ),
    );
}
