import type { PgColumn } from "drizzle-orm/pg-core";
import type { KnownSession, PublishedProject, PublishedSession } from "../domain/rules/publications.ts";
import { JobState } from "../domain/rules/states.ts";
import { writeArray } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, inArray, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { jobQueue, shapes } from "./schema.ts";
import { links, workers } from "./schema-fleet.ts";
import { linkedProjects, sessions } from "./schema-routing.ts";
import { stateNumber } from "./state-numbers.ts";

/** Whatever writes sessions of an org waits for the one before it: who was first is never in doubt. */
export async function lockSessions(tx: Tx, orgId: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`sessions ${orgId}`}, 0))`);
}

/** Whether a worker has published anything that is still there. */
export async function hasPublished(tx: Tx, orgId: string, workerId: string): Promise<boolean> {
  const rows = await tx.execute(sql`select
    exists(select from ${sessions} where ${eq(sessions.orgId, orgId)} and ${eq(sessions.workerId, workerId)}
      and ${sessions.isPublished})
    or exists(select from ${linkedProjects} where ${eq(linkedProjects.orgId, orgId)}
      and ${eq(linkedProjects.workerId, workerId)}) as found`);
  return rows[0]?.["found"] === true;
}

/** What is known of the sessions of a worker, of some ids, and of the primary sessions of some projects. */
export function readKnownSessions(
  tx: Tx,
  orgId: string,
  of: {
    readonly workerId: string;
    readonly sessionIds: readonly string[];
    readonly projects: readonly string[];
  },
): Promise<KnownSession[]> {
  return tx
    .select({
      ...saidColumns,
      workerId: sessions.workerId,
      workerName: sql<string>`coalesce(${workers.name}, '')`,
      isPrimary: sessions.isPrimary,
      isPublished: sessions.isPublished,
      silentMs: sql<number | null>`(extract(epoch from ${clock} - ${links.seenAt}) * 1000)::float8`,
    })
    .from(sessions)
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, sessions.workerId)))
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, sessions.workerId)))
    .where(
      and(
        eq(sessions.orgId, orgId),
        sql`(${sessions.workerId} = ${of.workerId} or ${sessions.sessionId} = any(${textArray(of.sessionIds)})
          or (${sessions.isPrimary} and ${sessions.project} = any(${textArray(of.projects)})))`,
      ),
    );
}

/** Makes the linked projects of a worker those that are given. True when that changed anything. */
export async function writeLinkedProjects(
  tx: Tx,
  orgId: string,
  workerId: string,
  projects: readonly PublishedProject[],
): Promise<boolean> {
  const own = and(eq(linkedProjects.orgId, orgId), eq(linkedProjects.workerId, workerId));
  const names = textArray(projects.map((one) => one.project));
  const gone = await tx
    .delete(linkedProjects)
    .where(and(own, sql`${linkedProjects.project} <> all(${names})`))
    .returning({ project: linkedProjects.project });
  if (projects.length === 0) return gone.length > 0;
  const written = await tx
    .insert(linkedProjects)
    .values(projects.map((one) => ({ ...one, orgId, workerId })))
    .onConflictDoUpdate({
      target: [linkedProjects.orgId, linkedProjects.project, linkedProjects.workerId],
      set: {
        root: said(linkedProjects.root),
        remoteUrl: said(linkedProjects.remoteUrl),
        linkedAt: said(linkedProjects.linkedAt),
        linkedBy: said(linkedProjects.linkedBy),
      },
      setWhere: sql`(${linkedProjects.root}, ${linkedProjects.remoteUrl}, ${linkedProjects.linkedAt},
        ${linkedProjects.linkedBy}) is distinct from (${said(linkedProjects.root)}, ${said(linkedProjects.remoteUrl)},
        ${said(linkedProjects.linkedAt)}, ${said(linkedProjects.linkedBy)})`,
    })
    .returning({ project: linkedProjects.project });
  return gone.length + written.length > 0;
}

/** Writes sessions of a worker as it says them; it owns them already, or they are new. */
export async function writeSessions(
  tx: Tx,
  orgId: string,
  workerId: string,
  rows: readonly (PublishedSession & { readonly isPrimary: boolean })[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx
    .insert(sessions)
    .values(rows.map((row) => ({ ...row, orgId, workerId, isPublished: true })))
    .onConflictDoUpdate({
      target: [sessions.orgId, sessions.sessionId],
      set: {
        project: said(sessions.project),
        label: said(sessions.label),
        agent: said(sessions.agent),
        agentSessionId: said(sessions.agentSessionId),
        state: said(sessions.state),
        role: said(sessions.role),
        terminalTarget: said(sessions.terminalTarget),
        activeAt: said(sessions.activeAt),
        isPrimary: said(sessions.isPrimary),
        saysPrimary: said(sessions.saysPrimary),
        isArchived: said(sessions.isArchived),
        isPublished: true,
      },
    });
}

/** Notes which worker wants sessions that another one has. */
export async function noteContest(
  tx: Tx,
  orgId: string,
  workerId: string,
  sessionIds: readonly string[],
): Promise<void> {
  if (sessionIds.length === 0) return;
  await tx
    .update(sessions)
    .set({ contestedBy: workerId, contestedAt: clock })
    .where(among(orgId, sessionIds));
}

/** Notes that sessions are not, or no longer, published, archived by an operator, or the primary ones. */
export async function changeSessions(
  tx: Tx,
  orgId: string,
  sessionIds: readonly string[],
  change: "withdraw" | "demote" | "promote" | "archive" | "unarchive",
): Promise<void> {
  if (sessionIds.length === 0) return;
  await tx.update(sessions).set(changes[change]).where(among(orgId, sessionIds));
}

const changes = {
  withdraw: { isPublished: false },
  demote: { isPrimary: false },
  promote: { isPrimary: true },
  archive: { archivedAt: sql`coalesce(${sessions.archivedAt}, ${clock})` },
  unarchive: { archivedAt: null },
};

/** Removes sessions. */
export async function deleteSessions(tx: Tx, orgId: string, sessionIds: readonly string[]): Promise<void> {
  if (sessionIds.length > 0) await tx.delete(sessions).where(among(orgId, sessionIds));
}

/** The primary session of a project; null when it has none. */
export async function readPrimary(tx: Tx, orgId: string, project: string): Promise<string | null> {
  const [row] = await tx
    .select({ sessionId: sessions.sessionId })
    .from(sessions)
    .where(and(eq(sessions.orgId, orgId), eq(sessions.project, project), sql`${sessions.isPrimary}`));
  return row?.sessionId ?? null;
}

/** Which sessions to read. */
export type SessionSelection =
  | { readonly sessionId: string }
  /** Those of the ids, and those of the projects. */
  | { readonly sessionIds: readonly string[]; readonly projects: readonly string[] }
  | {
      readonly project: string | null;
      readonly workerId: string | null;
      readonly isWithArchived: boolean;
      readonly after: SessionPosition | null;
      readonly limit: number;
    };

/** Where a page of sessions begins: after this one. */
export interface SessionPosition {
  /** Empty: it has none. */
  readonly project: string;
  /** Of its registration: microseconds since 1970. */
  readonly registeredMicros: string;
  readonly sessionId: string;
}

/** Sessions with the state of their workers, by project, then by registration. */
export function readSessions(tx: Tx, orgId: string, selection: SessionSelection, staleMs: number) {
  const project = sql`coalesce(${sessions.project}, '')`;
  return tx
    .select({
      ...saidColumns,
      workerId: sessions.workerId,
      workerName: sql<string>`coalesce(${workers.name}, '')`,
      isPrimary: sessions.isPrimary,
      isPublished: sessions.isPublished,
      archivedAt: sessions.archivedAt,
      registeredAt: sessions.registeredAt,
      registeredMicros: sql<string>`(extract(epoch from ${sessions.registeredAt}) * 1000000)::bigint::text`,
      isWorkerAttached: sql<boolean>`coalesce(${links.isAttached}, false)`,
      isWorkerStale: sql<boolean>`coalesce(${links.seenAt} < ${clock} - ${staleMs} * interval '1 millisecond', true)`,
      isWorkerDisabled: sql<boolean>`${workers.workerId} is null or ${workers.disabledAt} is not null`,
      isWorkerQuarantined: sql<boolean>`${workers.quarantinedAt} is not null`,
      isWorkerDraining: sql<boolean>`coalesce(${links.isDraining}, false) or ${workers.drainRequestedAt} is not null`,
    })
    .from(sessions)
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, sessions.workerId)))
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, sessions.workerId)))
    .where(and(eq(sessions.orgId, orgId), ...selected(selection)))
    .orderBy(project, asc(sessions.registeredAt), asc(sessions.sessionId))
    .limit("limit" in selection ? selection.limit : maxRouted);
}

/** A session with the state of its worker. */
export type SessionRow = Awaited<ReturnType<typeof readSessions>>[number];

/** More sessions than that are not looked at for one answer. */
const maxRouted = 10_000;

function selected(selection: SessionSelection) {
  if ("sessionId" in selection) return [eq(sessions.sessionId, selection.sessionId)];
  if ("sessionIds" in selection) {
    return [
      sql`(${sessions.sessionId} = any(${textArray(selection.sessionIds)})
        or ${sessions.project} = any(${textArray(selection.projects)}))`,
    ];
  }
  const { project, workerId, isWithArchived, after } = selection;
  return [
    project === null ? undefined : eq(sessions.project, project),
    workerId === null ? undefined : eq(sessions.workerId, workerId),
    isWithArchived ? undefined : sql`not ${sessions.isArchived} and ${sessions.archivedAt} is null`,
    after === null
      ? undefined
      : sql`(coalesce(${sessions.project}, ''), ${sessions.registeredAt}, ${sessions.sessionId}) > (${after.project},
          timestamptz 'epoch' + ${after.registeredMicros}::bigint * interval '1 microsecond', ${after.sessionId})`,
  ];
}

/** Ready jobs that name a target, counted up to `most`. */
export async function countReadyFor(tx: Tx, orgId: string, target: string, most: number): Promise<number> {
  const wanted = tx
    .select({ shapeId: shapes.shapeId })
    .from(shapes)
    .where(and(eq(shapes.orgId, orgId), eq(shapes.target, target)));
  const found = tx
    .select({ jobId: jobQueue.jobId })
    .from(jobQueue)
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        sql`${jobQueue.shapeId} = any(array(${wanted}))`,
        sql`${jobQueue.state} = ${stateNumber(JobState.ready)}`,
      ),
    )
    .limit(most)
    .as("found");
  const [row] = await tx.select({ jobs: sql<number>`count(*)::int` }).from(found);
  return row?.jobs ?? 0;
}

/** Which of some sessions a worker has. */
export async function readOwnSessions(
  tx: Tx,
  orgId: string,
  workerId: string,
  sessionIds: readonly string[],
): Promise<Set<string>> {
  const rows = await tx
    .select({ sessionId: sessions.sessionId })
    .from(sessions)
    .where(and(among(orgId, sessionIds), eq(sessions.workerId, workerId)));
  return new Set(rows.map((row) => row.sessionId));
}

/** Which linked projects to read. */
export interface LinkedProjectSelection {
  readonly project: string | null;
  readonly workerId: string | null;
  readonly after: { readonly project: string; readonly workerName: string } | null;
  readonly limit: number;
}

/** Linked projects, by project, then by the name of the worker. */
export function readLinkedProjects(tx: Tx, orgId: string, selection: LinkedProjectSelection) {
  const { project, workerId, after, limit } = selection;
  return tx
    .select({
      project: linkedProjects.project,
      workerId: linkedProjects.workerId,
      workerName: workers.name,
      root: linkedProjects.root,
      remoteUrl: linkedProjects.remoteUrl,
      linkedAt: linkedProjects.linkedAt,
      linkedBy: linkedProjects.linkedBy,
    })
    .from(linkedProjects)
    .innerJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, linkedProjects.workerId)))
    .where(
      and(
        eq(linkedProjects.orgId, orgId),
        project === null ? undefined : eq(linkedProjects.project, project),
        workerId === null ? undefined : eq(linkedProjects.workerId, workerId),
        after === null
          ? undefined
          : sql`(${linkedProjects.project}, ${workers.name}) > (${after.project}, ${after.workerName})`,
      ),
    )
    .orderBy(asc(linkedProjects.project), asc(workers.name))
    .limit(limit);
}

/** A linked project with its worker. */
export type LinkedProjectRow = Awaited<ReturnType<typeof readLinkedProjects>>[number];

const saidColumns = {
  sessionId: sessions.sessionId,
  project: sessions.project,
  label: sessions.label,
  agent: sessions.agent,
  agentSessionId: sessions.agentSessionId,
  state: sessions.state,
  role: sessions.role,
  terminalTarget: sessions.terminalTarget,
  activeAt: sessions.activeAt,
  isArchived: sessions.isArchived,
  saysPrimary: sessions.saysPrimary,
};

function among(orgId: string, sessionIds: readonly string[]) {
  return and(eq(sessions.orgId, orgId), inArray(sessions.sessionId, [...sessionIds]));
}

// What an insert that met its like brought.
function said(column: PgColumn) {
  return sql`excluded.${sql.identifier(column.name)}`;
}

function textArray(values: readonly string[]) {
  return sql`${writeArray(values)}::text[]`;
}
