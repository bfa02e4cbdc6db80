import type { SQL } from "drizzle-orm";
import { WorkerState } from "../domain/rules/worker-states.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, sql } from "./drizzle.ts";
import { isOffHours, openPrs } from "./held-back.ts";
import { clock } from "./names.ts";
import { jobQueue } from "./schema.ts";
import { links, workerLosses, workers } from "./schema-fleet.ts";
import { linkedProjects } from "./schema-routing.ts";

/** Registers a worker. False when the name is taken: then nothing changed. */
export async function insertWorker(tx: Tx, row: typeof workers.$inferInsert): Promise<boolean> {
  const inserted = await tx
    .insert(workers)
    .values(row)
    .onConflictDoNothing({ target: [workers.orgId, workers.name] })
    .returning({ workerId: workers.workerId });
  return inserted.length > 0;
}

/** Finds a worker by its id or name, and locks its row. */
export async function lockWorkerRow(
  tx: Tx,
  orgId: string,
  selection: { readonly workerId: string } | { readonly name: string },
) {
  const [row] = await tx
    .select({
      workerId: workers.workerId,
      name: workers.name,
      isDraining: sql<boolean>`${workers.drainRequestedAt} is not null`,
      quarantineReason: workers.quarantineReason,
      isDisabled: sql<boolean>`${workers.disabledAt} is not null`,
      ownerPersonId: workers.ownerPersonId,
      approval: workers.approval,
      limits: workers.limits,
      newcomerLimits: workers.newcomerLimits,
      ownerLimits: workers.ownerLimits,
      hours: workers.hours,
      isDrainedByOwner: workers.isDrainedByOwner,
      isDisabledByOwner: workers.isDisabledByOwner,
    })
    .from(workers)
    .where(and(eq(workers.orgId, orgId), ...selected(selection)))
    .for("update");
  return row ?? null;
}

/** A worker that is about to be changed. */
export type LockedWorker = NonNullable<Awaited<ReturnType<typeof lockWorkerRow>>>;

/** Notes that a worker is to take nothing new. Claims that it would be given wait for this commit, or come before it. */
export async function drainWorkerRow(
  tx: Tx,
  orgId: string,
  workerId: string,
  { isByOwner = false }: { readonly isByOwner?: boolean } = {},
): Promise<void> {
  await tx
    .update(workers)
    .set({
      drainRequestedAt: sql`coalesce(${workers.drainRequestedAt}, ${clock})`,
      isDrainedByOwner: isByOwner
        ? sql`${workers.drainRequestedAt} is null or ${workers.isDrainedByOwner}`
        : false,
    })
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)));
  const ofWorker = and(eq(links.orgId, orgId), eq(links.workerId, workerId));
  // An update alone would not wait for claims that have read the row.
  await tx.select({ linkEpoch: links.linkEpoch }).from(links).where(ofWorker).for("update");
  await tx.update(links).set({ isDraining: true }).where(ofWorker);
}

/**
 * Notes that a worker may take work, and forgets what it was quarantined for. Its link follows when the worker says
 * that it does.
 */
export async function resumeWorkerRow(tx: Tx, orgId: string, workerId: string): Promise<void> {
  await tx
    .update(workers)
    .set({ drainRequestedAt: null, quarantinedAt: null, quarantineReason: null, isDrainedByOwner: false })
    .where(and(eq(workers.orgId, orgId), eq(workers.workerId, workerId)));
  await tx
    .update(links)
    .set({ flips: 0, flipsSince: null })
    .where(and(eq(links.orgId, orgId), eq(links.workerId, workerId)));
  await tx
    .delete(workerLosses)
    .where(and(eq(workerLosses.orgId, orgId), eq(workerLosses.workerId, workerId)));
}

/** Which workers to read: one, or a page of them by name. */
export type WorkerSelection =
  | { readonly workerId: string }
  | { readonly name: string }
  | {
      readonly afterName: string | null;
      readonly isAttached: boolean;
      readonly limit: number;
      /** Only those of a person. Absent: of anybody. */
      readonly ownerPersonId?: string;
      /** Only those of an owner by its name. Absent: of anybody. */
      readonly owner?: string;
    };

/** Workers with what they do now, by name. `staleMs` is the age of a heartbeat that is late. */
export function readWorkers(tx: Tx, orgId: string, selection: WorkerSelection, staleMs: number) {
  const held = heldBy(tx, orgId);
  return tx
    .select({
      workerId: workers.workerId,
      name: workers.name,
      skills: workers.skills,
      kinds: workers.kinds,
      slots: workers.slots,
      points: workers.points,
      labels: workers.labels,
      version: workers.version,
      host: workers.host,
      createdAt: workers.createdAt,
      isDrainRequested: sql<boolean>`${workers.drainRequestedAt} is not null`,
      quarantinedAt: workers.quarantinedAt,
      quarantineReason: workers.quarantineReason,
      suspectAt: links.suspectAt,
      refusals: workers.refusals,
      owner: workers.owner,
      ownerPersonId: workers.ownerPersonId,
      approval: workers.approval,
      limits: workers.limits,
      newcomerLimits: workers.newcomerLimits,
      ownerLimits: workers.ownerLimits,
      hours: workers.hours,
      isOffHours,
      openPrs,
      state: stateOf(held.leases, staleMs),
      leases: held.leases,
      pointsUsed: held.points,
      seenAt: links.seenAt,
      linkEpoch: links.linkEpoch,
      transport: links.transport,
    })
    .from(workers)
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, workers.workerId)))
    .innerJoinLateral(held, sql`true`)
    .where(and(eq(workers.orgId, orgId), ...selected(selection)))
    .orderBy(asc(workers.name))
    .limit("limit" in selection ? selection.limit : 1);
}

/** A worker with what it does now. */
export type WorkerRow = Awaited<ReturnType<typeof readWorkers>>[number];

/** The projects that each worker has a working copy of. */
export async function readLinkedProjects(tx: Tx, orgId: string): Promise<Map<string, string[]>> {
  const rows = await tx
    .select({ workerId: linkedProjects.workerId, project: linkedProjects.project })
    .from(linkedProjects)
    .where(eq(linkedProjects.orgId, orgId))
    .orderBy(asc(linkedProjects.project));
  const projects = new Map<string, string[]>();
  for (const { workerId, project } of rows) {
    const known = projects.get(workerId);
    if (known === undefined) projects.set(workerId, [project]);
    else known.push(project);
  }
  return projects;
}

/** Counts the workers of an org by state, with the capacity of those that are attached. */
export async function countWorkers(tx: Tx, orgId: string, staleMs: number): Promise<WorkerCountRow[]> {
  const held = heldByAll(tx, orgId);
  const state = stateOf(sql`coalesce(${held.leases}, 0)`, staleMs);
  return tx
    .select({
      state,
      workers: sql<number>`count(*)::int`,
      slots: sql<number>`coalesce(sum(${workers.slots}), 0)::float8`,
      points: sql<number>`coalesce(sum(${workers.points}), 0)::float8`,
      leases: sql<number>`coalesce(sum(${held.leases}), 0)::float8`,
      pointsUsed: sql<number>`coalesce(sum(${held.points}), 0)::float8`,
    })
    .from(workers)
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, workers.workerId)))
    .leftJoin(held, eq(held.workerId, workers.workerId))
    .where(eq(workers.orgId, orgId))
    .groupBy(sql`1`);
}

/** The workers in one state. */
export interface WorkerCountRow {
  readonly state: WorkerState;
  readonly workers: number;
  readonly slots: number;
  readonly points: number;
  readonly leases: number;
  readonly pointsUsed: number;
}

function selected(selection: WorkerSelection): (SQL | undefined)[] {
  if ("workerId" in selection) return [eq(workers.workerId, selection.workerId)];
  if ("name" in selection) return [eq(workers.name, selection.name)];
  return [
    selection.afterName === null ? undefined : gt(workers.name, selection.afterName),
    selection.ownerPersonId === undefined ? undefined : eq(workers.ownerPersonId, selection.ownerPersonId),
    selection.owner === undefined ? undefined : eq(workers.owner, selection.owner),
    selection.isAttached ? and(eq(links.isAttached, true), sql`${workers.disabledAt} is null`) : undefined,
  ];
}

/**
 * The state of a worker, the strongest first: disabled, offline, stale, quarantined, pending, draining; else busy or idle.
 * A late heartbeat of a link that was not closed is judged by the database's clock.
 */
function stateOf(leases: SQL | SQL.Aliased<number>, staleMs: number): SQL<WorkerState> {
  return sql<WorkerState>`case
    when ${workers.disabledAt} is not null then ${number(WorkerState.disabled)}
    when ${links.isAttached} is not true then ${number(WorkerState.offline)}
    when ${links.seenAt} < ${now} - ${number(staleMs)} * interval '1 millisecond' then ${number(WorkerState.stale)}
    when ${workers.quarantinedAt} is not null then ${number(WorkerState.quarantined)}
    when ${workers.approval} = 'pending' then ${number(WorkerState.pending)}
    when ${links.isDraining} or ${workers.drainRequestedAt} is not null then ${number(WorkerState.draining)}
    when ${leases} > 0 then ${number(WorkerState.busy)}
    else ${number(WorkerState.idle)} end`;
}

/** What the worker of the outer row holds: one probe of the index of leases. */
function heldBy(tx: Tx, orgId: string) {
  return tx
    .select({
      leases: sql<number>`count(*)::int`.as("held_leases"),
      points: sql<number>`coalesce(sum(${jobQueue.points}), 0)::int`.as("held_points"),
    })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), eq(jobQueue.workerId, workers.workerId)))
    .as("held");
}

/** What every worker of the org holds. */
function heldByAll(tx: Tx, orgId: string) {
  return tx
    .select({
      workerId: jobQueue.workerId,
      leases: sql<number>`count(*)::int`.as("held_leases"),
      points: sql<number>`sum(${jobQueue.points})::int`.as("held_points"),
    })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), sql`${jobQueue.workerId} is not null`))
    .groupBy(jobQueue.workerId)
    .as("held");
}

// In the text, not a parameter: an expression that is grouped by must be the same text twice.
function number(value: number): SQL {
  return sql.raw(String(Number(value)));
}
