import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, inArray, sql } from "./drizzle.ts";
import { attempts, jobQueue, jobs } from "./schema.ts";
import { auditLog } from "./schema-fleet.ts";
import { sessions } from "./schema-routing.ts";

/** Live jobs that failed or were lost three times or more, oldest first, with how the last attempt ended. */
export function readTroubledJobs(tx: Tx, orgId: string, limit: number) {
  const last = tx
    .select({ endedAt: attempts.endedAt, code: attempts.errorCode })
    .from(attempts)
    .where(and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobQueue.jobId)))
    .orderBy(desc(attempts.attempt))
    .limit(1)
    .as("last");
  return tx
    .select({
      jobId: jobQueue.jobId,
      failures: jobQueue.failures,
      losses: jobQueue.losses,
      kind: jobs.kind,
      createdAt: jobs.createdAt,
      endedAt: last.endedAt,
      errorCode: last.code,
    })
    .from(jobQueue)
    .innerJoin(jobs, and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobQueue.jobId)))
    .leftJoinLateral(last, sql`true`)
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        // As in the index of trouble.
        sql`(${jobQueue.failures} >= 3 or ${jobQueue.losses} >= 3)`,
      ),
    )
    .orderBy(asc(jobQueue.jobId))
    .limit(limit);
}

/** The leases of some workers: how many, since when, and the first ten of their jobs. */
export async function readLeasesBy(tx: Tx, orgId: string, workerIds: readonly string[]) {
  if (workerIds.length === 0) return [];
  return tx
    .select({
      workerId: sql<string>`${jobQueue.workerId}`,
      leases: sql<number>`count(*)::int`,
      jobIds: sql<
        string[]
      >`(array_agg(${jobQueue.jobId}::text order by ${jobQueue.grantedAt}, ${jobQueue.jobId}))[1:10]`,
    })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), inArray(jobQueue.workerId, [...workerIds])))
    .groupBy(jobQueue.workerId);
}

/** Sessions that another worker published within the last so many milliseconds, the latest first. */
export function readContestedSessions(tx: Tx, orgId: string, withinMs: number, limit: number) {
  return tx
    .select({
      sessionId: sessions.sessionId,
      workerId: sessions.workerId,
      contestedBy: sessions.contestedBy,
      contestedAt: sessions.contestedAt,
    })
    .from(sessions)
    .where(
      and(
        eq(sessions.orgId, orgId),
        gt(sessions.contestedAt, sql`${now} - ${withinMs}::float8 * interval '1 millisecond'`),
      ),
    )
    .orderBy(desc(sessions.contestedAt))
    .limit(limit);
}

/** Who did something last to each of some targets, among the latest `most` entries of the audit log. */
export async function readAudited(
  tx: Tx,
  orgId: string,
  {
    action,
    targets,
    most,
  }: { readonly action: string; readonly targets: readonly string[]; readonly most: number },
): Promise<ReadonlyMap<string, string>> {
  if (targets.length === 0) return new Map();
  const latest = tx
    .select({
      auditId: auditLog.auditId,
      actor: auditLog.actor,
      action: auditLog.action,
      of: auditLog.target,
    })
    .from(auditLog)
    .where(eq(auditLog.orgId, orgId))
    .orderBy(desc(auditLog.auditId))
    .limit(most)
    .as("latest");
  const rows = await tx
    .select({ actor: latest.actor, of: latest.of })
    .from(latest)
    .where(and(eq(latest.action, action), inArray(latest.of, [...targets])))
    .orderBy(asc(latest.auditId));
  return new Map(rows.map(({ actor, of }) => [of, actor]));
}
