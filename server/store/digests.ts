import type { SQL } from "drizzle-orm";
import type { Digest, DigestList } from "../domain/rules/digests.ts";
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

/** What happened in an org within a window; of each list the first 50, and the sums of all. Runs of jobs that were submitted more than 31 days before it are left out. */
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
  const counts = { succeeded: of(7), cancelled: of(8), dead: of(9), inAll };
  const kinds = await tx
    .select({
      name: jobs.kind,
      ...counts,
      allSucceeded: summed(counts.succeeded),
      allCancelled: summed(counts.cancelled),
      allDead: summed(counts.dead),
    })
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
    .select({ kind: deadLetters.kind, cause: deadLetters.cause, count: sql<number>`count(*)::int`, inAll })
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
  const pullCounts = {
    opened: sql<number>`count(*) filter (where ${opened})::int`,
    merged: sql<number>`count(*) filter (where ${merged})::int`,
  };
  const pulls = await tx
    .select({
      ...{ project: pullRequests.project, author, inAll },
      ...pullCounts,
      allOpened: summed(pullCounts.opened),
      allMerged: summed(pullCounts.merged),
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
  return {
    ended: {
      succeeded: kinds[0]?.allSucceeded ?? 0,
      cancelled: kinds[0]?.allCancelled ?? 0,
      dead: kinds[0]?.allDead ?? 0,
    },
    opened: pulls[0]?.allOpened ?? 0,
    merged: pulls[0]?.allMerged ?? 0,
    kinds: listOf(kinds),
    workers: listOf(who),
    dead: listOf(dead),
    pullRequests: listOf(pulls),
  };
}

const rowsMax = 50;

/** How many rows there are before they are cut. */
const inAll = sql<number>`count(*) over ()::int`;

/** A count of a row, of all rows before they are cut. */
const summed = (count: SQL<number>) => sql<number>`sum(${count}) over ()::float8`;

function listOf<Row extends { readonly inAll: number }>(rows: readonly Row[]): DigestList<Row> {
  return { rows, more: (rows[0]?.inAll ?? 0) - rows.length };
}
