import { JobState, type Outcome } from "../../server/domain/rules/states.ts";
import { encodeEvents, type StoredEvent } from "../../server/store/event-codec.ts";
import { tallyOf } from "../../server/store/tallies.ts";
import type { TestDatabase } from "./database.ts";

/*
 * Rows of the tables, put there as the superuser: for tests of what reads them, so that they do not
 * depend on what writes them.
 */

/** A job with its live row, unless it has ended. */
export interface JobRows {
  readonly jobId?: string;
  readonly state?: JobState;
  readonly kind?: string;
  readonly queue?: string;
  readonly project?: string;
  readonly labels?: Record<string, string>;
  readonly payload?: string;
  readonly batchId?: string;
  readonly parentJobId?: string;
  readonly attempt?: number;
  readonly generation?: number;
  readonly failures?: number;
  readonly worker?: { readonly workerId: string; readonly leaseId?: string };
  readonly points?: number;
  readonly reason?: string;
  /** Relative to the database's clock. */
  readonly wakeInMs?: number;
  readonly isCancelRequested?: boolean;
}

/** Inserts a job, READY unless told otherwise, without a history. Returns its id and its lease's. */
export async function insertJob(
  db: TestDatabase,
  orgId: string,
  rows: JobRows = {},
): Promise<{ readonly jobId: string; readonly leaseId: string | null }> {
  const { jobId = db.newId(), state = JobState.ready, points = 1, worker } = rows;
  const leaseId = worker === undefined ? null : (worker.leaseId ?? db.newId());
  await db.admin`
    insert into muster.jobs (org_id, job_id, batch_id, parent_job_id, points, lease_ttl_ms, reclaim_after_ms,
      max_attempts, backoff_initial_ms, backoff_max_ms, backoff_factor, priority, exclusive, at_most_once,
      opens_pull_request, kind, queue, title, payload, labels, project, submitted_by)
    values (${orgId}, ${jobId}, ${rows.batchId ?? null}, ${rows.parentJobId ?? null}, ${points}, 14400000, 30000, 3,
      5000, 600000, 2, 128, false, false, true, ${rows.kind ?? "shell.run"}, ${rows.queue ?? "default"}, 'a job',
      ${Buffer.from(rows.payload ?? "{}")}, ${rows.labels === undefined ? null : db.admin.json(rows.labels)},
      ${rows.project ?? null}, 'key:test')`;
  if (state >= JobState.succeeded) return { jobId, leaseId: null };
  await insertLiveRow(db, orgId, jobId, rows, leaseId);
  return { jobId, leaseId };
}

async function insertLiveRow(
  db: TestDatabase,
  orgId: string,
  jobId: string,
  rows: JobRows,
  leaseId: string | null,
): Promise<void> {
  const { state = JobState.ready, attempt = leaseId === null ? 0 : 1, worker } = rows;
  await db.admin`
    insert into muster.job_queue (org_id, job_id, shape_id, ready_at, wake_at, granted_at, cancel_requested_at,
      lease_id, worker_id, batch_id, attempt, generation, points, reclaim_after_ms, lease_ttl_ms, state, priority,
      failures, reason)
    values (${orgId}, ${jobId}, 1, ${state === JobState.ready ? db.admin`muster.muster_clock()` : null},
      muster.muster_clock() + ${rows.wakeInMs ?? null}::float8 * interval '1 millisecond',
      ${leaseId === null ? null : db.admin`muster.muster_clock()`},
      ${rows.isCancelRequested ? db.admin`muster.muster_clock()` : null}, ${leaseId}, ${worker?.workerId ?? null},
      ${rows.batchId ?? null}, ${attempt}, ${rows.generation ?? 1}, ${rows.points ?? 1}, 30000, 14400000, ${state}, 128,
      ${rows.failures ?? 0}, ${rows.reason ?? null})`;
  await db.admin.unsafe(
    `insert into muster.tallies (org_id, tally_id, queue, submitted, succeeded, cancelled, dead, ${tallyOf[state]})
      values ($1, $2, $3, 0, 0, 0, 0, 1)`,
    [orgId, db.newId(), rows.queue ?? "default"],
  );
}

/** An ended attempt. */
export interface AttemptRows {
  readonly attempt?: number;
  readonly generation?: number;
  readonly outcome: Outcome;
  /** The terminal state that it brought the run to; absent when the run went on. */
  readonly state?: JobState;
  readonly workerId?: string;
  readonly result?: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly prUrl?: string;
  readonly reason?: string;
  readonly failures?: number;
  readonly lastSequence?: number;
}

/** Inserts a row of a job's history; a final one ends the run, whose live row goes. */
export async function insertAttempt(
  db: TestDatabase,
  orgId: string,
  jobId: string,
  rows: AttemptRows,
): Promise<void> {
  const isFinal = rows.state !== undefined;
  const leaseId = rows.workerId === undefined ? null : db.newId();
  await db.admin`
    insert into muster.attempts (org_id, job_id, attempt, generation, granted_at, worker_id, lease_id, outcome, state,
      failures, losses, releases, final, ordinal, result, error_code, error_message, error_detail, pr_url, reason, last_sequence)
    values (${orgId}, ${jobId}, ${rows.attempt ?? 1}, ${rows.generation ?? 1},
      ${leaseId === null ? null : db.admin`muster.muster_clock()`}, ${rows.workerId ?? null}, ${leaseId},
      ${rows.outcome}, ${rows.state ?? null}, ${rows.failures ?? 0}, 0, 0, ${isFinal},
      ${isFinal ? 0 : (rows.attempt ?? 1)},
      ${rows.result === undefined ? null : Buffer.from(rows.result)}, ${rows.error?.code ?? null},
      ${rows.error?.message ?? null}, ${rows.error === undefined ? null : ""}, ${rows.prUrl ?? null},
      ${rows.reason ?? null}, ${rows.lastSequence ?? null})`;
  if (isFinal) await db.admin`delete from muster.job_queue where org_id = ${orgId} and job_id = ${jobId}`;
}

/** Inserts a worker; with a link when `link` says how it is. */
export async function insertWorkerRow(
  db: TestDatabase,
  orgId: string,
  rows: {
    readonly name: string;
    readonly slots?: number;
    readonly points?: number;
    readonly isDisabled?: boolean;
    readonly isDrainRequested?: boolean;
    readonly isQuarantined?: boolean;
    readonly link?: {
      readonly isAttached?: boolean;
      readonly isDraining?: boolean;
      readonly silentMs?: number;
    };
  },
): Promise<string> {
  const workerId = db.newId();
  const { name, slots = 4, points = 8, link } = rows;
  const nowIf = (isSo: boolean | undefined) => (isSo ? db.admin`muster.muster_clock()` : null);
  await db.admin`
    insert into muster.workers (org_id, worker_id, name, slots, points, disabled_at, drain_requested_at, quarantined_at)
    values (${orgId}, ${workerId}, ${name}, ${slots}, ${points}, ${nowIf(rows.isDisabled)},
      ${nowIf(rows.isDrainRequested)}, ${nowIf(rows.isQuarantined)})`;
  if (link === undefined) return workerId;
  const { isAttached = true, isDraining = false, silentMs = 0 } = link;
  await db.admin`
    insert into muster.links (org_id, worker_id, boot_id, host_boot_id, link_epoch, coordinator_id, seen_at,
      connected_at, transport, is_attached, is_draining)
    values (${orgId}, ${workerId}, ${db.newId()}, 'host', 7, ${db.newId()},
      muster.muster_clock() - ${silentMs}::float8 * interval '1 millisecond', muster.muster_clock(), 'stream',
      ${isAttached}, ${isDraining})`;
  return workerId;
}

/** Inserts a chunk of what an attempt said. */
export async function insertEvents(
  db: TestDatabase,
  orgId: string,
  of: { readonly jobId: string; readonly attempt: number },
  events: readonly StoredEvent[],
): Promise<void> {
  const { body, isCompressed } = encodeEvents(events);
  const ends = events.map((event) => (event.type === "gap" ? event.to : event.sequence));
  await db.admin`
    insert into muster.log_chunks (org_id, day, job_id, attempt, first_sequence, last_sequence, is_compressed, body)
    values (${orgId}, (muster.muster_clock() at time zone 'UTC')::date, ${of.jobId}, ${of.attempt},
      ${events[0]?.sequence ?? 0}, ${Math.max(...ends)}, ${isCompressed}, ${Buffer.from(body)})`;
}
