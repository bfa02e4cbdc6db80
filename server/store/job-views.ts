import type { Tx } from "./database.ts";
import { and, desc, eq, inArray, sql } from "./drizzle.ts";
import { attempts, jobKeys, jobQueue, jobs, progress } from "./schema.ts";
import { workers } from "./schema-fleet.ts";

/**
 * Jobs with all that is known of them, in no order: what was asked, the live row or else the last
 * attempt, which then is the final one of the latest run. One statement, so one moment. A live row
 * wins: a job that is replayed has final attempts, too.
 *
 * A job that is being removed may have lost its history first: it is not there any more.
 */
export async function readJobs(
  tx: Tx,
  orgId: string,
  jobIds: readonly string[],
  { isFull }: { readonly isFull: boolean },
) {
  if (jobIds.length === 0) return [];
  const last = tx
    .select({
      attempt: attempts.attempt,
      generation: attempts.generation,
      grantedAt: attempts.grantedAt,
      endedAt: attempts.endedAt,
      workerId: attempts.workerId,
      state: attempts.state,
      failures: attempts.failures,
      losses: attempts.losses,
      releases: attempts.releases,
      result: sql<Uint8Array | null>`case when ${isFull} then ${attempts.result} end`.as("result"),
      errorCode: attempts.errorCode,
      errorMessage: attempts.errorMessage,
      errorDetail: attempts.errorDetail,
      prUrl: attempts.prUrl,
      reason: attempts.reason,
      sessionId: attempts.sessionId,
    })
    .from(attempts)
    .where(and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobs.jobId)))
    .orderBy(desc(attempts.attempt))
    .limit(1)
    .as("last");
  return tx
    .select({
      asked: {
        jobId: jobs.jobId,
        batchId: jobs.batchId,
        parentJobId: jobs.parentJobId,
        createdAt: jobs.createdAt,
        payload: sql<Uint8Array | null>`case when ${isFull} then ${jobs.payload} end`,
        kind: jobs.kind,
        title: jobs.title,
        queue: jobs.queue,
        priority: jobs.priority,
        points: jobs.points,
        skills: jobs.skills,
        instructions: jobs.instructions,
        labels: jobs.labels,
        project: jobs.project,
        pool: jobs.pool,
        externalId: jobs.externalId,
        runAt: jobs.runAt,
        deadline: jobs.deadline,
        softTimeoutMs: jobs.softTimeoutMs,
        hardTimeoutMs: jobs.hardTimeoutMs,
        leaseTtlMs: jobs.leaseTtlMs,
        reclaimAfterMs: jobs.reclaimAfterMs,
        maxAttempts: jobs.maxAttempts,
        backoffInitialMs: jobs.backoffInitialMs,
        backoffMaxMs: jobs.backoffMaxMs,
        backoffFactor: jobs.backoffFactor,
        exclusive: jobs.exclusive,
        atMostOnce: jobs.atMostOnce,
        opensPullRequest: jobs.opensPullRequest,
        target: jobs.target,
        dependsOn: sql<readonly string[] | null>`case when ${isFull} then ${jobs.dependsOn} end`,
        dependencyPolicy: jobs.dependencyPolicy,
      },
      live: {
        state: jobQueue.state,
        attempt: jobQueue.attempt,
        generation: jobQueue.generation,
        failures: jobQueue.failures,
        losses: jobQueue.losses,
        releases: jobQueue.releases,
        wakeAt: jobQueue.wakeAt,
        grantedAt: jobQueue.grantedAt,
        cancelRequestedAt: jobQueue.cancelRequestedAt,
        leaseId: jobQueue.leaseId,
        workerId: jobQueue.workerId,
        reason: jobQueue.reason,
        sessionId: jobQueue.sessionId,
        waitingOn: jobQueue.waitingOn,
      },
      last: {
        attempt: last.attempt,
        generation: last.generation,
        grantedAt: last.grantedAt,
        endedAt: last.endedAt,
        workerId: last.workerId,
        state: last.state,
        failures: last.failures,
        losses: last.losses,
        releases: last.releases,
        result: last.result,
        errorCode: last.errorCode,
        errorMessage: last.errorMessage,
        errorDetail: last.errorDetail,
        prUrl: last.prUrl,
        reason: last.reason,
        sessionId: last.sessionId,
      },
      progress: {
        attempt: progress.attempt,
        fraction: progress.fraction,
        message: progress.message,
        updatedAt: progress.updatedAt,
      },
      workerName: workers.name,
    })
    .from(jobs)
    .leftJoin(jobQueue, and(eq(jobQueue.orgId, orgId), eq(jobQueue.jobId, jobs.jobId)))
    .leftJoinLateral(last, sql`true`)
    .leftJoin(progress, and(eq(progress.orgId, orgId), eq(progress.jobId, jobs.jobId)))
    .leftJoin(
      workers,
      and(
        eq(workers.orgId, orgId),
        eq(workers.workerId, sql`coalesce(${jobQueue.workerId}, ${last.workerId})`),
      ),
    )
    .where(
      and(
        eq(jobs.orgId, orgId),
        inArray(jobs.jobId, [...jobIds]),
        sql`(${jobQueue.jobId} is not null or ${last.state} is not null)`,
      ),
    );
}

/** A job as it is read. */
export type JobRow = Awaited<ReturnType<typeof readJobs>>[number];

/** The job that has an external id; null when none has. */
export async function findJobByExternalId(tx: Tx, orgId: string, externalId: string): Promise<string | null> {
  const [row] = await tx
    .select({ jobId: jobKeys.targetId })
    .from(jobKeys)
    .where(and(eq(jobKeys.orgId, orgId), eq(jobKeys.type, "external"), eq(jobKeys.key, externalId)));
  return row?.jobId ?? null;
}

/** Whether the org has a job. */
export async function hasJob(tx: Tx, orgId: string, jobId: string): Promise<boolean> {
  const rows = await tx
    .select({ jobId: jobs.jobId })
    .from(jobs)
    .where(and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobId)));
  return rows.length > 0;
}
