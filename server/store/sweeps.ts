import { runConditions } from "../domain/rules/alert-rules.ts";
import { JobState } from "../domain/rules/states.ts";
import { liveSources } from "../domain/rules/transition-table.ts";
import { sql } from "./drizzle.ts";
import {
  changeNames as ch,
  clock,
  keyNames as k,
  linkNames as l,
  nilUuid,
  queueNames as q,
  shapeNames as s,
  tallyNames as t,
} from "./names.ts";
import { changes, jobKeys, jobQueue, lateResults, tallies } from "./schema.ts";
import { alertRules } from "./schema-alerts.ts";
import { events, webhooks } from "./schema-events.ts";
import { coordinators, links, workers } from "./schema-fleet.ts";
import { stateNumbers } from "./state-numbers.ts";
import { names, param, statement } from "./statement.ts";
import { ofShapes, tallied, tallyCounts } from "./tallies.ts";

const w = names(workers);
const lr = names(lateResults);
const co = names(coordinators);
const ev = names(events);
const wh = names(webhooks);
const ar = names(alertRules);

const raw = (value: number) => sql.raw(String(value));
const nobody = sql.raw(`'${nilUuid}'::uuid`);

// By how much the number of jobs in a state changes.
function change(state: JobState) {
  return sql`case d.target when ${raw(state)} then d.n else 0 end - case d.source when ${raw(state)} then d.n else 0 end`;
}

/** Rows that one pass of a sweep takes. */
export const sweepRows = 1_000;

/**
 * T3: jobs whose time has come. One that was parked goes back to what it
 * waited for before: its `ready_at` says until when. Returns them.
 * Parameters: org, limit, tally (a new id).
 */
export const promoteDue = statement(sql`
  with found as materialized (
    select d.${q.jobId} as job_id, d.${q.shapeId} as shape_id, d.${q.state} as source, case when d.${q.waitingOn} > 0 then ${raw(JobState.blocked)}
      when d.${q.state} = ${raw(JobState.parked)} and d.${q.readyAt} > ${clock} then ${raw(JobState.scheduled)}
      else ${raw(JobState.ready)} end as target
    from ${jobQueue} d where d.${q.orgId} = ${param("org")}::uuid and d.${q.wakeAt} <= ${clock}
      and d.${q.state} in (${stateNumbers(liveSources("due"))})
    order by d.${q.wakeAt} limit ${param("limit")}::int for update skip locked
  ), promoted as (
    update ${jobQueue} x set ${q.state} = f.target, ${q.reason} = null,
      ${q.wakeAt} = case when f.target = ${raw(JobState.scheduled)} then x.${q.readyAt} end,
      ${q.readyAt} = case when f.target = ${raw(JobState.blocked)} then x.${q.readyAt}
        when f.target <> ${raw(JobState.ready)} then null
        when x.${q.state} = ${raw(JobState.parked)} then ${clock} else coalesce(x.${q.readyAt}, ${clock}) end
    from found f
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(array(select job_id from found)) and x.${q.jobId} = f.job_id
    returning x.${q.jobId}, x.${q.state}, x.${q.attempt}
  ), lanes as materialized (
    select f.shape_id, f.source, f.target, count(*)::int as n from found f group by 1, 2, 3
  ), moved as materialized (
    ${ofShapes(sql`h.${s.queue} as queue, x.source, x.target, x.n`, sql`lanes`)}
  ), counted as (
    ${tallied(sql`moved`, {
      scheduled: change(JobState.scheduled),
      parked: change(JobState.parked),
      blocked: change(JobState.blocked),
      ready: change(JobState.ready),
    })}
  ), changed as (
    insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
    select ${param("org")}::uuid, 1, array_agg(${q.jobId}), array_agg(${q.state}), array_agg(${q.attempt}),
      array_agg(${nobody}) from promoted having count(*) > 0
  )
  select ${q.jobId} as job from promoted`);

/** Ready jobs of a shape get another one; `due` only those whose cool-down is over. Parameters: org, from, to, due, limit. */
export const reshapeReady = statement(sql`
  update ${jobQueue} x set ${q.shapeId} = ${param("to")}::bigint, ${q.wakeAt} = null
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(array(
    select d.${q.jobId} from ${jobQueue} d where d.${q.orgId} = ${param("org")}::uuid
      and d.${q.shapeId} = ${param("from")}::bigint and d.${q.state} = ${raw(JobState.ready)}
      and (d.${q.wakeAt} <= ${clock} or (not ${param("due")}::boolean and d.${q.losses} > 0))
    order by d.${q.priority} desc, d.${q.readyAt}, d.${q.jobId} limit ${param("limit")}::int for update skip locked))
  returning x.${q.jobId} as job`);

const silence = sql`(k.${l.seenAt} is null or k.${l.seenAt} < ${clock} - x.${q.reclaimAfterMs} * interval '1 millisecond')`;
const isOverCap = sql`x.${q.grantedAt} < ${clock} - x.${q.leaseTtlMs} * interval '1 millisecond'`;

/** T13: leases of silent links, and leases over their cap. Parameters: org, limit. */
export const findLost = statement(sql`
  select x.${q.jobId} as job, x.${q.attempt} as attempt, x.${q.leaseId} as lease, x.${q.workerId} as worker,
    ${isOverCap} as capped, coalesce(k.${l.isDraining}, false) as draining, k.${l.coordinatorId} as coordinator,
    (extract(epoch from ${clock} - k.${l.seenAt}) * 1000)::float8 as silent
  from ${jobQueue} x left join ${links} k on k.${l.orgId} = ${param("org")}::uuid and k.${l.workerId} = x.${q.workerId}
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.workerId} is not null and (${silence} or ${isOverCap})
  limit ${param("limit")}::int`);

/** When each coordinator showed life last, in milliseconds before now. */
export const findCoordinators = statement(sql`
  select c.${co.coordinatorId} as coordinator, (extract(epoch from ${clock} - c.${co.seenAt}) * 1000)::float8 as silent
  from ${coordinators} c`);

/** The same judgement on leases whose rows are locked. Parameters: org, jobs, leases. */
export const confirmLost = statement(sql`
  select x.${q.leaseId} as lease
  from ${jobQueue} x left join ${links} k on k.${l.orgId} = ${param("org")}::uuid and k.${l.workerId} = x.${q.workerId}
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
    and x.${q.leaseId} = any(${param("leases")}::uuid[]) and (${silence} or ${isOverCap})`);

const milliseconds = (name: string) => sql`${param(name)}::bigint * interval '1 millisecond'`;

/**
 * How many links are attached or belong to workers that hold leases (a stream that broke may have closed its
 * link), and how many of them fell silent lately. Parameters: org, silent and window (milliseconds).
 */
export const countLinks = statement(sql`
  select count(*)::int as links,
    count(*) filter (where k.${l.seenAt} < ${clock} - ${milliseconds("silent")}
      and k.${l.seenAt} >= ${clock} - ${milliseconds("silent")} - ${milliseconds("window")})::int as vanished
  from ${links} k where k.${l.orgId} = ${param("org")}::uuid and (k.${l.isAttached} or exists (
    select 1 from ${jobQueue} x where x.${q.orgId} = ${param("org")}::uuid and x.${q.workerId} = k.${l.workerId}))`);

/** T18: jobs whose deadline has passed. Parameters: org, limit. */
export const findOverdue = statement(sql`
  select x.${q.jobId} as job, x.${q.state} as state from ${jobQueue} x
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.deadline} <= ${clock} and x.${q.cancelRequestedAt} is null
  order by x.${q.deadline} limit ${param("limit")}::int`);

const countColumns = sql.join(
  tallyCounts.map((name) => t[name]),
  sql`, `,
);

/** Folds counts into one row a queue and minute; those of finished days into one row a day. Parameters: org, tally. */
export const foldTallies = statement(sql`
  with old as (
    delete from ${tallies} x where x.${t.orgId} = ${param("org")}::uuid and x.${t.at} < date_trunc('minute', ${clock})
    returning x.*
  ), folded as (
    select o.${t.queue}, case when o.${t.at} < date_trunc('day', ${clock}) then date_trunc('day', o.${t.at})
        else date_trunc('minute', o.${t.at}) end as minute,
      ${sql.join(
        tallyCounts.map((name) => sql`sum(o.${t[name]})::bigint as ${t[name]}`),
        sql`, `,
      )}
    from old o group by 1, 2
  )
  insert into ${tallies} (${t.orgId}, ${t.tallyId}, ${t.queue}, ${t.at}, ${countColumns})
  select ${param("org")}::uuid, md5(${param("tally")}::text || minute::text)::uuid, ${t.queue}, minute, ${countColumns}
  from folded`);

// Up to where every webhook that is on was told, and every rule on runs counted; all, where there is none.
const told = sql`least(
  coalesce((select w.${wh.cursorXid} from ${webhooks} w where w.${wh.orgId} = ${param("org")}::uuid
    and not w.${wh.isDisabled} order by w.${wh.cursorXid} limit 1), '9223372036854775807'::xid8),
  coalesce((select split_part(r.${ar.cursor}, '.', 2)::xid8 as place from ${alertRules} r
    where r.${ar.orgId} = ${param("org")}::uuid and not r.${ar.isDisabled}
      and r.${ar.definition} ->> 'condition' in (${sql.raw(runConditions.map((name) => `'${name}'`).join(", "))})
    order by place limit 1), '9223372036854775807'::xid8))`;

/**
 * Drops the changes that are older than `keep` milliseconds, the oldest first, so many at a time. The newest of them
 * stays: it tells how far the feed was dropped. What a webhook was not told yet, or a rule did not count, stays up to
 * `most` milliseconds.
 * Parameters: org, keep, most, limit.
 */
export const dropChanges = statement(sql`
  with old as materialized (
    select o.${ch.xid} as xid, o.${ch.n} as n from ${changes} o where o.${ch.orgId} = ${param("org")}::uuid
      and o.${ch.at} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'
      and (o.${ch.xid} < ${told} or o.${ch.at} < ${clock} - ${param("most")}::bigint * interval '1 millisecond')
    order by o.${ch.xid}, o.${ch.n} limit ${param("limit")}::int + 1
  )
  delete from ${changes} x using old where x.${ch.orgId} = ${param("org")}::uuid and x.${ch.xid} = old.xid
    and x.${ch.n} = old.n and exists (select 1 from old y where (y.xid, y.n) > (old.xid, old.n))
  returning 1 as dropped`);

/** The same for events that are no transitions. Parameters: org, keep, most, limit. */
export const dropEvents = statement(sql`
  with old as materialized (
    select o.${ev.xid} as xid, o.${ev.eventId} as id from ${events} o where o.${ev.orgId} = ${param("org")}::uuid
      and o.${ev.at} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'
      and (o.${ev.xid} < ${told} or o.${ev.at} < ${clock} - ${param("most")}::bigint * interval '1 millisecond')
    order by o.${ev.xid}, o.${ev.eventId} limit ${param("limit")}::int + 1
  )
  delete from ${events} x using old where x.${ev.orgId} = ${param("org")}::uuid and x.${ev.xid} = old.xid
    and x.${ev.eventId} = old.id and exists (select 1 from old y where (y.xid, y.id) > (old.xid, old.id))
  returning 1 as dropped`);

/** Drops idempotency keys that have expired, so many at a time. Parameters: org, limit. */
export const dropExpiredKeys = statement(sql`
  delete from ${jobKeys} x where x.${k.orgId} = ${param("org")}::uuid and x.ctid = any(array(
    select o.ctid from ${jobKeys} o where o.${k.orgId} = ${param("org")}::uuid and o.${k.expiresAt} <= ${clock}
    limit ${param("limit")}::int))
  returning 1 as dropped`);

/** Drops results that came too late `keep` milliseconds ago or earlier, so many at a time. Parameters: org, keep, limit. */
export const dropLateResults = statement(sql`
  delete from ${lateResults} x where x.${lr.orgId} = ${param("org")}::uuid and x.ctid = any(array(
    select o.ctid from ${lateResults} o where o.${lr.orgId} = ${param("org")}::uuid
      and o.${lr.receivedAt} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'
    limit ${param("limit")}::int))
  returning 1 as dropped`);

/**
 * Which of some attached workers could run a shape, on any coordinator.
 * Parameters: org, silent (milliseconds), kind, skills (of the shape), points.
 */
export const capableWorkers = statement(sql`
  select k.${l.workerId} as worker from ${links} k
  join ${workers} w on w.${w.orgId} = ${param("org")}::uuid and w.${w.workerId} = k.${l.workerId}
  where k.${l.orgId} = ${param("org")}::uuid and k.${l.isAttached} and not k.${l.isDraining}
    and k.${l.suspectAt} is null and w.${w.quarantinedAt} is null
    and k.${l.seenAt} >= ${clock} - ${param("silent")}::bigint * interval '1 millisecond'
    and ${param("kind")}::text = any(w.${w.kinds}) and w.${w.points} >= ${param("points")}::int
    and ${param("skills")}::text[] <@ array(select s ->> 'name' from jsonb_array_elements(w.${w.skills}) s)`);
