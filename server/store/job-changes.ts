import type { SQL } from "drizzle-orm";
import { JobState } from "../domain/rules/states.ts";
import { targetOf } from "../domain/rules/transition-table.ts";
import { sql } from "./drizzle.ts";
import {
  attemptNames as a,
  batchNames as b,
  changeNames as ch,
  clock,
  jobNames as j,
  nilUuid,
  queueNames as q,
} from "./names.ts";
import { attempts, batches, changes, deadLetters, jobQueue, jobs } from "./schema.ts";
import { stateNumber } from "./state-numbers.ts";
import { type Call, call, names, param, type Statement, statement } from "./statement.ts";

const dl = names(deadLetters);
const ready = stateNumber(targetOf("replayed"));
const dead = stateNumber(JobState.dead);
const cancelled = stateNumber(JobState.cancelled);

// Reached by their ids; the bounds leave out the partitions that cannot hold them.
const among = (column: SQL) => sql`${column} = any(${param("jobs")}::uuid[])
  and ${column} >= ${param("low")}::uuid and ${column} <= ${param("high")}::uuid`;

/** Pairs a statement with ids of jobs, sorted, and their bounds: `jobs`, `low` and `high`. */
export function callOfJobs(
  of: Statement,
  org: string,
  jobIds: readonly string[],
  values: Readonly<Record<string, unknown>> = {},
): Call {
  const ids = [...jobIds].sort();
  return call(of, { org, jobs: ids, low: ids.at(0), high: ids.at(-1), ...values });
}

/** T15: notes that running jobs are to stop. Parameters: org, jobs, reason, n. */
export const requestCancels = statement(sql`
  with asked as (
    update ${jobQueue} x set ${q.cancelRequestedAt} = coalesce(x.${q.cancelRequestedAt}, ${clock}),
      ${q.reason} = coalesce(nullif(${param("reason")}::text, ''), x.${q.reason})
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
      and x.${q.state} = ${stateNumber(JobState.running)}
    returning x.${q.jobId}, x.${q.state}, x.${q.attempt}, x.${q.workerId}
  )
  insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
  select ${param("org")}::uuid, ${param("n")}::smallint, array_agg(${q.jobId}), array_agg(${q.state}),
    array_agg(${q.attempt}), array_agg(${q.workerId}) from asked having count(*) > 0`);

/** Keeps others from replaying or removing jobs meanwhile: their rows are locked until the commit. Parameters: org, jobs, low, high. */
export const lockAsked = statement(sql`
  select x.${j.jobId} as job from ${jobs} x
  where x.${j.orgId} = ${param("org")}::uuid and ${among(sql`x.${j.jobId}`)}
  order by x.${j.jobId} for no key update`);

/** The ends of the runs of jobs, with what their shapes are made of; several a job. Parameters: org, jobs, low, high. */
export const readFinals = statement(sql`
  select x.${a.jobId} as job, x.${a.attempt} as attempt, x.${a.generation} as generation, x.${a.state} as state,
    d.${j.kind} as kind, d.${j.queue} as queue, d.${j.skills} as skills, d.${j.points} as points, d.${j.pool} as pool,
    d.${j.project} as project, d.${j.opensPullRequest} as opens, d.${j.target} as target, d.${j.submittedBy} as submitter
  from ${attempts} x join ${jobs} d on d.${j.orgId} = x.${a.orgId} and d.${j.jobId} = x.${a.jobId}
    and ${among(sql`d.${j.jobId}`)}
  where x.${a.orgId} = ${param("org")}::uuid and ${among(sql`x.${a.jobId}`)} and x.${a.final}`);

/**
 * T19: new runs of dead or cancelled jobs. An expired deadline is dropped. The caller holds the locks of `lockAsked`,
 * so that nobody else replays them. Parameters: org, jobs, low, high, shapes, attempts, generations, states (of the
 * runs that ended), all in parallel, n.
 */
export const reviveJobs = statement(sql`
  with d as materialized (
    select * from unnest(${param("jobs")}::uuid[], ${param("shapes")}::bigint[], ${param("attempts")}::int[],
      ${param("generations")}::int[], ${param("states")}::smallint[]) as d(job_id, shape, attempt, generation, state)
  ), revived as (
    insert into ${jobQueue} (${q.orgId}, ${q.jobId}, ${q.shapeId}, ${q.readyAt}, ${q.deadline}, ${q.batchId}, ${q.points},
      ${q.reclaimAfterMs}, ${q.leaseTtlMs}, ${q.state}, ${q.priority}, ${q.attempt}, ${q.generation})
    select x.${j.orgId}, x.${j.jobId}, d.shape, ${clock}, case when x.${j.deadline} > ${clock} then x.${j.deadline} end,
      x.${j.batchId}, x.${j.points}, x.${j.reclaimAfterMs}, x.${j.leaseTtlMs}, ${ready}, x.${j.priority}, d.attempt,
      d.generation
    from ${jobs} x join d on d.job_id = x.${j.jobId}
    where x.${j.orgId} = ${param("org")}::uuid and ${among(sql`x.${j.jobId}`)}
    returning ${q.jobId}, ${q.attempt}, ${q.batchId}
  ), back as materialized (
    select r.${q.batchId} as batch_id, count(*)::int as n, count(*) filter (where d.state = ${dead})::int as dead,
      count(*) filter (where d.state = ${cancelled})::int as cancelled
    from revived r join d on d.job_id = r.${q.jobId} where r.${q.batchId} is not null group by 1
  ), counted as (
    update ${batches} w set ${b.pending} = w.${b.pending} + o.n, ${b.dead} = w.${b.dead} - o.dead,
      ${b.cancelled} = w.${b.cancelled} - o.cancelled
    from back o where w.${b.orgId} = ${param("org")}::uuid and w.${b.batchId} = o.batch_id
      and w.${b.batchId} = any(array(select batch_id from back))
  )
  insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
  select ${param("org")}::uuid, ${param("n")}::smallint, array_agg(${q.jobId}), array_agg(${ready}::smallint),
    array_agg(${q.attempt}), array_agg(${sql.raw(`'${nilUuid}'`)}::uuid) from revived having count(*) > 0`);

/** Takes dead letters off the list; returns those that were on it. Parameters: org, jobs. */
export const releaseDeadLetters = statement(sql`
  delete from ${deadLetters} where ${dl.orgId} = ${param("org")}::uuid and ${dl.jobId} = any(${param("jobs")}::uuid[])
  returning ${dl.jobId} as job`);

/** Which jobs have dead letters. Parameters: org, jobs. */
export const findDeadLetters = statement(sql`
  select ${dl.jobId} as job from ${deadLetters}
  where ${dl.orgId} = ${param("org")}::uuid and ${dl.jobId} = any(${param("jobs")}::uuid[])`);

/** Gives locked live jobs another priority, and the runs that may follow. Parameters: org, jobs, low, high, priority. */
export const setPriorities = statement(sql`
  with queued as (
    update ${jobQueue} x set ${q.priority} = ${param("priority")}::smallint
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
  )
  update ${jobs} x set ${j.priority} = ${param("priority")}::smallint
  where x.${j.orgId} = ${param("org")}::uuid and ${among(sql`x.${j.jobId}`)}`);

/** What people may edit of jobs. Parameters: org, jobs, low, high. */
export const readEdited = statement(sql`
  select x.${j.title} as title, x.${j.labels} as labels, x.${j.priority} as priority from ${jobs} x
  where x.${j.orgId} = ${param("org")}::uuid and ${among(sql`x.${j.jobId}`)}`);

/** Gives jobs another title and other labels (JSON text; null: none). Parameters: org, jobs, low, high, title, labels. */
export const setTexts = statement(sql`
  update ${jobs} x set ${j.title} = ${param("title")}::text, ${j.labels} = ${param("labels")}::text::jsonb
  where x.${j.orgId} = ${param("org")}::uuid and ${among(sql`x.${j.jobId}`)}`);
