import { liveSources, targetOf } from "../domain/rules/transition-table.ts";
import { sql } from "./drizzle.ts";
import { changeNames as ch, clock, jobNames as j, linkNames as l, queueNames as q } from "./names.ts";
import { changes, jobQueue, jobs } from "./schema.ts";
import { links, workers } from "./schema-fleet.ts";
import { stateNumber, stateNumbers } from "./state-numbers.ts";
import { names, param, statement } from "./statement.ts";
import { tallied } from "./tallies.ts";

const w = names(workers);

const ready = stateNumbers(liveSources("claimed"));
const offered = stateNumber(targetOf("claimed"));

/**
 * Shows the heads of the ready lines of shapes, without locks: up to `limit`
 * a shape, in order. Parameters: org, shapes bigint[], limit.
 */
export const peekReady = statement(sql`
  select s.shape_id as shape, h.job_id as job, h.priority as priority,
    extract(epoch from h.ready_at)::float8 as ready
  from unnest(${param("shapes")}::bigint[]) as s(shape_id)
  cross join lateral (
    select r.${q.jobId}, r.${q.priority}, r.${q.readyAt} from ${jobQueue} r
    where r.${q.orgId} = ${param("org")}::uuid and r.${q.shapeId} = s.shape_id and r.${q.state} = ${ready}
    order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit ${param("limit")}::int
  ) h`);

/**
 * T4: leases the first ready jobs of one shape to the workers of `slots`, one
 * slot a job, in order. A slot whose link is no longer at its epoch, or whose
 * worker may get nothing new, claims nothing. The rows are reached by one ordered index probe, whatever the
 * statistics say; `= any(array)` and hash joins leave no other plan.
 *
 * Parameters: org, shape, limit (= slots), slots uuid[], workers uuid[] and
 * epochs bigint[] (the distinct workers of the slots), nonce, n (of the change).
 */
export const claimShape = statement(sql`
  with live as materialized (
    select k.${l.workerId} as worker_id from ${links} k
    where k.${l.orgId} = ${param("org")}::uuid and k.${l.workerId} = any(${param("workers")}::uuid[])
      and k.${l.isAttached} and not k.${l.isDraining} and k.${l.suspectAt} is null
      and k.${l.workerId} <> all(array(select w.${w.workerId} from ${workers} w
        where w.${w.orgId} = ${param("org")}::uuid and w.${w.workerId} = any(${param("workers")}::uuid[])
          and w.${w.quarantinedAt} is not null))
      and k.${l.linkEpoch} = (${param("epochs")}::bigint[])[array_position(${param("workers")}::uuid[], k.${l.workerId})]
    for key share
  ), picked as materialized (
    select array(
      select r.${q.jobId} from ${jobQueue} r
      where r.${q.orgId} = ${param("org")}::uuid and r.${q.shapeId} = ${param("shape")}::bigint and r.${q.state} = ${ready}
      order by r.${q.priority} desc, r.${q.readyAt}, r.${q.jobId} limit ${param("limit")}::int
      for update skip locked
    ) as ids
  ), bounds as materialized (
    select min(i::text)::uuid as low, max(i::text)::uuid as high from unnest((select ids from picked)) i
  ), claimed as (
    update ${jobQueue} c set ${q.state} = ${offered}, ${q.attempt} = c.${q.attempt} + 1,
      ${q.leaseId} = md5(${param("nonce")}::text || c.${q.jobId}::text)::uuid,
      ${q.workerId} = (${param("slots")}::uuid[])[p.slot], ${q.grantedAt} = ${clock}, ${q.wakeAt} = null
    from unnest((select ids from picked)) with ordinality as p(job_id, slot)
    where c.${q.orgId} = ${param("org")}::uuid and c.${q.jobId} = any((select ids from picked)::uuid[])
      and c.${q.jobId} = p.job_id and (${param("slots")}::uuid[])[p.slot] = any(array(select worker_id from live))
    returning c.${q.jobId}, c.${q.attempt}, c.${q.leaseId}, c.${q.workerId}, c.${q.failures}
  ), counted as (
    ${tallied(sql`(select ${param("queue")}::text as queue from claimed)`, { ready: sql`-1`, offered: sql`1` })}
  ), changed as (
    insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
    select ${param("org")}::uuid, ${param("n")}::smallint, array_agg(${q.jobId}),
      array_agg(${offered}::smallint), array_agg(${q.attempt}), array_agg(${q.workerId})
    from claimed having count(*) > 0
  )
  select c.${q.jobId} as job, c.${q.attempt} as attempt, c.${q.leaseId} as lease, c.${q.workerId} as worker,
    c.${q.failures} as failures, d.${j.kind} as kind, d.${j.title} as title, d.${j.payload} as payload,
    d.${j.queue} as queue, d.${j.points} as points, d.${j.softTimeoutMs} as soft, d.${j.hardTimeoutMs} as hard,
    d.${j.leaseTtlMs} as ttl, d.${j.exclusive} or d.${j.atMostOnce} as exclusive, d.${j.labels} as labels, d.${j.project} as project,
    d.${j.skills} as skills, d.${j.maxAttempts} as tries
  from claimed c join ${jobs} d on d.${j.orgId} = ${param("org")}::uuid and d.${j.jobId} = c.${q.jobId}
    and d.${j.jobId} = any((select ids from picked)::uuid[])
    and d.${j.jobId} >= (select low from bounds) and d.${j.jobId} <= (select high from bounds)`);
