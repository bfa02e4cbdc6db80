import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { inOrg } from "./database.ts";
import { and, asc, eq, gt, lt, sql } from "./drizzle.ts";
import { dayBounds, dayLabel } from "./partitions.ts";
import { endedBatches } from "./retention.ts";
import { jobs, logChunks } from "./schema.ts";

/** Some jobs of an org behind `after` that were submitted before a day (YYYYMMDD), in the order of their ids. */
export async function readOldJobs(
  sweep: PostgresJsDatabase,
  orgId: string,
  { after, before, limit }: { readonly after: string; readonly before: string; readonly limit: number },
): Promise<string[]> {
  const { low } = dayBounds(before);
  const rows = await inOrg(sweep, orgId, (tx) =>
    tx
      .select({ jobId: jobs.jobId })
      .from(jobs)
      .where(and(eq(jobs.orgId, orgId), gt(jobs.jobId, after), lt(jobs.jobId, low)))
      .orderBy(asc(jobs.jobId))
      .limit(limit),
  );
  return rows.map(({ jobId }) => jobId);
}

/** The day (YYYYMMDD) that a job was submitted on. */
export function dayOfJob(jobId: string): string {
  return dayLabel(new Date(Number.parseInt(jobId.replaceAll("-", "").slice(0, 12), 16)));
}

/** The first day, before `upTo`, from `from` on that an org has logs of; null: there is none. */
export async function firstDayOfLogs(
  sweep: PostgresJsDatabase,
  orgId: string,
  { from, upTo }: { readonly from: string; readonly upTo: string },
): Promise<string | null> {
  const { day } = logChunks;
  const between = sql`${day} >= to_date(${from}, 'YYYYMMDD') and ${day} < to_date(${upTo}, 'YYYYMMDD')`;
  const [row] = await inOrg(sweep, orgId, (tx) =>
    tx
      .select({ first: sql<string | null>`to_char(min(${day}), 'YYYYMMDD')` })
      .from(logChunks)
      .where(and(eq(logChunks.orgId, orgId), between)),
  );
  return row?.first ?? null;
}

/** How many parts of logs an org has of a day. */
export async function countLogsOfDay(sweep: PostgresJsDatabase, orgId: string, day: string): Promise<number> {
  const [row] = await inOrg(sweep, orgId, (tx) =>
    tx.select({ count: sql<number>`count(*)::int` }).from(logChunks).where(logsOfDay(orgId, day)),
  );
  return row?.count ?? 0;
}

/** Removes some parts of logs of a day, and answers how many; 0: none is left. */
export function removeLogsOfDay(sweep: PostgresJsDatabase, orgId: string, day: string): Promise<number> {
  const those = logsOfDay(orgId, day);
  return inOrg(sweep, orgId, async (tx) => {
    // All of them are in the partition of the day, so a place names one row.
    const gone = await tx.execute(sql`delete from ${logChunks} where ${those} and ctid = any(array(
      select ctid from ${logChunks} where ${those} limit ${stepLogs}))`);
    return gone.count;
  });
}

/** Removes batches that ended before a time, and whose jobs are gone. */
export async function removeBatches(sweep: PostgresJsDatabase, orgId: string, before: Date): Promise<void> {
  await inOrg(sweep, orgId, (tx) => tx.execute(endedBatches(orgId, before)));
}

/** What fits well into the time of a use. */
const stepLogs = 2_000;

function logsOfDay(orgId: string, day: string) {
  return sql`${logChunks.orgId} = ${orgId}::uuid and ${logChunks.day} = to_date(${day}, 'YYYYMMDD')`;
}
