import { JobState } from "../domain/rules/states.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, sql } from "./drizzle.ts";
import { jobQueue, tallies } from "./schema.ts";
import { coordinators, orgs } from "./schema-fleet.ts";

/** The org of the transaction, and the database's time. */
export async function readOrgAndTime(tx: Tx, orgId: string) {
  const [row] = await tx
    .select({ name: orgs.name, time: sql<Date>`${now}`.mapWith(orgs.createdAt) })
    .from(orgs)
    .where(eq(orgs.orgId, orgId));
  return row ?? null;
}

/** How many jobs are in each state, how many runs began and ended since the org began, and in the last minute. */
export async function sumTallies(tx: Tx, orgId: string) {
  const sum = (column: unknown) => sql<number>`coalesce(sum(${column}), 0)::float8`;
  const lately = (column: unknown) =>
    sql<number>`coalesce(sum(${column}) filter (where ${tallies.at} > ${now} - interval '60 seconds'), 0)::float8`;
  const [row] = await tx
    .select({
      submitted: sum(tallies.submitted),
      succeeded: sum(tallies.succeeded),
      cancelled: sum(tallies.cancelled),
      dead: sum(tallies.dead),
      blocked: sum(tallies.blocked),
      scheduled: sum(tallies.scheduled),
      ready: sum(tallies.ready),
      offered: sum(tallies.offered),
      running: sum(tallies.running),
      parked: sum(tallies.parked),
      submittedLastMinute: lately(tallies.submitted),
      succeededLastMinute: lately(tallies.succeeded),
    })
    .from(tallies)
    .where(eq(tallies.orgId, orgId));
  if (row === undefined) throw new Error("a sum came back without a row");
  return row;
}

/** The coordinators that showed life within the last hour, oldest first; they belong to no org. */
export function readCoordinators(tx: Tx) {
  return tx
    .select()
    .from(coordinators)
    .where(sql`${coordinators.seenAt} > ${now} - interval '1 hour'`)
    .orderBy(asc(coordinators.coordinatorId))
    .limit(100);
}

/** The jobs that run longest: at most `limit`, oldest grant first. */
export async function readRunningIds(tx: Tx, orgId: string, limit: number): Promise<string[]> {
  const rows = await tx
    .select({ jobId: jobQueue.jobId })
    .from(jobQueue)
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        eq(jobQueue.state, JobState.running),
        // As in the index of leases.
        sql`${jobQueue.workerId} is not null`,
      ),
    )
    .orderBy(asc(jobQueue.grantedAt), asc(jobQueue.jobId))
    .limit(limit);
  return rows.map((row) => row.jobId);
}
