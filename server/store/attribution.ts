import { Outcome } from "../domain/rules/states.ts";
import { sql } from "./drizzle.ts";
import { attemptNames as a } from "./names.ts";
import { attempts } from "./schema.ts";
import { pullRequests, workers } from "./schema-fleet.ts";
import { names, param, statement } from "./statement.ts";

const pu = names(pullRequests);
const w = names(workers);

const isAsked = sql`p.${pu.orgId} = ${param("org")}::uuid
  and p.${pu.createdAt} >= to_timestamp(${param("from")}::float8) and p.${pu.createdAt} < to_timestamp(${param("until")}::float8)
  and (${param("project")}::text is null or p.${pu.project} = ${param("project")}::text)`;
const counts = sql`count(*)::float8 as pulls, count(*) filter (where p.${pu.isMerged})::float8 as merged`;

/**
 * Pull requests that results named in a time, by who owns the worker and by project. Parameters: org, project (null:
 * any), from and until (seconds).
 */
export const readOwnersPulls = statement(sql`
  select coalesce(k.${w.owner}, '') as contributor, p.${pu.project} as project, ${counts}
  from ${pullRequests} p left join ${workers} k on k.${w.orgId} = ${param("org")}::uuid and k.${w.workerId} = p.${pu.workerId}
  where ${isAsked} group by 1, 2`);

/** The same by who opened them, with the jobs that they came of and the time of the attempts that named them. */
export const readAuthorsPulls = statement(sql`
  select coalesce(p.${pu.author}, '') as contributor, p.${pu.project} as project, ${counts},
    count(distinct p.${pu.jobId})::float8 as jobs, coalesce(sum(ran.seconds), 0)::float8 as seconds
  from ${pullRequests} p left join lateral (
    select date_part('epoch', x.${a.endedAt} - x.${a.grantedAt}) as seconds from ${attempts} x
    where x.${a.orgId} = ${param("org")}::uuid and x.${a.jobId} = p.${pu.jobId} and x.${a.prUrl} is not null
      and x.${a.outcome} = ${sql.raw(String(Outcome.succeeded))} order by x.${a.attempt} limit 1
  ) ran on true
  where ${isAsked} group by 1, 2`);
