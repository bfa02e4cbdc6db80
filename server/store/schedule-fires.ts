import { sql } from "./drizzle.ts";
import { clock, fireNames as f, queueNames as q, scheduleNames as s } from "./names.ts";
import { jobQueue } from "./schema.ts";
import { scheduleFires, schedules } from "./schema-schedules.ts";
import { param, statement } from "./statement.ts";

const ms = (column: typeof clock) => sql`(extract(epoch from ${column}) * 1000)::float8`;

/**
 * Schedules whose time has come, the longest due first, with the database's clock. Parameters: org, limit.
 */
export const readDueSchedules = statement(sql`
  select x.${s.scheduleId} as schedule, x.${s.name} as name, x.${s.cron} as cron, x.${s.zone} as zone,
    x.${s.jitterMs} as jitter_ms, ${ms(sql`x.${s.startAt}`)} as start_ms, ${ms(sql`x.${s.endAt}`)} as end_ms,
    x.${s.overlap} as overlap, x.${s.catchUp} as catch_up, x.${s.catchUpLimit} as catch_up_limit, x.${s.job} as job,
    x.${s.revision} as revision, ${ms(sql`x.${s.createdAt}`)} as created_ms,
    ${ms(sql`x.${s.nextFireAt}`)} as next_ms, x.${s.liveJobs} as live, ${ms(clock)} as now_ms
  from ${schedules} x where x.${s.orgId} = ${param("org")}::uuid and x.${s.dueAt} is not null and x.${s.dueAt} <= ${clock}
  order by x.${s.dueAt} limit ${param("limit")}::int`);

/**
 * Locks those of some schedules that are due and that no other coordinator works on; a schedule that was changed, or
 * fired, since it was read has another revision or time. Parameters: org, schedules uuid[].
 */
export const lockDueSchedules = statement(sql`
  select x.${s.scheduleId} as schedule, x.${s.revision} as revision, ${ms(sql`x.${s.nextFireAt}`)} as next_ms,
    x.${s.liveJobs} as live
  from ${schedules} x where x.${s.orgId} = ${param("org")}::uuid
    and x.${s.scheduleId} = any(${param("schedules")}::uuid[]) and x.${s.dueAt} <= ${clock}
  order by x.${s.scheduleId} for update skip locked`);

/** Those of some jobs that live, and where they stand. Parameters: org, jobs uuid[]. */
export const readLiveJobs = statement(sql`
  select x.${q.jobId} as job, x.${q.state} as state from ${jobQueue} x
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])`);

/**
 * Writes what became of fire times; returns those that nothing had become of, or nothing but what may be made up.
 * Parameters: org, schedules uuid[], times (ms), outcomes, causes, jobs, notes, errors, counts, lasts (ms), again
 * (whether times that made no job may be made up).
 */
export const insertFires = statement(sql`
  insert into ${scheduleFires} as x (${f.orgId}, ${f.scheduleId}, ${f.fireAt}, ${f.outcome}, ${f.cause}, ${f.jobId}, ${f.note},
    ${f.errorReason}, ${f.count}, ${f.lastAt})
  select ${param("org")}::uuid, d.schedule, to_timestamp(d.time / 1000), d.outcome, d.cause, d.job, d.note, d.error, d.count,
    to_timestamp(d.last / 1000)
  from unnest(${param("schedules")}::uuid[], ${param("times")}::float8[], ${param("outcomes")}::text[],
    ${param("causes")}::text[], ${param("jobs")}::uuid[], ${param("notes")}::text[], ${param("errors")}::text[],
    ${param("counts")}::int[], ${param("lasts")}::float8[])
    as d(schedule, time, outcome, cause, job, note, error, count, last)
  order by d.schedule, d.time
  on conflict (${f.orgId}, ${f.scheduleId}, ${f.fireAt}) do update set ${f.outcome} = excluded.${f.outcome},
    ${f.cause} = excluded.${f.cause}, ${f.jobId} = excluded.${f.jobId}, ${f.note} = excluded.${f.note},
    ${f.errorReason} = excluded.${f.errorReason}, ${f.recordedAt} = excluded.${f.recordedAt}
    where ${param("again")}::boolean and x.${f.jobId} is null
  returning x.${f.scheduleId} as schedule, ${ms(sql`x.${f.fireAt}`)} as ms`);

/** Says that fires failed after all. Parameters: org, schedules uuid[], times (ms), notes, errors. */
export const failFires = statement(sql`
  update ${scheduleFires} x set ${f.outcome} = 'failed', ${f.jobId} = null, ${f.note} = d.note, ${f.errorReason} = d.error
  from unnest(${param("schedules")}::uuid[], ${param("times")}::float8[], ${param("notes")}::text[],
    ${param("errors")}::text[]) as d(schedule, time, note, error)
  where x.${f.orgId} = ${param("org")}::uuid and x.${f.scheduleId} = any(${param("schedules")}::uuid[])
    and x.${f.scheduleId} = d.schedule and x.${f.fireAt} = to_timestamp(d.time / 1000)`);

/**
 * Moves schedules on that fired. Parameters: org, schedules uuid[], nexts and dues (ms, null: none), lives (ids by
 * commas), faileds (whether the last fire failed; null: it says nothing), reasons, texts.
 */
export const moveSchedules = statement(sql`
  update ${schedules} x set ${s.nextFireAt} = to_timestamp(d.next / 1000), ${s.dueAt} = to_timestamp(d.due / 1000),
    ${s.liveJobs} = string_to_array(d.live, ',')::uuid[],
    ${s.failingAt} = case when d.failed then coalesce(x.${s.failingAt}, ${clock}) when d.failed is null then x.${s.failingAt} end,
    ${s.failure} = case when d.failed is null then x.${s.failure} else d.reason end,
    ${s.failureText} = case when d.failed is null then x.${s.failureText} else d.text end,
    ${s.failures} = case when d.failed then x.${s.failures} + 1 when d.failed is null then x.${s.failures} else 0 end
  from unnest(${param("schedules")}::uuid[], ${param("nexts")}::float8[], ${param("dues")}::float8[],
    ${param("lives")}::text[], ${param("faileds")}::boolean[], ${param("reasons")}::text[], ${param("texts")}::text[])
    as d(schedule, next, due, live, failed, reason, text)
  where x.${s.orgId} = ${param("org")}::uuid and x.${s.scheduleId} = any(${param("schedules")}::uuid[])
    and x.${s.scheduleId} = d.schedule`);

/** Remembers the live jobs of one schedule that fired out of turn. Parameters: org, schedule, live uuid[]. */
export const keepLiveJobs = statement(sql`
  update ${schedules} x set ${s.liveJobs} = ${param("live")}::uuid[]
  where x.${s.orgId} = ${param("org")}::uuid and x.${s.scheduleId} = ${param("schedule")}::uuid`);

/** Drops history that was written `keep` milliseconds ago or earlier, so much at a time. Parameters: org, keep, limit. */
export const dropFires = statement(sql`
  delete from ${scheduleFires} x where x.${f.orgId} = ${param("org")}::uuid and x.ctid = any(array(
    select o.ctid from ${scheduleFires} o where o.${f.orgId} = ${param("org")}::uuid
      and o.${f.recordedAt} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'
    limit ${param("limit")}::int))
  returning 1 as dropped`);

/** Locks one schedule, whatever its time. Parameters: org, schedule. */
export const lockFiring = statement(sql`
  select x.${s.liveJobs} as live, ${ms(clock)} as now_ms from ${schedules} x
  where x.${s.orgId} = ${param("org")}::uuid and x.${s.scheduleId} = ${param("schedule")}::uuid for update`);

/** Which of some times of a schedule made a job. Parameters: org, schedule, times (ms). */
export const readMadeFires = statement(sql`
  select ${ms(sql`x.${f.fireAt}`)} as ms from ${scheduleFires} x
  where x.${f.orgId} = ${param("org")}::uuid and x.${f.scheduleId} = ${param("schedule")}::uuid
    and x.${f.fireAt} = any(array(select to_timestamp(t / 1000) from unnest(${param("times")}::float8[]) as d(t)))
    and x.${f.jobId} is not null`);
