import { sql } from "./drizzle.ts";
import { attemptNames as a, clock, queueNames as q } from "./names.ts";
import { attempts, jobQueue, logChunks, progress } from "./schema.ts";
import { type Call, call, names, param, statement } from "./statement.ts";

const lc = names(logChunks);
const pr = names(progress);

/** How long the tail of the log of an attempt is taken after its own result ended it (the exception in G4). */
export const logTailMs = 60_000;

/** Of the rows `d`: leases that are current, locked, and such as ended themselves lately, with their last sequence. */
export const currentLeases = sql`live as (
    -- Locked: who takes the lease away clears what it said, and must not do so in between.
    select x.${q.leaseId} as lease_id, x.${q.grantedAt} as granted_at from ${jobQueue} x join d
      on x.${q.jobId} = d.job_id and x.${q.attempt} = d.attempt and x.${q.leaseId} = d.lease_id
        and x.${q.workerId} is not distinct from d.worker_id
    where x.${q.orgId} = ${param("org")}::uuid and x.${q.jobId} = any(${param("jobs")}::uuid[])
    for key share of x
  ), tail as (
    select distinct y.${a.leaseId} as lease_id, y.${a.grantedAt} as granted_at, y.${a.lastSequence} as until from ${attempts} y join d
      on y.${a.jobId} = d.job_id and y.${a.attempt} = d.attempt and y.${a.leaseId} = d.lease_id
        and y.${a.workerId} = d.worker_id
    where y.${a.orgId} = ${param("org")}::uuid and y.${a.jobId} = any(${param("jobs")}::uuid[])
      and y.${a.jobId} >= ${param("low")}::uuid and y.${a.jobId} <= ${param("high")}::uuid
      and y.${a.resultId} is not null
      and y.${a.endedAt} > ${clock} - ${param("tail")}::bigint * interval '1 millisecond'
  ), current as (
    -- Each lease once: it may have several chunks in one flush.
    select lease_id, granted_at, null::bigint as until from live union select lease_id, granted_at, until from tail
  )`;

const insertChunks = statement(sql`
  with d as (
    select * from unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[],
      ${param("workers")}::uuid[], ${param("firsts")}::bigint[], ${param("lasts")}::bigint[],
      ${param("compressed")}::boolean[], ${param("bodies")}::text[])
      as d(job_id, attempt, lease_id, worker_id, first_sequence, last_sequence, is_compressed, body)
  ), ${currentLeases}, kept as (
    insert into ${logChunks} as k (${lc.orgId}, ${lc.day}, ${lc.jobId}, ${lc.attempt}, ${lc.firstSequence}, ${lc.lastSequence},
      ${lc.isCompressed}, ${lc.body})
    select ${param("org")}::uuid, (c.granted_at at time zone 'UTC')::date, d.job_id, d.attempt, d.first_sequence,
      d.last_sequence, d.is_compressed, decode(d.body, 'base64')
    from d join current c on c.lease_id = d.lease_id and (c.until is null or d.last_sequence <= c.until)
    -- Sent again after a lost acknowledgement, a run may have grown; readers skip what they have seen.
    on conflict (${lc.orgId}, ${lc.jobId}, ${lc.attempt}, ${lc.firstSequence}, ${lc.day}) do update set
      ${lc.lastSequence} = excluded.${lc.lastSequence}, ${lc.isCompressed} = excluded.${lc.isCompressed},
      ${lc.body} = excluded.${lc.body}
    where k.${lc.lastSequence} < excluded.${lc.lastSequence}
  )
  select lease_id as lease from current`);

const upsertProgress = statement(sql`
  with current as (
    select y.${q.jobId}, y.${q.attempt}, y.${q.leaseId}, d.fraction, d.message
    from ${jobQueue} y join unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[],
      ${param("workers")}::uuid[], ${param("fractions")}::float8[], ${param("messages")}::text[])
      as d(job_id, attempt, lease_id, worker_id, fraction, message)
      on y.${q.jobId} = d.job_id and y.${q.attempt} = d.attempt and y.${q.leaseId} = d.lease_id
        and y.${q.workerId} is not distinct from d.worker_id
    where y.${q.orgId} = ${param("org")}::uuid and y.${q.jobId} = any(${param("jobs")}::uuid[])
    for key share of y
  ), kept as (
    insert into ${progress} as x (${pr.orgId}, ${pr.jobId}, ${pr.attempt}, ${pr.fraction}, ${pr.message}, ${pr.updatedAt})
    select ${param("org")}::uuid, ${q.jobId}, ${q.attempt}, fraction, message, ${clock} from current
    on conflict (${pr.orgId}, ${pr.jobId}) do update set ${pr.attempt} = excluded.${pr.attempt},
      ${pr.fraction} = excluded.${pr.fraction}, ${pr.message} = excluded.${pr.message},
      ${pr.updatedAt} = excluded.${pr.updatedAt}
      where x.${pr.attempt} <= excluded.${pr.attempt}
  )
  select ${q.leaseId} as lease from current`);

/** A run of events of one attempt, encoded. */
export interface EventChunk {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string;
  readonly workerId: string;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly isCompressed: boolean;
  readonly body: Uint8Array;
}

/** Progress of one attempt. */
export interface ProgressRow {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string;
  readonly workerId: string;
  readonly fraction: number | null;
  readonly message: string;
}

/** The statement that keeps chunks whose lease is current, or ended itself lately. Returns those leases. */
export function keepChunks(org: string, chunks: readonly EventChunk[]): Call {
  return call(insertChunks, {
    ...fences(org, chunks),
    ...tailOf(chunks),
    firsts: chunks.map((chunk) => chunk.firstSequence),
    lasts: chunks.map((chunk) => chunk.lastSequence),
    compressed: chunks.map((chunk) => chunk.isCompressed),
    bodies: chunks.map((chunk) => Buffer.from(chunk.body).toString("base64")),
  });
}

/** The statement that keeps the latest progress of current leases. Each job at most once. Returns those leases. */
export function keepProgress(org: string, rows: readonly ProgressRow[]): Call {
  return call(upsertProgress, {
    ...fences(org, rows),
    fractions: rows.map((row) => row.fraction),
    messages: rows.map((row) => row.message),
  });
}

/** The parameters of `currentLeases` besides those of `fences`. */
export function tailOf(rows: readonly { readonly jobId: string }[]) {
  const sorted = rows.map((row) => row.jobId).sort();
  return { low: sorted.at(0), high: sorted.at(-1), tail: logTailMs };
}

/** The parameters of rows under leases. */
export function fences(
  org: string,
  rows: readonly { jobId: string; attempt: number; leaseId: string; workerId: string }[],
) {
  return {
    org,
    jobs: rows.map((row) => row.jobId),
    attempts: rows.map((row) => row.attempt),
    leases: rows.map((row) => row.leaseId),
    workers: rows.map((row) => row.workerId),
  };
}
