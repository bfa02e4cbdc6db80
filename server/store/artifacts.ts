import type { Tx } from "./database.ts";
import { and, asc, eq, gt } from "./drizzle.ts";
import { artifacts, jobQueue } from "./schema.ts";

/** The lease that a worker says it holds. */
export interface LeaseFence {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string;
  readonly workerId: string;
}

/**
 * Whether a lease is current. With `isLocked` it stays so until the end of the transaction: what ends it
 * waits for us.
 */
export async function isCurrentLease(
  tx: Tx,
  orgId: string,
  fence: LeaseFence,
  { isLocked }: { readonly isLocked: boolean },
): Promise<boolean> {
  const query = tx
    .select({ jobId: jobQueue.jobId })
    .from(jobQueue)
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        eq(jobQueue.jobId, fence.jobId),
        eq(jobQueue.attempt, fence.attempt),
        eq(jobQueue.leaseId, fence.leaseId),
        eq(jobQueue.workerId, fence.workerId),
      ),
    );
  const rows = await (isLocked ? query.for("share") : query);
  return rows.length > 0;
}

/** An artifact as it is kept. */
export type ArtifactRow = typeof artifacts.$inferSelect;

/** Keeps an artifact. Null when its id is taken: then nothing changed. */
export async function insertArtifact(
  tx: Tx,
  row: Omit<ArtifactRow, "createdAt">,
): Promise<ArtifactRow | null> {
  const [inserted] = await tx.insert(artifacts).values(row).onConflictDoNothing().returning();
  return inserted ?? null;
}

/** An artifact; null when the org has none of this id. */
export async function readArtifact(tx: Tx, orgId: string, artifactId: string): Promise<ArtifactRow | null> {
  const [row] = await tx
    .select()
    .from(artifacts)
    .where(and(eq(artifacts.orgId, orgId), eq(artifacts.artifactId, artifactId)));
  return row ?? null;
}

/** Artifacts of a job, oldest first. */
export function readArtifacts(
  tx: Tx,
  orgId: string,
  jobId: string,
  { after, limit }: { readonly after: string | null; readonly limit: number },
): Promise<ArtifactRow[]> {
  return tx
    .select()
    .from(artifacts)
    .where(
      and(
        eq(artifacts.orgId, orgId),
        eq(artifacts.jobId, jobId),
        after === null ? undefined : gt(artifacts.artifactId, after),
      ),
    )
    .orderBy(asc(artifacts.artifactId))
    .limit(limit);
}
