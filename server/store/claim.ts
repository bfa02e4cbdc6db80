import type { SQL } from "drizzle-orm";
import { liveSources, targetOf } from "../domain/rules/transition-table.ts";
import { sql } from "./drizzle.ts";
import {
  changeNames as ch,
  clock,
  gateNames as g,
  jobNames as j,
  linkNames as l,
  orgNames as o,
  queueNames as q,
  sessionNames as se,
} from "./names.ts";
import { changes, jobQueue, jobs } from "./schema.ts";
import { links, orgs, workers } from "./schema-fleet.ts";
import { gates, sessions } from "./schema-routing.ts";
import { stateNumber, stateNumbers } from "./state-numbers.ts";
import { names, param, statement } from "./statement.ts";
import { tallied } from "./tallies.ts";

const w = names(workers);

const ready = stateNumbers(liveSources("claimed"));
const offered = stateNumber(targetOf("claimed"));

/**
 * Shows the heads of the ready lines of shapes, without locks: up to `limits`
 * of each, in order, with their age in milliseconds. Parameters: org, shapes bigint[], limits int[].
 */
export const peekReady = statement(sql`
  select s.shape_id as shape, h.job_id as job, h.priority as priority,
    extract(epoch from h.ready_at)::float8 as ready, (extract(epoch from ${clock} - h.ready_at) * 1000)::float8 as age
  from unnest(${param("shapes")}::bigint[], ${param("limits")}::int[]) as s(shape_id, most)
  cross join lateral (
    select r.${q.jobId}, r.${q.priority}, r.${q.readyAt} from ${jobQueue} r
    where r.${q.orgId} = ${param("org")}::uuid and r.${q.shapeId} = s.shape_id and r.${q.state} = ${ready}
    order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit s.most
  ) h`);

// Of an org that may do nothing it is one that no gates have: nothing is claimed.
const version = (of: SQL) =>
  sql`(case when ${of}.${o.suspendedAt} is null and ${of}.${o.deletedAt} is null then ${of}.${o.gatesVersion} else -1 end)`;

/** Keeps gates from coming and going until the commit; answers with their version. Parameters: org. */
export const holdGates = statement(sql`
  select ${version(sql`x`)}::float8 as version from ${orgs} x where x.${o.orgId} = ${param("org")}::uuid for share`);

// What a gate has left now. A rate judges by the start of the statement: a wait for the lock never gives more.
const gateColumns = sql`x.${g.key} as key, x.${g.used} as used, x.${g.maxUsed} as most,
  x.${g.pausedAt} is not null and (x.${g.resumeAt} is null or x.${g.resumeAt} > ${clock}) as paused,
  (extract(epoch from x.${g.resumeAt} - ${clock}) * 1000)::float8 as resume_in,
  x.${g.rateJobs} as rate, x.${g.ratePeriodMs} as period,
  least(x.${g.rateJobs}, x.${g.tokens} + greatest(0, extract(epoch from ${clock} - x.${g.tokensAt}))::float8 * 1000
    * x.${g.rateJobs} / x.${g.ratePeriodMs}) as tokens`;

/** All gates of an org, with their version: a hint. Parameters: org. */
export const peekGates = statement(sql`
  select ${version(sql`v`)}::float8 as version, ${gateColumns}
  from ${orgs} v left join ${gates} x on x.${g.orgId} = v.${o.orgId} where v.${o.orgId} = ${param("org")}::uuid`);

/** Locks gates in the order of their keys; answers with what they have left. Parameters: org, keys text[]. */
export const lockGates = statement(sql`
  select ${gateColumns} from ${gates} x
  where x.${g.orgId} = ${param("org")}::uuid and x.${g.key} = any(${param("keys")}::text[])
  order by x.${g.key} for update`);

// Where a row is dealt with one by one, elements are read out of arrays whose elements have one length and no nulls:
// of any other every element before is walked over.
const worker = sql`(${param("workers")}::uuid[])[p.place]`;

/**
 * T4: leases the first ready jobs of some shapes to the workers of `slots`, one slot a job, in order: `limits[i]` of
 * `shapes[i]`, whose slots follow those of the shapes before it. A slot whose link is no longer at its epoch, whose
 * worker may get nothing new, or no more of what may open pull requests, or whose session is no longer its worker's,
 * claims nothing. Nothing at all is claimed when gates have come or gone since `version`. The rows are reached by one
 * ordered index probe a shape, whatever the statistics say; `= any(array)` and hash joins leave no other plan.
 *
 * The caller holds the locks of `holdGates`, and of `lockGates` for the gates that it names: it has seen to it that
 * they have room.
 *
 * What all jobs of a shape have in common is not among the columns, and what is as usual is null: of the time that a
 * claim takes, reading its answer was a third.
 *
 * Parameters: org, version, shapes bigint[], queues text[], limits int[], befores int[] (the sum of the limits before)
 * and sessions text[] (null: none) in parallel, workers uuid[] and epochs bigint[] in parallel (no worker twice), slots
 * int[] (positions in workers, from 1), gateShapes bigint[] and gateKeys text[] (which shape takes places of which
 * gate), nonce, n (of the change), tally.
 */
export const claimReady = statement(sql`
  with live as materialized (
    select k.${l.workerId} as worker_id from ${links} k
    where k.${l.orgId} = ${param("org")}::uuid and k.${l.workerId} = any(${param("workers")}::uuid[])
      and k.${l.isAttached} and not k.${l.isDraining} and k.${l.suspectAt} is null
      and k.${l.workerId} <> all(array(select w.${w.workerId} from ${workers} w
        where w.${w.orgId} = ${param("org")}::uuid and w.${w.workerId} = any(${param("workers")}::uuid[])
          and (w.${w.quarantinedAt} is not null
            or muster.gets_nothing(w.${w.orgId}, w.${w.workerId}, w.${w.approval}, w.${w.hours}, w.${w.maxOpenPrs})
            or (w.${w.maxOpenPrs} is not null and w.${w.maxOpenPrs} < muster.possible_prs(w.${w.orgId}, w.${w.workerId})
              + cardinality(array_positions(${param("slots")}::int[],
                array_position(${param("workers")}::uuid[], w.${w.workerId})))))))
      and k.${l.linkEpoch} = (${param("epochs")}::bigint[])[array_position(${param("workers")}::uuid[], k.${l.workerId})]
      and exists (select 1 from ${orgs} v where v.${o.orgId} = ${param("org")}::uuid
        and v.${o.gatesVersion} = ${param("version")}::bigint
        and v.${o.suspendedAt} is null and v.${o.deletedAt} is null)
    for key share
  ), standing as materialized (
    select array(select w.id = any(array(select worker_id from live))
      from unnest(${param("workers")}::uuid[]) with ordinality as w(id, n) order by w.n) as is_live
  ), owned as materialized (
    select u.${se.sessionId} as session_id, u.${se.workerId} as worker_id from ${sessions} u
    where u.${se.orgId} = ${param("org")}::uuid and u.${se.sessionId} = any(${param("sessions")}::text[])
      and u.${se.isPublished} and not u.${se.isArchived} and u.${se.archivedAt} is null
  ), lines as materialized (
    select s.shape_id, s.queue, s.before, s.session, array(
      select r.${q.jobId} from ${jobQueue} r
      where r.${q.orgId} = ${param("org")}::uuid and r.${q.shapeId} = s.shape_id and r.${q.state} = ${ready}
      order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit s.most
      for update skip locked
    ) as ids
    from unnest(${param("shapes")}::bigint[], ${param("queues")}::text[], ${param("limits")}::int[],
      ${param("befores")}::int[], ${param("sessions")}::text[]) as s(shape_id, queue, most, before, session)
  ), picked as materialized (
    select i.job_id, l.session, (${param("slots")}::int[])[i.n + l.before] as place, i.n + l.before as slot
    from lines l, unnest(l.ids) with ordinality as i(job_id, n)
  ), bounds as materialized (
    select min(p.job_id::text collate "C")::uuid as low, max(p.job_id::text collate "C")::uuid as high from picked p
  ), claimed as (
    update ${jobQueue} c set ${q.state} = ${offered}, ${q.attempt} = c.${q.attempt} + 1,
      ${q.leaseId} = md5(${param("nonce")}::text || c.${q.jobId}::text)::uuid,
      ${q.workerId} = ${worker}, ${q.sessionId} = p.session, ${q.grantedAt} = ${clock}, ${q.wakeAt} = null
    from picked p
    where c.${q.orgId} = ${param("org")}::uuid and c.${q.jobId} = any(array(select p.job_id from picked p))
      and c.${q.jobId} = p.job_id and (select is_live from standing)[p.place]
      and (p.session is null or (p.session, ${worker}) in (select session_id, worker_id from owned))
    returning c.${q.jobId}, c.${q.shapeId}, c.${q.attempt}, c.${q.leaseId}, c.${q.workerId}, c.${q.failures}, p.slot
  ), lanes as materialized (
    select ${q.shapeId} as shape_id, count(*)::int as n from claimed group by 1
  ), counted as (
    ${tallied(sql`(select s.queue, x.n from lanes x join lines s on s.shape_id = x.shape_id)`, {
      ready: sql`-d.n`,
      offered: sql`d.n`,
    })}
  ), entered as materialized (
    select f.key, sum(x.n)::int as n
    from unnest(${param("gateShapes")}::bigint[], ${param("gateKeys")}::text[]) as f(shape_id, key)
    join lanes x on x.shape_id = f.shape_id group by f.key
  ), taken as (
    update ${gates} x set ${g.used} = x.${g.used} + e.n,
      ${g.tokens} = case when x.${g.rateJobs} is null then x.${g.tokens} else least(x.${g.rateJobs}, x.${g.tokens}
        + greatest(0, extract(epoch from ${clock} - x.${g.tokensAt}))::float8 * 1000 * x.${g.rateJobs} / x.${g.ratePeriodMs}) - e.n end,
      ${g.tokensAt} = greatest(x.${g.tokensAt}, ${clock})
    from entered e
    where x.${g.orgId} = ${param("org")}::uuid and x.${g.key} = any(array(select e.key from entered e)) and x.${g.key} = e.key
  ), changed as (
    insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
    select ${param("org")}::uuid, ${param("n")}::smallint, array_agg(${q.jobId}),
      array_agg(${offered}::smallint), array_agg(${q.attempt}), array_agg(${q.workerId})
    from claimed having count(*) > 0
  )
  select c.${q.jobId} as job, c.${q.attempt} as attempt, c.${q.leaseId} as lease, c.slot::int as slot,
    nullif(c.${q.failures}, 0) as failures, nullif(d.${j.title}, '') as title, d.${j.payload} as payload,
    d.${j.softTimeoutMs} as soft, d.${j.hardTimeoutMs} as hard, d.${j.leaseTtlMs} as ttl,
    nullif(d.${j.exclusive} or d.${j.atMostOnce}, false) as exclusive, d.${j.labels} as labels,
    d.${j.project} as project, nullif(d.${j.instructions}, '{}') as instructions, d.${j.maxAttempts} as tries,
    d.${j.dependsOn} as parents
  from claimed c join ${jobs} d on d.${j.orgId} = ${param("org")}::uuid and d.${j.jobId} = c.${q.jobId}
    and d.${j.jobId} = any(array(select p.job_id from picked p))
    and d.${j.jobId} >= (select low from bounds) and d.${j.jobId} <= (select high from bounds)`);
