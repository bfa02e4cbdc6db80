import { sql } from "./drizzle.ts";
import { lateResults } from "./schema.ts";
import { type Call, call, names, param, statement } from "./statement.ts";
import type { StoredError } from "./transition.ts";

const lr = names(lateResults);

const insertLateResults = statement(sql`
  insert into ${lateResults} (${lr.orgId}, ${lr.resultId}, ${lr.jobId}, ${lr.attempt}, ${lr.leaseId}, ${lr.workerId},
    ${lr.outcome}, ${lr.result}, ${lr.errorMessage})
  select ${param("org")}::uuid, d.id, d.job, d.attempt, d.lease, d.worker, d.outcome, convert_to(d.result, 'UTF8'), d.message
  from unnest(${param("ids")}::uuid[], ${param("jobs")}::uuid[], ${param("attempts")}::int[], ${param("leases")}::uuid[],
    ${param("workers")}::uuid[], ${param("outcomes")}::smallint[], ${param("results")}::text[], ${param("messages")}::text[])
    as d(id, job, attempt, lease, worker, outcome, result, message)
  on conflict do nothing`);

/** Keeps what stale leases sent, for people. */
export function keepLateResults(
  org: string,
  rows: readonly {
    readonly resultId: string;
    readonly jobId: string;
    readonly attempt: number;
    readonly leaseId: string;
    readonly workerId: string;
    readonly outcome: number;
    readonly result: string | null;
    readonly error: StoredError | null;
  }[],
): Call {
  return call(insertLateResults, {
    org,
    ids: rows.map((row) => row.resultId),
    jobs: rows.map((row) => row.jobId),
    attempts: rows.map((row) => row.attempt),
    leases: rows.map((row) => row.leaseId),
    workers: rows.map((row) => row.workerId),
    outcomes: rows.map((row) => row.outcome),
    results: rows.map((row) => row.result),
    messages: rows.map((row) => row.error?.message ?? null),
  });
}
