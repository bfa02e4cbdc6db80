import { JobState } from "../domain/rules/states.ts";
import type { Tx } from "./database.ts";
import { eq, sql } from "./drizzle.ts";
import type { JobFilter } from "./job-lists.ts";
import { joinRun, runConditions, scanOf, windowOf } from "./job-scans.ts";
import { attemptNames as a, queueNames as q } from "./names.ts";
import { tallies } from "./schema.ts";
import { tallyOf } from "./tallies.ts";

/** Jobs of a queue by state. */
export interface QueueCounts {
  readonly queue: string;
  readonly counts: ReadonlyMap<JobState, number>;
}

/** How many jobs of each queue are in each state: exact, and read from what the flushes count. */
export async function sumStatesByQueue(tx: Tx, orgId: string): Promise<QueueCounts[]> {
  const sum = (column: unknown) => sql<number>`coalesce(sum(${column}), 0)::float8`;
  const rows = await tx
    .select({
      queue: tallies.queue,
      blocked: sum(tallies.blocked),
      scheduled: sum(tallies.scheduled),
      ready: sum(tallies.ready),
      offered: sum(tallies.offered),
      running: sum(tallies.running),
      parked: sum(tallies.parked),
      succeeded: sum(tallies.succeeded),
      cancelled: sum(tallies.cancelled),
      dead: sum(tallies.dead),
    })
    .from(tallies)
    .where(eq(tallies.orgId, orgId))
    .groupBy(tallies.queue);
  return rows.map((row) => ({
    queue: row.queue,
    counts: new Map(
      Object.values(JobState).map((state) => [state, Number(row[tallyOf[state] as keyof typeof row])]),
    ),
  }));
}

/** Counts of a walk over rows. */
export interface WalkedCounts {
  readonly counts: ReadonlyMap<JobState, number>;
  /** There was more than the walk looked at. */
  readonly isPartial: boolean;
}

/** How many jobs that a filter lets through are in each state, among the newest `mostExamined` live and ended ones. */
export async function countStates(
  tx: Tx,
  orgId: string,
  filter: JobFilter,
  mostExamined: number,
): Promise<WalkedCounts> {
  const scan = await scanOf(tx, orgId, filter);
  if (scan === null) return { counts: new Map(), isPartial: false };
  const sources = scan.source === "all" ? (["live", "all"] as const) : [scan.source];
  const counts = new Map<JobState, number>();
  let isPartial = false;
  for (const source of sources) {
    const hasPast = source === "all" || source === "dead-letters";
    const state = hasPast ? sql`coalesce(q.${q.state}, l.${a.state})` : sql`q.${q.state}`;
    const conditions = [
      ...runConditions(orgId, { ...scan, source }, hasPast),
      // The live ones are counted already.
      ...(source === "all" ? [sql`q.${q.jobId} is null`] : []),
    ];
    const window = windowOf(orgId, { ...scan, source }, { rows: mostExamined + 1, isDown: true, within: [] });
    const rows = await tx.execute<{ state: number; count: number; examined: number }>(sql`
      with w as materialized (${window}), counted as (
        select ${state} as state, count(*)::int as count from w ${joinRun(orgId, sql`w.id`, hasPast)}
        where ${sql.join(conditions, sql` and `)} group by 1
      )
      select state, count, 0 as examined from counted
      union all select 0, 0, (select count(*)::int from w)`);
    for (const row of rows) {
      isPartial ||= row.examined > mostExamined;
      const known = Object.values(JobState).find((one) => one === row.state);
      if (known !== undefined) counts.set(known, (counts.get(known) ?? 0) + row.count);
    }
  }
  return { counts, isPartial };
}
