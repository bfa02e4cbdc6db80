import { sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { workerLosses, workers } from "./schema-fleet.ts";
import { type Call, call, names, param, statement } from "./statement.ts";

const wl = names(workerLosses);
const w = names(workers);

const window = sql`${param("window")}::bigint * interval '1 millisecond'`;

const insertLosses = statement(sql`
  insert into ${workerLosses} (${wl.orgId}, ${wl.workerId}, ${wl.jobId}, ${wl.lostAt})
  select distinct ${param("org")}::uuid, d.worker_id, d.job_id, ${clock}
  from unnest(${param("workers")}::uuid[], ${param("jobs")}::uuid[]) as d(worker_id, job_id)
  on conflict (${wl.orgId}, ${wl.workerId}, ${wl.jobId}) do update set ${wl.lostAt} = excluded.${wl.lostAt}`);

/**
 * How many jobs workers lost lately, at how many times, and who of them is quarantined already. Parameters: org,
 * workers uuid[], window (milliseconds).
 */
export const countLosses = statement(sql`
  select x.${w.workerId} as worker, count(l.${wl.jobId})::int as jobs, count(distinct l.${wl.lostAt})::int as times,
    x.${w.quarantinedAt} is not null as quarantined
  from ${workers} x left join ${workerLosses} l on l.${wl.orgId} = ${param("org")}::uuid
    and l.${wl.workerId} = x.${w.workerId} and l.${wl.lostAt} > ${clock} - ${window}
  where x.${w.orgId} = ${param("org")}::uuid and x.${w.workerId} = any(${param("workers")}::uuid[])
  group by x.${w.workerId}, x.${w.quarantinedAt}`);

/** Quarantines workers that are not yet. Returns their names. Parameters: org, workers uuid[], reason. */
export const quarantineWorkers = statement(sql`
  update ${workers} x set ${w.quarantinedAt} = ${clock}, ${w.quarantineReason} = ${param("reason")}::text
  where x.${w.orgId} = ${param("org")}::uuid and x.${w.workerId} = any(${param("workers")}::uuid[])
    and x.${w.quarantinedAt} is null
  returning x.${w.workerId} as worker, x.${w.name} as name`);

/** Drops losses that nobody counts any more. Parameters: org, window (milliseconds). */
export const dropLosses = statement(sql`
  delete from ${workerLosses} x where x.${wl.orgId} = ${param("org")}::uuid and x.${wl.lostAt} <= ${clock} - ${window}`);

/** The statement that notes which jobs workers lost. */
export function noteLosses(
  org: string,
  lost: readonly { readonly workerId: string; readonly jobId: string }[],
): Call {
  return call(insertLosses, {
    org,
    workers: lost.map((one) => one.workerId),
    jobs: lost.map((one) => one.jobId),
  });
}
