import type { Tx } from "./database.ts";
import { sql } from "./drizzle.ts";
import { currentLeases, fences, tailOf } from "./events.ts";
import { events } from "./schema-events.ts";
import { type Call, call, names, param, statement } from "./statement.ts";

const e = names(events);

/** Keeps an event that is no transition of a job. */
export async function insertEvent(tx: Tx, row: typeof events.$inferInsert): Promise<void> {
  await tx.insert(events).values(row);
}

/** An event of the handler of an attempt. */
export interface HandlerEventRow {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string;
  readonly workerId: string;
  readonly sequence: number;
  /** The same however often it is said. */
  readonly eventId: string;
  readonly type: string;
  /** For `data`, as JSON text. */
  readonly json: string;
}

const insertHandlerEvents = statement(sql`
  with d as (
    select * from unnest(${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[],
      ${param("workers")}::uuid[], ${param("sequences")}::bigint[], ${param("ids")}::uuid[], ${param("types")}::text[],
      ${param("bodies")}::text[])
      as d(job_id, attempt, lease_id, worker_id, sequence, event_id, type, body)
  ), ${currentLeases}, told as (
    insert into ${events} (${e.orgId}, ${e.eventId}, ${e.type}, ${e.jobId}, ${e.attempt}, ${e.workerId}, ${e.data})
    select ${param("org")}::uuid, d.event_id, d.type, d.job_id, d.attempt, d.worker_id, d.body::jsonb
    from d join current c on c.lease_id = d.lease_id and (c.until is null or d.sequence <= c.until)
    order by d.event_id
    on conflict (${e.orgId}, ${e.eventId}) do nothing
  )
  select lease_id as lease from current`);

/** The statement that tells events whose lease is current, or ended itself lately; each once. Returns those leases. */
export function keepHandlerEvents(org: string, rows: readonly HandlerEventRow[]): Call {
  return call(insertHandlerEvents, {
    ...fences(org, rows),
    ...tailOf(rows),
    sequences: rows.map((row) => row.sequence),
    ids: rows.map((row) => row.eventId),
    types: rows.map((row) => row.type),
    bodies: rows.map((row) => row.json),
  });
}
