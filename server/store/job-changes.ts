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
import { names, param, statement } from "./statement.ts";

const dl = names(deadLetters);
const ready = stateNumber(targetOf("replayed"));

/** T15: notes that a running job is to stop. Parameters: org, job, reason. */
export const requestCancel = statement(sql`
  with asked as (
    update ${jobQueue} x set ${q.cancelRequestedAt} = coalesce(x.${q.cancelRequestedAt}, ${clock}),
      ${q.reason} = coalesce(nullif(${param("reason")}::text, ''), x.${q.reason})
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = ${param("job")}::uuid
      and x.${q.state} = ${stateNumber(JobState.running)}
    returning x.${q.jobId}, x.${q.state}, x.${q.attempt}, x.${q.workerId}
  )
  insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
  select ${param("org")}::uuid, 1, array_agg(${q.jobId}), array_agg(${q.state}), array_agg(${q.attempt}),
    array_agg(${q.workerId}) from asked having count(*) > 0`);

/** Keeps others from replaying a job meanwhile: its row is locked until the commit. Parameters: org, job. */
export const lockAsked = statement(sql`
  select x.${j.jobId} as job from ${jobs} x
  where x.${j.orgId} = ${param("org")}::uuid and x.${j.jobId} = ${param("job")}::uuid for no key update`);

/** The end of the latest run of a job, with what its shape is made of. Parameters: org, job. */
export const readFinal = statement(sql`
  select x.${a.attempt} as attempt, x.${a.generation} as generation, x.${a.state} as state, d.${j.kind} as kind,
    d.${j.queue} as queue, d.${j.skills} as skills, d.${j.points} as points, d.${j.pool} as pool,
    d.${j.project} as project, d.${j.opensPullRequest} as opens, d.${j.target} as target
  from ${attempts} x join ${jobs} d on d.${j.orgId} = x.${a.orgId} and d.${j.jobId} = x.${a.jobId}
    and d.${j.jobId} = ${param("job")}::uuid
  where x.${a.orgId} = ${param("org")}::uuid and x.${a.jobId} = ${param("job")}::uuid and x.${a.final}
  order by x.${a.generation} desc limit 1`);

/**
 * T19: a new run of a dead or cancelled job. An expired deadline is dropped.
 * The caller holds the lock of `lockAsked`, so that nobody else replays it.
 * Parameters: org, job, shape, attempt, generation, state (of the run that ended).
 */
export const reviveJob = statement(sql`
  with revived as (
    insert into ${jobQueue} (${q.orgId}, ${q.jobId}, ${q.shapeId}, ${q.readyAt}, ${q.deadline}, ${q.batchId}, ${q.points},
      ${q.reclaimAfterMs}, ${q.leaseTtlMs}, ${q.state}, ${q.priority}, ${q.attempt}, ${q.generation})
    select d.${j.orgId}, d.${j.jobId}, ${param("shape")}::bigint, ${clock},
      case when d.${j.deadline} > ${clock} then d.${j.deadline} end, d.${j.batchId}, d.${j.points}, d.${j.reclaimAfterMs},
      d.${j.leaseTtlMs}, ${ready}, d.${j.priority}, ${param("attempt")}::int, ${param("generation")}::int
    from ${jobs} d where d.${j.orgId} = ${param("org")}::uuid and d.${j.jobId} = ${param("job")}::uuid
    returning ${q.jobId}, ${q.attempt}, ${q.batchId}
  ), counted as (
    update ${batches} w set ${b.pending} = w.${b.pending} + 1,
      ${b.dead} = w.${b.dead} - case when ${param("state")}::int = ${stateNumber(JobState.dead)} then 1 else 0 end,
      ${b.cancelled} = w.${b.cancelled} - case when ${param("state")}::int = ${stateNumber(JobState.cancelled)} then 1 else 0 end
    where w.${b.orgId} = ${param("org")}::uuid and w.${b.batchId} = (select ${q.batchId} from revived)
  )
  insert into ${changes} (${ch.orgId}, ${ch.n}, ${ch.jobIds}, ${ch.states}, ${ch.attempts}, ${ch.workerIds})
  select ${param("org")}::uuid, 1, array[${q.jobId}], array[${ready}::smallint], array[${q.attempt}],
    array[${sql.raw(`'${nilUuid}'`)}::uuid] from revived`);

/** Takes dead letters off the list. Parameters: org, jobs. */
export const releaseDeadLetters = statement(sql`
  delete from ${deadLetters} where ${dl.orgId} = ${param("org")}::uuid and ${dl.jobId} = any(${param("jobs")}::uuid[])`);
