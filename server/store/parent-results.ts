import { sql } from "./drizzle.ts";
import { attemptNames as a, jobNames as j, queueNames as q } from "./names.ts";
import { attempts, jobQueue, jobs } from "./schema.ts";
import { param, statement } from "./statement.ts";

/** What a result costs on the wire besides its bytes: ids, kind, external id. */
export const parentBytes = 128;

const ends = sql`select x.${a.jobId} as job_id, x.${a.attempt} as attempt, x.${a.generation} as generation,
    x.${a.state} as state, ${sql.raw(String(parentBytes))} + coalesce(octet_length(x.${a.result}), 0) as bytes
  from ${attempts} x
  where x.${a.orgId} = ${param("org")}::uuid and x.${a.jobId} = any(${param("parents")}::uuid[])
    and x.${a.jobId} >= ${param("low")}::uuid and x.${a.jobId} <= ${param("high")}::uuid and x.${a.final}`;

/** How large the results of ended jobs are. Parameters: org, parents uuid[], low, high (the bounds of their ids). */
export const sizeParents = statement(sql`
  select e.job_id as job, e.generation as generation, e.bytes as bytes from (${ends}) e`);

/**
 * What ended jobs left, each once: those alone that belong to a child whose parents come to at most `limit` bytes.
 * Parameters: org, parents uuid[], low, high (the bounds of their ids); of uuid[] and names uuid[] (which child
 * depends on which, in parallel), limit.
 */
export const readParents = statement(sql`
  with ends as materialized (${ends}), pairs as materialized (
    select p.child, p.parent from unnest(${param("of")}::uuid[], ${param("names")}::uuid[]) as p(child, parent)
  ), fitting as materialized (
    select p.child from pairs p join ends e on e.job_id = p.parent group by p.child
    having sum(e.bytes) <= ${param("limit")}::bigint
  ), asked as materialized (
    select array(select distinct p.parent from pairs p join fitting f on f.child = p.child) as ids
  )
  select e.job_id as job, e.generation as generation, e.state as state, e.bytes as bytes, d.${j.kind} as kind,
    d.${j.externalId} as external, r.${a.result} as result
  from ends e
  join ${jobs} d on d.${j.orgId} = ${param("org")}::uuid and d.${j.jobId} = e.job_id
    and d.${j.jobId} = any((select ids from asked)::uuid[])
    and d.${j.jobId} >= ${param("low")}::uuid and d.${j.jobId} <= ${param("high")}::uuid
  join ${attempts} r on r.${a.orgId} = ${param("org")}::uuid and r.${a.jobId} = e.job_id and r.${a.attempt} = e.attempt
    and r.${a.jobId} = any((select ids from asked)::uuid[])
    and r.${a.jobId} >= ${param("low")}::uuid and r.${a.jobId} <= ${param("high")}::uuid`);

/** On what the job of a current lease depends; no row when it is not current. Parameters: org, job, attempt, lease, worker. */
export const readParentsOf = statement(sql`
  select d.${j.dependsOn} as parents from ${jobQueue} x
  join ${jobs} d on d.${j.orgId} = ${param("org")}::uuid and d.${j.jobId} = ${param("job")}::uuid
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = ${param("job")}::uuid
    and x.${q.attempt} = ${param("attempt")}::int and x.${q.leaseId} = ${param("lease")}::uuid
    and x.${q.workerId} = ${param("worker")}::uuid`);
