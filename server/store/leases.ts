import type { SQL } from "drizzle-orm";
import { JobState, Outcome } from "../domain/rules/states.ts";
import { liveSources, targetOf } from "../domain/rules/transition-table.ts";
import { succeededAnyway } from "../domain/rules/transitions.ts";
import { sql } from "./drizzle.ts";
import { givenBack } from "./gate-exits.ts";
import {
  attemptNames as a,
  batchNames as b,
  changeNames as ch,
  clock,
  jobNames as j,
  nilUuid,
  queueNames as q,
  shapeNames as s,
} from "./names.ts";
import { attempts, batches, changes, jobQueue, jobs, progress, shapes } from "./schema.ts";
import { stateNumber, stateNumbers } from "./state-numbers.ts";
import { names, param, statement } from "./statement.ts";
import { stated } from "./stats.ts";
import { ofShapes, tallied } from "./tallies.ts";

const pr = names(progress);
const running = stateNumber(targetOf("accepted"));
const succeeded = stateNumber(targetOf("succeeded"));

// The fence: what every write of a worker repeats. The worker is compared in a
// form that no index serves: with stale statistics the small index of leased
// rows would look better than the ids. Parameters: org, jobs
// uuid[], attempts int[], leases uuid[], workers uuid[], in parallel.
const fences = sql`unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[],
  ${param("workers")}::uuid[]) as f(job_id, attempt, lease_id, worker_id)`;
const fenced = sql`x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
  and x.${q.jobId} = f.job_id and x.${q.attempt} = f.attempt and x.${q.leaseId} = f.lease_id
  and x.${q.workerId} is not distinct from f.worker_id`;

/**
 * T5: offered leases that their worker accepted become running. Returns the
 * leases that are current, those that ran before too: the answer to an
 * earlier accept may have been lost. Parameters: the fence, n, tally (a new id).
 */
export const acceptLeases = statement(sql`
  with held as materialized (
    select x.${q.jobId}, x.${q.leaseId}, x.${q.state} from ${jobQueue} x cross join ${fences}
    where ${fenced} order by x.${q.jobId} for update of x
  ), accepted as (
    update ${jobQueue} x set ${q.state} = ${running} from ${fences}
    where ${fenced} and x.${q.state} in (${stateNumbers(liveSources("accepted"))})
      and x.${q.jobId} in (select ${q.jobId} from held)
    returning x.${q.jobId}, x.${q.attempt}, x.${q.leaseId}, x.${q.workerId}, x.${q.shapeId}
  ), lanes as materialized (
    select ${q.shapeId} as shape_id, count(*)::int as n from accepted group by 1
  ), moved as materialized (
    ${ofShapes(sql`h.${s.queue} as queue, x.n`, sql`lanes`)}
  ), counted as (
    ${tallied(sql`moved`, { offered: sql`-d.n`, running: sql`d.n` })}
  ), changed as (
    insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
    select ${param("org")}::uuid, ${param("n")}::smallint, array_agg(${q.jobId}),
      array_agg(${running}::smallint), array_agg(${q.attempt}), array_agg(${q.workerId})
    from accepted having count(*) > 0
  )
  select ${q.leaseId} as lease from held`);

/**
 * T8: successes under current leases end their runs, all effects in one
 * statement, except where other jobs wait for the end; returns how many results did it (`n`), and which (`results`) when
 * not all did. Parameters: the fence, results bytea as text[], ids uuid[] (of
 * the results), sequences bigint[], reported uuid[] (jobs that have a
 * progress row), tally, n.
 */
export const finishLeases = statement(sql`
  with f as (
    select * from unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[],
      ${param("workers")}::uuid[], ${param("results")}::text[], ${param("ids")}::uuid[], ${param("sequences")}::bigint[])
      as f(job_id, attempt, lease_id, worker_id, result, result_id, last_sequence)
  ), ended as (
    delete from ${jobQueue} x using f where ${fenced} and x.${q.state} in (${stateNumbers(liveSources("succeeded"))})
      and not x.${q.hasDependants}
    returning x.${q.orgId}, x.${q.jobId}, x.${q.attempt}, x.${q.generation}, x.${q.grantedAt}, x.${q.workerId},
      x.${q.leaseId}, x.${q.failures}, x.${q.losses}, x.${q.releases}, x.${q.cancelRequestedAt}, x.${q.sessionId},
      x.${q.batchId}, x.${q.shapeId}, x.${q.readyAt}, x.${q.state}, f.result, f.result_id, f.last_sequence
  ), kept as (
    insert into ${attempts} (${a.orgId}, ${a.jobId}, ${a.attempt}, ${a.generation}, ${a.grantedAt}, ${a.workerId},
      ${a.leaseId}, ${a.resultId}, ${a.outcome}, ${a.state}, ${a.failures}, ${a.losses}, ${a.releases}, ${a.final},
      ${a.ordinal}, ${a.result}, ${a.reason}, ${a.sessionId}, ${a.lastSequence})
    select ${q.orgId}, ${q.jobId}, ${q.attempt}, ${q.generation}, ${q.grantedAt}, ${q.workerId}, ${q.leaseId}, result_id,
      ${sql.raw(String(Outcome.succeeded))}, ${succeeded}, ${q.failures}, ${q.losses}, ${q.releases}, true, 0,
      convert_to(result, 'UTF8'),
      case when ${q.cancelRequestedAt} is not null then ${sql.raw(`'${succeededAnyway}'`)} end, ${q.sessionId}, last_sequence
    from ended
  ), counted as (
    update ${batches} w set ${b.pending} = w.${b.pending} - d.n, ${b.succeeded} = w.${b.succeeded} + d.n
    from (select ${q.batchId} as batch_id, count(*)::int as n from ended where ${q.batchId} is not null group by 1) d
    where w.${b.orgId} = ${param("org")}::uuid and w.${b.batchId} = d.batch_id
      and w.${b.batchId} = any(array(select distinct ${q.batchId} from ended where ${q.batchId} is not null))
  ), cleared as (
    delete from ${progress} where ${pr.orgId} = ${param("org")}::uuid and ${pr.jobId} = any(${param("reported")}::uuid[])
      and ${pr.jobId} = any(array(select ${q.jobId} from ended))
  ), lanes as materialized (
    select ${q.shapeId} as shape_id, count(*)::int as n, count(*) filter (where ${q.state} = ${running})::int as running
    from ended group by 1
  ), ends as materialized (
    ${ofShapes(
      sql`h.${s.kind} as kind, h.${s.queue} as queue, h.${s.pool} as pool, h.${s.project} as project, x.n, x.running`,
      sql`lanes`,
    )}
  ), tallied as (
    ${tallied(sql`ends`, { succeeded: sql`d.n`, running: sql`-d.running`, offered: sql`d.running - d.n` })}
  ), ${givenBack(sql`ends`)}, stated as (
    ${stated(sql`ended`)}
  ), changed as (
    insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
    select ${param("org")}::uuid, ${param("n")}::smallint, array_agg(${q.jobId}),
      array_agg(${succeeded}::smallint), array_agg(${q.attempt}), array_agg(${q.workerId})
    from ended having count(*) > 0
  )
  select count(*)::int as n, case when count(*) < cardinality(${param("jobs")}::uuid[]) then array_agg(result_id) end as results
  from ended`);

// The history is reached by its ids too; the bounds leave out the partitions that cannot hold them.
const among = (column: SQL) => sql`${column} = any(${param("jobs")}::uuid[])
  and ${column} >= ${param("low")}::uuid and ${column} <= ${param("high")}::uuid`;

// A parked or blocked row keeps as its ready_at until when a run_at or a backoff holds it, whatever its wake_at is.
const readyIn = sql`case when x.${q.state} in (${stateNumbers([JobState.parked, JobState.blocked])})
  then ceil(extract(epoch from x.${q.readyAt} - ${clock}) * 1000)::float8 end`;

/** What a decision needs of a job's row and its policy. */
const decisionColumns = sql`x.${q.jobId} as job, x.${q.attempt} as attempt, x.${q.generation} as generation,
  x.${q.leaseId} as lease, x.${q.workerId} as worker, x.${q.shapeId} as shape, x.${q.state} as state,
  x.${q.failures} as failures, x.${q.losses} as losses, x.${q.releases} as releases, x.${q.batchId} as batch,
  x.${q.cancelRequestedAt} is not null as cancelling, x.${q.waitingOn} as waiting, x.${q.reason} as reason,
  extract(epoch from x.${q.grantedAt})::float8 as granted,
  date_part('epoch', x.${q.grantedAt} - x.${q.readyAt}) as waited, ${readyIn} as ready_in,
  coalesce(x.${q.deadline} <= ${clock}, false) as overdue, (extract(epoch from ${clock}) * 1000)::float8 as read_at,
  d.${j.maxAttempts} as tries, d.${j.backoffInitialMs} as backoff_initial, d.${j.backoffMaxMs} as backoff_max,
  d.${j.backoffFactor} as backoff_factor, d.${j.atMostOnce} as at_most_once, d.${j.kind} as kind,
  d.${j.project} as project, h.${s.avoid} as avoid, h.${s.alone} as alone, d.${j.queue} as queue, d.${j.skills} as skills,
  d.${j.points} as points, d.${j.pool} as pool, d.${j.opensPullRequest} as opens, d.${j.target} as asked_target, d.${j.submittedBy} as submitter,
  h.${s.target} as target, x.${q.sessionId} as session, x.${q.hasDependants} as has_dependants,
  d.${j.dependencyPolicy} as policy, x.${q.priority} as priority`;
const decisionSources = sql`left join ${jobs} d on d.${j.orgId} = ${param("org")}::uuid and d.${j.jobId} = x.${q.jobId}
    and ${among(sql`d.${j.jobId}`)}
  left join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid and h.${s.shapeId} = x.${q.shapeId}`;

/** Locks live rows under their fences, in the order of their ids. Parameters: the fence, low, high. */
export const lockLeases = statement(sql`
  select ${decisionColumns} from ${jobQueue} x ${decisionSources} cross join ${fences}
  where ${fenced} order by x.${q.jobId} for update of x`);

/** Locks live rows by their ids, whatever their state. Parameters: org, jobs uuid[], low, high. */
export const lockJobs = statement(sql`
  select ${decisionColumns} from ${jobQueue} x ${decisionSources}
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
  order by x.${q.jobId} for update of x`);

/** The same without locks: for what only looks. Parameters: org, jobs uuid[], low, high. */
export const peekJobs = statement(sql`
  select ${decisionColumns} from ${jobQueue} x ${decisionSources}
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])`);

/** What became of attempts that are no longer current. Parameters: org, jobs uuid[], low, high. */
export const readAttempts = statement(sql`
  select x.${a.jobId} as job, x.${a.attempt} as attempt, x.${a.resultId} as result_id, x.${a.leaseId} as lease,
    x.${a.workerId} as worker
  from ${attempts} x where x.${a.orgId} = ${param("org")}::uuid and ${among(sql`x.${a.jobId}`)}`);

/** The leases of workers. Parameters: org, workers uuid[]. */
export const readLeases = statement(sql`
  select x.${q.jobId} as job, x.${q.attempt} as attempt, x.${q.leaseId} as lease, x.${q.workerId} as worker,
    x.${q.state} as state, x.${q.points} as points, x.${q.cancelRequestedAt} is not null as cancelling,
    x.${q.reason} as reason, extract(epoch from ${clock} - x.${q.grantedAt})::float8 as age
  from ${jobQueue} x where x.${q.orgId} = ${param("org")}::uuid and x.${q.workerId} = any(${param("workers")}::uuid[])`);

/** Stands for "no worker" in the change feed. */
export const noWorker = nilUuid;

/** The present attempts of jobs. Parameters: org, jobs uuid[]. */
export const readLeaseOf = statement(sql`
  select x.${q.jobId} as job, x.${q.attempt} as attempt from ${jobQueue} x
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])`);
