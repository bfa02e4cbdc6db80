import { JobState } from "../domain/rules/states.ts";
import { sql } from "./drizzle.ts";
import { clock, gateNames as g, queueNames as q, shapeNames as s, tallyNames as t } from "./names.ts";
import { jobQueue, shapes, tallies } from "./schema.ts";
import { settings } from "./schema-fleet.ts";
import { gates } from "./schema-routing.ts";
import { stateNumber, stateNumbers } from "./state-numbers.ts";
import { call, names, type OrgTx, param, statement } from "./statement.ts";

const st = names(settings);
const ready = stateNumber(JobState.ready);
const offered = stateNumbers([JobState.offered]);
const parked = stateNumber(JobState.parked);

/** The jobs of a queue by state, and what began and ended. */
export interface QueueCounts {
  readonly blocked: number;
  readonly scheduled: number;
  readonly ready: number;
  readonly offered: number;
  readonly running: number;
  readonly parked: number;
  readonly succeeded: number;
  readonly cancelled: number;
  readonly dead: number;
  readonly submitted: number;
  readonly submittedLastMinute: number;
  readonly endedLastMinute: number;
}

const sum = (column: typeof clock) => sql`coalesce(sum(${column}), 0)::float8`;
const lately = (column: typeof clock) =>
  sql`coalesce(sum(${column}) filter (where x.${t.at} > ${clock} - interval '60 seconds'), 0)::float8`;

// What stands now is the sum of all tallies.
const countQueues = statement(sql`
  select x.${t.queue} as queue, ${sum(sql`x.${t.blocked}`)} as blocked, ${sum(sql`x.${t.scheduled}`)} as scheduled,
    ${sum(sql`x.${t.ready}`)} as ready, ${sum(sql`x.${t.offered}`)} as offered, ${sum(sql`x.${t.running}`)} as running,
    ${sum(sql`x.${t.parked}`)} as parked, ${sum(sql`x.${t.succeeded}`)} as succeeded,
    ${sum(sql`x.${t.cancelled}`)} as cancelled, ${sum(sql`x.${t.dead}`)} as dead,
    ${sum(sql`x.${t.submitted}`)} as submitted, ${lately(sql`x.${t.submitted}`)} as submitted_lately,
    ${lately(sql`x.${t.succeeded} + x.${t.cancelled} + x.${t.dead}`)} as ended_lately
  from ${tallies} x where x.${t.orgId} = ${param("org")}::uuid
  group by x.${t.queue}`);

// One probe a shape and priority that has ready jobs: the heads of its lines.
const oldestReady = statement(sql`
  with recursive lines as (
    (select r.${q.shapeId} as id, r.${q.priority} as priority from ${jobQueue} r
      where r.${q.orgId} = ${param("org")}::uuid and r.${q.state} = ${ready} and r.${q.shapeId} = (
        select o.${q.shapeId} from ${jobQueue} o where o.${q.orgId} = ${param("org")}::uuid and o.${q.state} = ${ready}
        order by o.${q.shapeId} limit 1)
      order by r.${q.priority} desc limit 1)
    union all
    select n.id, n.priority from lines l cross join lateral (
      select coalesce(lower.id, other.id) as id, coalesce(lower.priority, other.priority) as priority
      from (select 1) one
      left join lateral (select r.${q.shapeId} as id, r.${q.priority} as priority from ${jobQueue} r
        where r.${q.orgId} = ${param("org")}::uuid and r.${q.state} = ${ready} and r.${q.shapeId} = l.id
          and r.${q.priority} < l.priority order by r.${q.priority} desc limit 1) lower on true
      left join lateral (select r.${q.shapeId} as id, r.${q.priority} as priority from ${jobQueue} r
        where lower.id is null and r.${q.orgId} = ${param("org")}::uuid and r.${q.state} = ${ready}
          and r.${q.shapeId} > l.id order by r.${q.shapeId}, r.${q.priority} desc limit 1) other on true
    ) n where n.id is not null
  )
  select h.${s.queue} as queue, extract(epoch from min(d.at))::float8 as oldest
  from lines l
  join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid and h.${s.shapeId} = any(array(select id from lines))
    and h.${s.shapeId} = l.id
  cross join lateral (select r.${q.readyAt} as at from ${jobQueue} r where r.${q.orgId} = ${param("org")}::uuid
    and r.${q.state} = ${ready} and r.${q.shapeId} = l.id and r.${q.priority} = l.priority
    order by r.${q.readyAt}, r.${q.jobId} limit 1) d
  group by h.${s.queue}`);

const readNames = statement(sql`
  select distinct name from (
    select x.${st.name} as name from ${settings} x
    where x.${st.orgId} = ${param("org")}::uuid and x.${st.scope} = ${param("type")}::text
    union all
    select case ${param("type")}::text when 'kind' then h.${s.kind} when 'pool' then h.${s.pool} end from ${shapes} h
    where h.${s.orgId} = ${param("org")}::uuid and ${param("type")}::text <> 'queue'
  ) named where name is not null`);

const readClock = statement(sql`select (extract(epoch from ${clock}) * 1000)::float8 as ms`);

/** Counts of all queues that ever had a job, by name. */
export async function readQueueCounts(tx: OrgTx): Promise<Map<string, QueueCounts>> {
  const rows = await tx.run(call(countQueues, { org: tx.orgId }));
  return new Map(
    rows.map((row) => [
      String(row["queue"]),
      {
        ...{ blocked: Number(row["blocked"]), scheduled: Number(row["scheduled"]) },
        ...{ ready: Number(row["ready"]), offered: Number(row["offered"]), running: Number(row["running"]) },
        ...{ parked: Number(row["parked"]), succeeded: Number(row["succeeded"]) },
        ...{ cancelled: Number(row["cancelled"]), dead: Number(row["dead"]) },
        submitted: Number(row["submitted"]),
        submittedLastMinute: Number(row["submitted_lately"]),
        endedLastMinute: Number(row["ended_lately"]),
      },
    ]),
  );
}

/** When the oldest ready job of each queue became ready; queues without one are left out. */
export async function readOldestReady(tx: OrgTx): Promise<Map<string, Date>> {
  const rows = await tx.run(call(oldestReady, { org: tx.orgId }));
  return new Map(rows.map((row) => [String(row["queue"]), new Date(Number(row["oldest"]) * 1_000)]));
}

/** Names that settings or jobs of late give: kinds and pools; of queues those that have settings. */
export async function readSettingNames(tx: OrgTx, type: "queue" | "kind" | "pool"): Promise<string[]> {
  const rows = await tx.run(call(readNames, { org: tx.orgId, type }));
  return rows.map((row) => String(row["name"]));
}

const readPoolsOf = statement(sql`
  with x as materialized (
    select x.${q.shapeId} as shape_id from ${jobQueue} x
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
  )
  select distinct h.${s.pool} as pool from ${shapes} h where h.${s.orgId} = ${param("org")}::uuid
    and h.${s.shapeId} = any(array(select shape_id from x)) and h.${s.pool} is not null`);

/** The pools of live jobs. */
export async function readPools(tx: OrgTx, jobIds: readonly string[]): Promise<string[]> {
  const rows = await tx.run(call(readPoolsOf, { org: tx.orgId, jobs: jobIds }));
  return rows.map((row) => String(row["pool"]));
}

/** The database's clock, in milliseconds since 1970. */
export async function readClockMs(tx: OrgTx): Promise<number> {
  const [row] = await tx.run(call(readClock, {}));
  return Number(row?.["ms"]);
}

/**
 * Offers to these workers that nobody has accepted and that a paused gate would not let out now. Parameters: org,
 * workers uuid[].
 */
export const readPausedOffers = statement(sql`
  with closed as materialized (
    select array_agg(x.${g.key}) as keys from ${gates} x where x.${g.orgId} = ${param("org")}::uuid
      and x.${g.pausedAt} is not null and (x.${g.resumeAt} is null or x.${g.resumeAt} > ${clock})
  ), out as materialized (
    select x.${q.shapeId} as shape_id, x.${q.leaseId} as lease from ${jobQueue} x
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.workerId} = any(${param("workers")}::uuid[])
      and x.${q.state} in (${offered}) and exists (select 1 from closed where keys is not null)
  )
  select o.lease from out o join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid
    and h.${s.shapeId} = any(array(select shape_id from out)) and h.${s.shapeId} = o.shape_id
  where array['kind:' || h.${s.kind}, 'queue:' || h.${s.queue}, 'pool:' || h.${s.pool}, 'project:' || h.${s.project}]
    && (select keys from closed)`);

/** Gates whose pause is over, and gates that hold nothing back. Parameters: org. */
export const findOpenGates = statement(sql`
  select x.${g.key} as key, x.${g.pausedAt} is not null as was_paused from ${gates} x
  where x.${g.orgId} = ${param("org")}::uuid and (x.${g.resumeAt} <= ${clock}
    or (x.${g.pausedAt} is null and x.${g.maxUsed} is null and x.${g.rateJobs} is null))
  order by x.${g.key}`);

/**
 * Gates to count anew: those of the last `young` milliseconds, and those not counted for `old`. Parameters: org,
 * young, old.
 */
export const findUncounted = statement(sql`
  select x.${g.key} as key from ${gates} x where x.${g.orgId} = ${param("org")}::uuid
    and (x.${g.createdAt} > ${clock} - ${param("young")}::bigint * interval '1 millisecond'
      or x.${g.countedAt} < ${clock} - ${param("old")}::bigint * interval '1 millisecond')
  order by x.${g.key}`);

/** Jobs that were parked with their pool are due now. Parameters: org, pool. */
export const wakePool = statement(sql`
  with held as materialized (
    select x.${q.jobId} as job_id, x.${q.shapeId} as shape_id from ${jobQueue} x
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.state} = ${parked} and x.${q.isPoolParked}
  ), waked as materialized (
    select o.job_id from held o join ${shapes} h on h.${s.orgId} = ${param("org")}::uuid
      and h.${s.shapeId} = any(array(select shape_id from held)) and h.${s.shapeId} = o.shape_id
    where h.${s.pool} = ${param("pool")}::text
  )
  update ${jobQueue} x set ${q.wakeAt} = ${clock}
  where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(array(select job_id from waked))
    and x.${q.state} = ${parked} and x.${q.isPoolParked}
  returning x.${q.jobId} as job`);
