import type { Tx } from "./database.ts";
import { and, desc, eq, lt, sql } from "./drizzle.ts";
import { batches, jobQueue } from "./schema.ts";

/** Batches, newest first: one of them, or a page. */
export function readBatches(
  tx: Tx,
  orgId: string,
  selection: { readonly batchId: string } | { readonly before: string | null; readonly limit: number },
) {
  const isOne = "batchId" in selection;
  const before = isOne || selection.before === null ? undefined : lt(batches.batchId, selection.before);
  return tx
    .select()
    .from(batches)
    .where(and(eq(batches.orgId, orgId), isOne ? eq(batches.batchId, selection.batchId) : before))
    .orderBy(desc(batches.batchId))
    .limit(isOne ? 1 : selection.limit);
}

/** A batch as it is kept. */
export type BatchRow = Awaited<ReturnType<typeof readBatches>>[number];

/** Counts the jobs of a batch that have not ended, by state: read along the range of their ids. */
export function countLive(
  tx: Tx,
  orgId: string,
  { batchId, firstJobId, lastJobId }: Pick<BatchRow, "batchId" | "firstJobId" | "lastJobId">,
) {
  return tx
    .select({ state: jobQueue.state, count: sql<number>`count(*)::int` })
    .from(jobQueue)
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        sql`${jobQueue.jobId} between ${firstJobId}::uuid and ${lastJobId}::uuid`,
        eq(jobQueue.batchId, batchId),
      ),
    )
    .groupBy(jobQueue.state);
}
