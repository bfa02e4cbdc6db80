import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, isNotNull, sql } from "./drizzle.ts";
import { attempts, jobQueue } from "./schema.ts";
import { workers } from "./schema-fleet.ts";

/** Ended executions of a job, oldest first, after an attempt number. */
export function readAttempts(
  tx: Tx,
  orgId: string,
  jobId: string,
  { after, limit }: { readonly after: number; readonly limit: number },
) {
  return tx
    .select({
      jobId: attempts.jobId,
      attempt: attempts.attempt,
      generation: attempts.generation,
      leaseId: attempts.leaseId,
      workerId: attempts.workerId,
      workerName: workers.name,
      grantedAt: attempts.grantedAt,
      endedAt: attempts.endedAt,
      outcome: attempts.outcome,
      isFinal: attempts.final,
      result: attempts.result,
      errorCode: attempts.errorCode,
      errorMessage: attempts.errorMessage,
      errorDetail: attempts.errorDetail,
      prUrl: attempts.prUrl,
      sessionId: attempts.sessionId,
      isolation: attempts.isolation,
      profile: attempts.profile,
    })
    .from(attempts)
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, attempts.workerId)))
    .where(and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobId), gt(attempts.attempt, after)))
    .orderBy(asc(attempts.attempt))
    .limit(limit);
}

/** An ended execution. */
export type AttemptRow = Awaited<ReturnType<typeof readAttempts>>[number];

/** The execution of a job that lasts; null when the job is not leased. */
export async function readLease(tx: Tx, orgId: string, jobId: string) {
  const [row] = await tx
    .select({
      jobId: jobQueue.jobId,
      attempt: jobQueue.attempt,
      generation: jobQueue.generation,
      leaseId: jobQueue.leaseId,
      workerId: jobQueue.workerId,
      workerName: workers.name,
      grantedAt: jobQueue.grantedAt,
      sessionId: jobQueue.sessionId,
    })
    .from(jobQueue)
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, jobQueue.workerId)))
    .where(and(eq(jobQueue.orgId, orgId), eq(jobQueue.jobId, jobId), isNotNull(jobQueue.leaseId)));
  return row ?? null;
}

/** A lasting execution. */
export type LeaseRow = NonNullable<Awaited<ReturnType<typeof readLease>>>;

/** How far the record of each ended attempt of a job must reach, oldest first, from an attempt number on. */
export function readAttemptEnds(tx: Tx, orgId: string, jobId: string, from: number) {
  return tx
    .select({
      attempt: attempts.attempt,
      /** What its result declared; null when it ended without one. */
      lastSequence: attempts.lastSequence,
      endedAt: attempts.endedAt,
      endedMsAgo: sql<number>`extract(epoch from ${now} - ${attempts.endedAt})::float8 * 1000`,
    })
    .from(attempts)
    .where(and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobId), sql`${attempts.attempt} >= ${from}`))
    .orderBy(asc(attempts.attempt));
}

/** Whether a job has a live row: its run has not ended. */
export async function isLive(tx: Tx, orgId: string, jobId: string): Promise<boolean> {
  const rows = await tx
    .select({ jobId: jobQueue.jobId })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), eq(jobQueue.jobId, jobId)));
  return rows.length > 0;
}

/** The attempt of a job that is current, or was the last; 0 before the first. */
export async function readCurrentAttempt(tx: Tx, orgId: string, jobId: string): Promise<number> {
  const [live] = await tx
    .select({ attempt: jobQueue.attempt })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), eq(jobQueue.jobId, jobId)));
  if (live) return live.attempt;
  const [ended] = await tx
    .select({ attempt: sql<number>`coalesce(max(${attempts.attempt}), 0)` })
    .from(attempts)
    .where(and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobId)));
  return Number(ended?.attempt ?? 0);
}
