import { sql } from "./drizzle.ts";
import { attemptNames as a } from "./names.ts";
import { attempts } from "./schema.ts";
import { scheduleFires, schedules } from "./schema-schedules.ts";
import { names, param, statement } from "./statement.ts";

const f = names(scheduleFires);
const h = names(schedules);

/**
 * How the attempts of jobs ended that schedules made in a time, or up to a week before, by schedule and step: counted
 * where they are, job by job, since no shape says which schedule made a job. Parameters: org, values text[] (names; null:
 * all), from and until (seconds), step (seconds).
 */
export const readScheduleStats = statement(sql`
  select s.${h.name} as value,
    floor((date_part('epoch', x.${a.endedAt}) - ${param("from")}::float8) / ${param("step")}::float8)::int as slot,
    x.${a.outcome} as outcome, x.${a.state} as state,
    muster.histogram_bucket(date_part('epoch', x.${a.endedAt} - x.${a.grantedAt})::real) as bucket, count(*)::float8 as n,
    coalesce(sum(date_part('epoch', x.${a.endedAt} - x.${a.grantedAt})), 0)::float8 as seconds
  from ${scheduleFires} y
  join ${schedules} s on s.${h.orgId} = ${param("org")}::uuid and s.${h.scheduleId} = y.${f.scheduleId}
  join ${attempts} x on x.${a.orgId} = ${param("org")}::uuid and x.${a.jobId} = y.${f.jobId}
  where y.${f.orgId} = ${param("org")}::uuid
    and y.${f.recordedAt} >= to_timestamp(${param("from")}::float8) - interval '7 days'
    and y.${f.recordedAt} < to_timestamp(${param("until")}::float8) and y.${f.jobId} is not null
    and (${param("values")}::text[] is null or s.${h.name} = any(${param("values")}::text[]))
    and x.${a.endedAt} >= to_timestamp(${param("from")}::float8) and x.${a.endedAt} < to_timestamp(${param("until")}::float8)
  group by 1, 2, 3, 4, 5`);
