import type { Digest } from "../domain/rules/digests.ts";
import type { Tx } from "./database.ts";
import { and, desc, eq, gt, lt, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { lowestUuid } from "./partitions.ts";
import { attempts, deadLetters, jobs } from "./schema.ts";
import { pullRequests, workers } from "./schema-fleet.ts";

/** The day, or the week from Monday, that ended last in a time zone: its begin, and its end, which is outside. */
export async function readDigestWindow(
  tx: Tx,
  { period, zone }: { readonly period: "day" | "week"; readonly zone: string },
): Promise<{ readonly from: Date; readonly to: Date }> {
  const end = sql`date_trunc(${period}, ${clock} at time zone ${zone}::text)`;
  const [row] = await tx.execute(
    sql`select (${end} - ${`1 ${period}`}::interval) at time zone ${zone}::text as begun, ${end} at time zone ${zone}::text as ended`,
  );
  return { from: new Date(String(row?.["begun"])), to: new Date(String(row?.["ended"])) };
}

/** What happened in an org within a window. Runs of jobs that were submitted more than 31 days before it are left out. */
export async function readDigest(
  tx: Tx,
  orgId: string,
  { from, to }: { readonly from: Date; readonly to: Date },
): Promise<Digest> {
  const earliest = lowestUuid(new Date(from.getTime() - 31 * 86_400_000));
  const ended = and(
    eq(attempts.orgId, orgId),
    eq(attempts.final, true),
    sql`${attempts.jobId} >= ${earliest}::uuid`,
    sql`${attempts.endedAt} >= ${from.toISOString()}::timestamptz`,
    lt(attempts.endedAt, to),
  );
  const of = (state: number) => sql<number>`count(*) filter (where ${attempts.state} = ${state})::int`;
  const counts = { succeeded: of(7), cancelled: of(8), dead: of(9) };
  const kinds = await tx
    .select({ name: jobs.kind, ...counts })
    .from(attempts)
    .innerJoin(jobs, and(eq(jobs.orgId, orgId), eq(jobs.jobId, attempts.jobId)))
    .where(ended)
    .groupBy(jobs.kind)
    .orderBy(desc(sql`count(*)`))
    .limit(rowsMax);
  const who = await tx
    .select({ name: workers.name, owner: workers.owner, ...counts })
    .from(attempts)
    .innerJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, attempts.workerId)))
    .where(ended)
    .groupBy(workers.name, workers.owner)
    .orderBy(desc(sql`count(*)`))
    .limit(rowsMax);
  const dead = await tx
    .select({ kind: deadLetters.kind, cause: deadLetters.cause, count: sql<number>`count(*)::int` })
    .from(deadLetters)
    .where(
      and(
        eq(deadLetters.orgId, orgId),
        sql`${deadLetters.deadAt} >= ${from.toISOString()}::timestamptz`,
        lt(deadLetters.deadAt, to),
      ),
    )
    .groupBy(deadLetters.kind, deadLetters.cause)
    .orderBy(desc(sql`count(*)`))
    .limit(rowsMax);
  const author = sql<string>`coalesce(${pullRequests.author}, '')`;
  const opened = sql`${pullRequests.createdAt} >= ${from.toISOString()}::timestamptz and ${pullRequests.createdAt} < ${to.toISOString()}::timestamptz`;
  const merged = sql`${pullRequests.isMerged} and ${pullRequests.changedAt} >= ${from.toISOString()}::timestamptz and ${pullRequests.changedAt} < ${to.toISOString()}::timestamptz`;
  const pulls = await tx
    .select({
      project: pullRequests.project,
      author,
      opened: sql<number>`count(*) filter (where ${opened})::int`,
      merged: sql<number>`count(*) filter (where ${merged})::int`,
    })
    .from(pullRequests)
    .where(
      and(
        eq(pullRequests.orgId, orgId),
        // Those that were opened long before are seldom merged now.
        gt(pullRequests.createdAt, new Date(from.getTime() - 92 * 86_400_000)),
        sql`(${opened} or (${merged}))`,
      ),
    )
    .groupBy(pullRequests.project, author)
    .orderBy(desc(sql`count(*)`))
    .limit(rowsMax);
  return { kinds, workers: who, dead, pullRequests: pulls };
}

const rowsMax = 50;
