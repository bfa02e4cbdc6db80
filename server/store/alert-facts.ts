import { JobState } from "../domain/rules/states.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, sql } from "./drizzle.ts";
import { clock, jobNames as j, queueNames as q } from "./names.ts";
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

/** Fire times that schedules missed, or that came to nothing, within a window, the latest first. */
export async function readMissedFires(tx: Tx, orgId: string, windowMs: number): Promise<AlertEvent[]> {
  const rows = await tx
    .select({
      name: schedules.name,
      scheduleId: scheduleFires.scheduleId,
      fireAt: scheduleFires.fireAt,
      outcome: scheduleFires.outcome,
      count: scheduleFires.count,
      errorReason: scheduleFires.errorReason,
    })
    .from(scheduleFires)
    .innerJoin(schedules, and(eq(schedules.orgId, orgId), eq(schedules.scheduleId, scheduleFires.scheduleId)))
    .where(
      and(
        eq(scheduleFires.orgId, orgId),
        gt(scheduleFires.recordedAt, ago(windowMs)),
        sql`${scheduleFires.outcome} in ('missed', 'failed')`,
      ),
    )
    .orderBy(desc(scheduleFires.recordedAt))
    .limit(mostEvents);
  return rows.map(({ name, scheduleId, fireAt, outcome, count, errorReason }) => ({
    ...{ group: name, key: `${scheduleId} ${fireAt.toISOString()}`, weight: count },
    text: `Schedule ${name} ${outcome} its fire of ${fireAt.toISOString()}${errorReason === "" ? "" : `: ${errorReason}`}`,
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
