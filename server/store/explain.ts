import type { GateFacts } from "../domain/rules/gate-standing.ts";
import type { WorkerFacts } from "../domain/rules/routing.ts";
import type { SessionFacts } from "../domain/rules/session-routes.ts";
import { type InternedShape, shapeTarget } from "../domain/rules/shapes.ts";
import { hoursText } from "../domain/rules/worker-limits.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, inArray, sql } from "./drizzle.ts";
import { isOffHours, openPrs } from "./held-back.ts";
import { attempts, jobQueue, jobs, shapes } from "./schema.ts";
import { links, projects, pullRequests, workers } from "./schema-fleet.ts";
import { edges, gates, sessions } from "./schema-routing.ts";

/** The database's clock. */
export async function readClock(tx: Tx): Promise<Date> {
  const [row] = await tx.execute<{ ms: number }>(
    sql`select (extract(epoch from ${now}) * 1000)::float8 as ms`,
  );
  if (row === undefined) throw new Error("a clock came back without a row");
  return new Date(row.ms);
}

/** A worker with what decides whether it gets jobs, and since when what troubles it is so. */
export interface WorkerFactsRow extends WorkerFacts {
  /** Its last heartbeat; null before its first attachment. */
  readonly seenAt: Date | null;
  readonly quarantinedAt: Date | null;
  readonly quarantineReason: string | null;
  readonly suspectAt: Date | null;
  readonly owner: string;
  readonly createdAt: Date;
}

/**
 * The workers of an org: the attached ones first, then by name; one of them with `workerId` or `name`. `staleMs` is
 * the age of a heartbeat that is late.
 */
export async function readWorkerFacts(
  tx: Tx,
  orgId: string,
  { staleMs, limit, of }: { readonly staleMs: number; readonly limit: number; readonly of?: WorkerOf },
): Promise<WorkerFactsRow[]> {
  const held = heldByAll(tx, orgId);
  const rows = await tx
    .select({
      workerId: workers.workerId,
      name: workers.name,
      isAttached: sql<boolean>`${links.isAttached} is true`,
      isStale: sql<boolean>`coalesce(${links.seenAt} < ${now} - ${staleMs}::float8 * interval '1 millisecond', false)`,
      isDisabled: sql<boolean>`${workers.disabledAt} is not null`,
      isDraining: sql<boolean>`${links.isDraining} is true or ${workers.drainRequestedAt} is not null`,
      isQuarantined: sql<boolean>`${workers.quarantinedAt} is not null`,
      isPending: sql<boolean>`coalesce(${workers.approval} = 'pending', false)`,
      isOffHours,
      hours: workers.hours,
      openPrs,
      maxOpenPrs: workers.maxOpenPrs,
      refusals: workers.refusals,
      owner: workers.owner,
      createdAt: workers.createdAt,
      isSuspect: sql<boolean>`${links.suspectAt} is not null`,
      kinds: workers.kinds,
      skills: workers.skills,
      slots: workers.slots,
      points: workers.points,
      slotsUsed: sql<number>`coalesce(${held.leases}, 0)`,
      pointsUsed: sql<number>`coalesce(${held.points}, 0)`,
      runsAlone: sql<boolean>`coalesce(${held.alone}, false)`,
      seenAt: links.seenAt,
      quarantinedAt: workers.quarantinedAt,
      quarantineReason: workers.quarantineReason,
      suspectAt: links.suspectAt,
    })
    .from(workers)
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, workers.workerId)))
    .leftJoin(held, eq(held.workerId, workers.workerId))
    .where(and(eq(workers.orgId, orgId), ofWorker(of)))
    .orderBy(desc(sql`${links.isAttached} is true`), asc(workers.name))
    .limit(limit);
  return rows.map(({ kinds, skills, hours, ...row }) => ({
    ...row,
    hours: hours === null ? null : hoursText(hours),
    kinds: new Set(kinds),
    skills: new Set(skills.map(({ name }) => name)),
  }));
}

/** Names one worker. */
export type WorkerOf = { readonly workerId: string } | { readonly name: string };

/** The live row of a job, with its shape; the shape is null for a moment after it was dropped unused. */
export async function readLiveJob(tx: Tx, orgId: string, jobId: string) {
  const [row] = await tx
    .select({
      state: jobQueue.state,
      readyAt: jobQueue.readyAt,
      wakeAt: jobQueue.wakeAt,
      waitingOn: jobQueue.waitingOn,
      priority: jobQueue.priority,
      reason: jobQueue.reason,
      shapeId: jobQueue.shapeId,
      shape: shapes,
    })
    .from(jobQueue)
    .leftJoin(shapes, and(eq(shapes.orgId, orgId), eq(shapes.shapeId, jobQueue.shapeId)))
    .where(and(eq(jobQueue.orgId, orgId), eq(jobQueue.jobId, jobId)));
  return row === undefined ? null : { ...row, shape: row.shape && internedShape(row.shape) };
}

/** A live row as it is read. */
export type LiveJobRow = NonNullable<Awaited<ReturnType<typeof readLiveJob>>>;

/** The row of a shape as a shape. */
export function internedShape(row: typeof shapes.$inferSelect): InternedShape {
  const { shapeId, kind, queue, skills, points, pool, project, target, avoid, alone } = row;
  return {
    ...{ shapeId, kind, queue, skills, points, pool, project, avoid },
    target: shapeTarget(target),
    isAlone: alone,
  };
}

/** The target that a job was submitted with, and how its latest attempt ended. */
export async function readAsked(tx: Tx, orgId: string, jobId: string) {
  const [row] = await tx
    .select({
      target: jobs.target,
      outcome: attempts.outcome,
      reason: attempts.reason,
      workerName: workers.name,
    })
    .from(jobs)
    .leftJoin(attempts, and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobs.jobId)))
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, attempts.workerId)))
    .where(and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobId)))
    .orderBy(desc(attempts.attempt))
    .limit(1);
  return row ?? null;
}

/** The jobs that a job still waits for, with their states; null: its end is being taken to those that wait. */
export function readParents(tx: Tx, orgId: string, jobId: string, limit: number) {
  const last = tx
    .select({ state: attempts.state })
    .from(attempts)
    .where(and(eq(attempts.orgId, orgId), eq(attempts.jobId, edges.parentId)))
    .orderBy(desc(attempts.attempt))
    .limit(1)
    .as("last");
  return tx
    .select({
      jobId: edges.parentId,
      state: sql<number | null>`coalesce(${jobQueue.state}, ${last.state})`,
    })
    .from(edges)
    .leftJoin(jobQueue, and(eq(jobQueue.orgId, orgId), eq(jobQueue.jobId, edges.parentId)))
    .leftJoinLateral(last, sql`true`)
    .where(and(eq(edges.orgId, orgId), eq(edges.childId, jobId)))
    .limit(limit);
}

/** Gates by their keys; all of them, up to `limit`, with null. */
export async function readGateFacts(
  tx: Tx,
  orgId: string,
  keys: readonly string[] | null,
  limit: number,
): Promise<GateFacts[]> {
  return tx
    .select()
    .from(gates)
    .where(and(eq(gates.orgId, orgId), keys === null ? undefined : inArray(gates.key, [...keys])))
    .orderBy(asc(gates.key))
    .limit(limit);
}

/** Open pull requests that count, by project. */
export async function countOpenPullRequests(
  tx: Tx,
  orgId: string,
  names: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (names.length === 0) return new Map();
  const rows = await tx
    .select({ project: pullRequests.project, count: sql<number>`count(*)::int` })
    .from(pullRequests)
    .where(
      and(
        eq(pullRequests.orgId, orgId),
        inArray(pullRequests.project, [...names]),
        // As in the index of the open ones.
        sql`${pullRequests.isOpen} and ${pullRequests.isCounted}`,
      ),
    )
    .groupBy(pullRequests.project);
  return new Map(rows.map(({ project, count }) => [project, count]));
}

/** Which of some projects exist. */
export async function existingProjects(
  tx: Tx,
  orgId: string,
  names: readonly string[],
): Promise<ReadonlySet<string>> {
  if (names.length === 0) return new Set();
  const rows = await tx
    .select({ name: projects.name })
    .from(projects)
    .where(and(eq(projects.orgId, orgId), inArray(projects.name, [...names])));
  return new Set(rows.map(({ name }) => name));
}

/** Sessions by their ids or projects: at most `limit` of each of the two, the primary ones and the oldest first. */
export async function readSessionFacts(
  tx: Tx,
  orgId: string,
  of: { readonly ids: readonly string[]; readonly projects: readonly string[] },
  limit: number,
): Promise<SessionFacts[]> {
  const byId =
    of.ids.length === 0
      ? []
      : await tx
          .select(sessionColumns)
          .from(sessions)
          .where(and(eq(sessions.orgId, orgId), inArray(sessions.sessionId, [...of.ids])))
          .limit(limit);
  const byProject =
    of.projects.length === 0
      ? []
      : await tx
          .select(sessionColumns)
          .from(sessions)
          .where(and(eq(sessions.orgId, orgId), inArray(sessions.project, [...of.projects])))
          .orderBy(desc(sessions.isPrimary), asc(sessions.registeredAt))
          .limit(limit);
  const known = new Set(byId.map(({ sessionId }) => sessionId));
  return [...byId, ...byProject.filter(({ sessionId }) => !known.has(sessionId))];
}

const sessionColumns = {
  sessionId: sessions.sessionId,
  workerId: sessions.workerId,
  project: sessions.project,
  isPrimary: sessions.isPrimary,
  isPublished: sessions.isPublished,
  isArchived: sessions.isArchived,
  isArchivedByOperator: sql<boolean>`${sessions.archivedAt} is not null`,
  // SESSION_STATE_ENDED.
  isEnded: sql<boolean>`${sessions.state} = 3`,
  isResumable: sql<boolean>`${sessions.agentSessionId} <> ''`,
  registeredAt: sessions.registeredAt,
};

function ofWorker(of: WorkerOf | undefined) {
  if (of === undefined) return undefined;
  return "workerId" in of ? eq(workers.workerId, of.workerId) : eq(workers.name, of.name);
}

/** What every worker of the org holds. */
function heldByAll(tx: Tx, orgId: string) {
  return tx
    .select({
      workerId: jobQueue.workerId,
      leases: sql<number>`count(*)::int`.as("held_leases"),
      points: sql<number>`sum(${jobQueue.points})::int`.as("held_points"),
      // The few shapes that run alone are looked up once, not the shape of each lease.
      alone: sql<boolean>`bool_or(${jobQueue.shapeId} = any(array(${tx
        .select({ id: shapes.shapeId })
        .from(shapes)
        .where(and(eq(shapes.orgId, orgId), shapes.alone))})))`.as("held_alone"),
    })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), sql`${jobQueue.workerId} is not null`))
    .groupBy(jobQueue.workerId)
    .as("held");
}
