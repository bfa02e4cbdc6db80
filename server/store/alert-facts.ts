import { JobState } from "../domain/rules/states.ts";
import { writeArray, writeIds } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, sql } from "./drizzle.ts";
import { clock, fireNames as f, jobNames as j, queueNames as q, scheduleNames as s } from "./names.ts";
import { attempts, jobQueue, jobs } from "./schema.ts";
import { auditLog } from "./schema-fleet.ts";
import { scheduleFires, schedules } from "./schema-schedules.ts";

/** Something that happened within a window. */
export interface AlertEvent {
  /** What it is of, where that is counted apart. */
  readonly group: string;
  /** Tells it from others. */
  readonly key: string;
  readonly weight: number;
  readonly text: string;
}

/** Events that a look reads at most. */
const mostEvents = 500;

const ago = (ms: number) => sql`${clock} - ${ms}::float8 * interval '1 millisecond'`;

/** Acts by force within a window, the latest first: forced cancels, revoked leases, calls of platform keys. */
export async function readForcedActs(
  tx: Tx,
  orgId: string,
  { windowMs, now }: { readonly windowMs: number; readonly now: Date },
): Promise<AlertEvent[]> {
  const rows = await tx
    .select({
      auditId: auditLog.auditId,
      actor: auditLog.actor,
      action: auditLog.action,
      of: auditLog.target,
      reason: auditLog.reason,
    })
    .from(auditLog)
    .where(
      and(
        eq(auditLog.orgId, orgId),
        // By the key: an id is of its time, and older by at most what a call may take.
        sql`${auditLog.auditId} >= ${firstIdAt(now.getTime() - windowMs - 60_000)}::uuid`,
        gt(auditLog.at, ago(windowMs)),
        sql`(${auditLog.details} ->> 'isForced' = 'true' or ${auditLog.action} = 'lease.revoke'
          or ${auditLog.actor} like 'platform:%')`,
      ),
    )
    .orderBy(desc(auditLog.auditId))
    .limit(mostEvents);
  return rows.map(({ auditId, actor, action, of, reason }) => ({
    ...{ group: "", key: auditId, weight: 1 },
    text: `${actor} did ${action} to ${of}${reason === "" ? "" : `: ${reason}`}`,
  }));
}

/** What a schedule missed, or what came to nothing of it, within a window. */
export interface MissedFires {
  readonly scheduleId: string;
  readonly name: string;
  /** Fire times. */
  readonly times: number;
  /** Those of them that were not seen yet. */
  readonly fresh: number;
  /** When the latest was written: microseconds since 1970. */
  readonly newest: string;
  readonly outcome: string;
  readonly fireAt: Date;
  readonly errorReason: string;
}

/**
 * Fire times that schedules missed, or that came to nothing, within a window, by schedule: those that have `least` of
 * them, by name. `seen` says of schedules when the latest entry that was seen was written.
 */
export async function readMissedFires(
  tx: Tx,
  orgId: string,
  {
    windowMs,
    seen,
    least,
    most,
  }: {
    readonly windowMs: number;
    readonly seen: ReadonlyMap<string, string>;
    readonly least: number;
    readonly most: number;
  },
): Promise<MissedFires[]> {
  const rows = await tx.execute<{
    schedule: string;
    name: string;
    times: number;
    fresh: number;
    newest: string;
    outcome: string;
    fire_ms: number;
    error: string;
  }>(sql`
    with entries as materialized (
      select x.${f.scheduleId} as schedule, x.${f.recordedAt} as at, (extract(epoch from x.${f.recordedAt}) * 1000000)::bigint as micros,
        x.${f.fireAt} as fire_at, x.${f.lastAt} as last_at, x.${f.count} as times, x.${f.outcome} as outcome,
        x.${f.errorReason} as error
      from ${scheduleFires} x where x.${f.orgId} = ${orgId}::uuid and x.${f.outcome} in ('missed', 'failed')
        and x.${f.recordedAt} > ${ago(windowMs)}
    ), missed as (
      select e.schedule, sum(e.times)::float8 as times, max(e.micros) as newest,
        coalesce(sum(e.times) filter (where e.micros > coalesce(n.at, 0)), 0)::float8 as fresh
      from entries e left join unnest(${writeIds([...seen.keys()])}::uuid[], ${writeArray([...seen.values()])}::bigint[])
        as n(schedule, at) on n.schedule = e.schedule
      group by e.schedule having sum(e.times) >= ${least}
    ), latest as (
      select distinct on (e.schedule) e.schedule, e.outcome, e.error,
        (extract(epoch from e.last_at) * 1000)::float8 as fire_ms
      from entries e order by e.schedule, e.at desc, e.fire_at desc
    )
    select m.schedule::text as schedule, s.${s.name} as name, m.times, m.fresh, m.newest::text as newest, l.outcome,
      l.error, l.fire_ms
    from missed m join latest l on l.schedule = m.schedule
    join ${schedules} s on s.${s.orgId} = ${orgId}::uuid and s.${s.scheduleId} = m.schedule
    order by s.${s.name} limit ${most}`);
  return rows.map(({ schedule, fire_ms: fireMs, error, ...row }) => ({
    ...{ scheduleId: schedule, fireAt: new Date(fireMs), errorReason: error },
    ...{ name: row.name, times: row.times, fresh: row.fresh, newest: row.newest, outcome: row.outcome },
  }));
}

function firstIdAt(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/** Of what kind a job is, and why its last attempt ended. */
export async function readLastError(tx: Tx, orgId: string, jobId: string) {
  const [row] = await tx
    .select({ kind: jobs.kind, code: attempts.errorCode, message: attempts.errorMessage })
    .from(jobs)
    .leftJoin(attempts, and(eq(attempts.orgId, orgId), eq(attempts.jobId, jobs.jobId)))
    .where(and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobId)))
    .orderBy(desc(attempts.attempt))
    .limit(1);
  return row ?? null;
}

/** Live jobs that failed or were lost so often, the first by their ids. */
export function readRetriedJobs(tx: Tx, orgId: string, least: number, limit: number) {
  return tx
    .select({ jobId: jobQueue.jobId, failures: jobQueue.failures, losses: jobQueue.losses, kind: jobs.kind })
    .from(jobQueue)
    .innerJoin(jobs, and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobQueue.jobId)))
    .where(
      and(
        eq(jobQueue.orgId, orgId),
        // As in the index of trouble.
        sql`(${jobQueue.failures} >= 3 or ${jobQueue.losses} >= 3)`,
        sql`greatest(${jobQueue.failures}, ${jobQueue.losses}) >= ${least}`,
      ),
    )
    .orderBy(asc(jobQueue.jobId))
    .limit(limit);
}

/** Jobs that run longer than the time of their kind, the longest first. Patterns of `like`, null for any. */
export async function readSlowJobs(
  tx: Tx,
  orgId: string,
  {
    kinds,
    limitsMs,
    queue,
    project,
    most,
  }: {
    readonly kinds: readonly string[];
    readonly limitsMs: readonly number[];
    readonly queue: string | null;
    readonly project: string | null;
    readonly most: number;
  },
): Promise<
  { readonly jobId: string; readonly kind: string; readonly ranMs: number; readonly limitMs: number }[]
> {
  const limits = kinds.map((kind, n) => sql`(${kind}::text, ${limitsMs[n] ?? 0}::float8)`);
  if (limits.length === 0) return [];
  const rows = await tx.execute<{ job: string; kind: string; ran: number; most: number }>(sql`
    select r.job::text as job, j.${j.kind} as kind, r.ran, l.most from (
      select x.${q.jobId} as job, (extract(epoch from ${clock} - x.${q.grantedAt}) * 1000)::float8 as ran
      from ${jobQueue} x where x.${q.orgId} = ${orgId}::uuid and x.${q.workerId} is not null
        and x.${q.state} = ${sql.raw(String(JobState.running))}
    ) r join ${jobs} j on j.${j.orgId} = ${orgId}::uuid and j.${j.jobId} = r.job
    join (values ${sql.join(limits, sql`, `)}) as l(kind, most) on l.kind = j.${j.kind}
    where r.ran > l.most and (${queue}::text is null or j.${j.queue} like ${queue}::text)
      and (${project}::text is null or coalesce(j.${j.project}, '') like ${project}::text)
    order by r.ran desc limit ${most}`);
  return rows.map(({ job, kind, ran, most: limitMs }) => ({ jobId: job, kind, ranMs: ran, limitMs }));
}
