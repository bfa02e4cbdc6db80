import type { SQL } from "drizzle-orm";
import type { Tx } from "./database.ts";
import { and, asc, eq, sql } from "./drizzle.ts";
import { clock } from "./names.ts";
import { jobQueue, jobs } from "./schema.ts";
import { links, workers } from "./schema-fleet.ts";

/** A place in the list of leases. */
export interface LeasePosition {
  /** To the microsecond, as text. */
  readonly grantedAt: string;
  readonly jobId: string;
}

/** Which leases to read. */
export type LeaseSelection =
  | { readonly leaseId: string }
  | { readonly jobId: string }
  | {
      /** Of this worker, by id or name; null: of all. */
      readonly worker: { readonly workerId: string } | { readonly name: string } | null;
      /** Only those whose worker is late or not attached. */
      readonly isAtRisk: boolean;
      readonly after: LeasePosition | null;
      readonly limit: number;
    };

/** Current leases, longest held first. `staleMs` is the age of a heartbeat that is late. */
export function readLeaseViews(tx: Tx, orgId: string, selection: LeaseSelection, staleMs: number) {
  const isAtRisk = sql<boolean>`(${links.isAttached} is not true
    or ${links.seenAt} < ${clock} - ${staleMs}::float8 * interval '1 millisecond')`;
  return tx
    .select({
      jobId: jobQueue.jobId,
      leaseId: jobQueue.leaseId,
      kind: jobs.kind,
      attempt: jobQueue.attempt,
      state: jobQueue.state,
      workerId: jobQueue.workerId,
      workerName: workers.name,
      grantedAt: jobQueue.grantedAt,
      expiresAt: sql<Date>`${jobQueue.grantedAt} + ${jobQueue.leaseTtlMs} * interval '1 millisecond'`.mapWith(
        jobQueue.grantedAt,
      ),
      silentMs: sql<number | null>`case when ${links.isAttached}
        then (extract(epoch from ${clock} - ${links.seenAt}) * 1000)::float8 end`,
      isCancelRequested: sql<boolean>`${jobQueue.cancelRequestedAt} is not null`,
      isAtRisk,
      position: sql<string>`to_char(${jobQueue.grantedAt} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    })
    .from(jobQueue)
    .innerJoin(jobs, and(eq(jobs.orgId, orgId), eq(jobs.jobId, jobQueue.jobId)))
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, jobQueue.workerId)))
    .leftJoin(links, and(eq(links.orgId, orgId), eq(links.workerId, jobQueue.workerId)))
    .where(
      // As in the index of leases.
      and(
        eq(jobQueue.orgId, orgId),
        sql`${jobQueue.workerId} is not null`,
        ...conditions(selection, isAtRisk),
      ),
    )
    .orderBy(asc(jobQueue.grantedAt), asc(jobQueue.jobId))
    .limit("limit" in selection ? selection.limit : 1);
}

/** A lease as it is read. */
export type LeaseRow = Awaited<ReturnType<typeof readLeaseViews>>[number];

function conditions(selection: LeaseSelection, isAtRisk: SQL): (SQL | undefined)[] {
  if ("leaseId" in selection) return [eq(jobQueue.leaseId, selection.leaseId)];
  if ("jobId" in selection) return [eq(jobQueue.jobId, selection.jobId)];
  const { worker, after } = selection;
  return [
    worker !== null && "workerId" in worker ? eq(jobQueue.workerId, worker.workerId) : undefined,
    worker !== null && "name" in worker ? eq(workers.name, worker.name) : undefined,
    selection.isAtRisk ? isAtRisk : undefined,
    after === null
      ? undefined
      : sql`(${jobQueue.grantedAt}, ${jobQueue.jobId}) > (${after.grantedAt}::timestamptz, ${after.jobId}::uuid)`,
  ];
}
