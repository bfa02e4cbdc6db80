import { inOrg } from "../store/database.ts";
import { findJobByExternalId, type JobRow, readJobs } from "../store/job-views.ts";
import type { StoredError } from "../store/transition.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { requireOwnJob } from "./job-tokens.ts";
import type { DependencyPolicy } from "./rules/dependencies.ts";
import type { JobSettings } from "./rules/settings.ts";
import { type ShapeTarget, shapeTarget } from "./rules/shapes.ts";
import { JobState } from "./rules/states.ts";

/** What was asked, with the server's defaults filled in. */
export interface JobSpecView extends JobSettings {
  readonly kind: string;
  readonly title: string;
  /** UTF-8 JSON; null in the basic view. */
  readonly payload: Uint8Array | null;
  readonly queue: string;
  readonly priority: number;
  readonly points: number;
  readonly skills: readonly string[];
  readonly instructions: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly project: string | null;
  readonly pool: string | null;
  readonly externalId: string | null;
  readonly runAt: Date | null;
  readonly deadline: Date | null;
  readonly softTimeoutMs: number | null;
  readonly hardTimeoutMs: number | null;
  readonly isExclusive: boolean;
  readonly isAtMostOnce: boolean;
  readonly opensPullRequest: boolean;
  /** Who alone may run it; null: any worker that can. */
  readonly target: ShapeTarget | null;
  /** Ids, in the order in which they were named; empty in the basic view. */
  readonly dependsOn: readonly string[];
  /** Null for a job that depends on none. */
  readonly dependencyPolicy: DependencyPolicy | null;
}

/** How far a running attempt is. */
export interface ProgressView {
  readonly fraction: number | null;
  readonly message: string;
  readonly updatedAt: Date;
}

/** A job with its present state. */
export interface JobView {
  readonly jobId: string;
  readonly spec: JobSpecView;
  readonly state: JobState;
  /** Of the latest attempt; 0 before the first. */
  readonly attempt: number;
  readonly generation: number;
  readonly failures: number;
  readonly losses: number;
  readonly releases: number;
  readonly batchId: string | null;
  readonly parentJobId: string | null;
  readonly createdAt: Date;
  /** When the present attempt was granted; of an ended run, its last one. */
  readonly startedAt: Date | null;
  readonly endedAt: Date | null;
  /** When a waiting job becomes ready by itself. */
  readonly wakeAt: Date | null;
  /** Of the present or the last attempt of this run. */
  readonly workerId: string | null;
  readonly workerName: string | null;
  /** While leased. */
  readonly leaseId: string | null;
  /** The session that it runs in, or goes back to; of an ended run, the one of its last attempt. */
  readonly sessionId: string | null;
  readonly isCancelRequested: boolean;
  readonly reason: string | null;
  readonly progress: ProgressView | null;
  /** UTF-8 JSON of a succeeded job; null in the basic view. */
  readonly result: Uint8Array | null;
  /** Why the last attempt of this run failed. */
  readonly error: StoredError | null;
  readonly prUrl: string | null;
  /** Jobs that it depends on and that have not ended well yet. */
  readonly waitingOn: number;
}

/** Reads a job by its id or its external id: exactly one of them is given. */
export async function getJob(
  c: Coordinator,
  caller: Caller,
  request: {
    readonly jobId: string | null;
    readonly externalId: string | null;
    /** With payload and result. */
    readonly isFull: boolean;
  },
): Promise<JobView> {
  const { jobId, externalId, isFull } = request;
  if ((jobId === null) === (externalId === null)) {
    throw invalidArgument([{ field: "jobId", message: "or externalId must be given, and not both" }]);
  }
  const { orgId } = caller;
  requireOwnJob(caller, jobId);
  const row = await inOrg(c.db.app, orgId, async (tx) => {
    const id = jobId ?? (await findByExternalId(externalId ?? ""));
    return id === null ? undefined : (await readJobs(tx, orgId, [id], { isFull }))[0];

    async function findByExternalId(text: string): Promise<string | null> {
      // Text with NUL is refused by the database; no job has such an id.
      return text.includes("\0") ? null : findJobByExternalId(tx, orgId, text);
    }
  });
  if (row === undefined) {
    throw notFound("JOB_NOT_FOUND", jobId === null ? (externalId ?? "") : encodeId("job", jobId));
  }
  return jobView(row);
}

/** A row of the store as it is shown. */
export function jobView({ asked, live, last, progress, workerName }: JobRow): JobView {
  const { jobId, batchId, parentJobId, createdAt, skills, instructions, labels, dependsOn, ...spec } = asked;
  const { exclusive: isExclusive, atMostOnce: isAtMostOnce, ...others } = spec;
  const now = live ?? last;
  const state = live?.state ?? last?.state;
  if (now === null || state === null || state === undefined)
    throw new Error("a job without a state was read");
  // The history of the present run alone: a replayed job starts afresh.
  const past = last !== null && last.generation === now.generation ? last : null;
  const isWaiting = state === JobState.scheduled || state === JobState.parked;
  const isRunning = progress !== null && live?.leaseId != null && progress.attempt === live.attempt;
  return {
    jobId,
    batchId,
    parentJobId,
    createdAt,
    spec: {
      ...others,
      isExclusive,
      isAtMostOnce,
      skills: skills ?? [],
      instructions: instructions ?? [],
      labels: labels ?? {},
      target: shapeTarget(spec.target),
      dependsOn: dependsOn ?? [],
    },
    state: checkedState(state),
    attempt: now.attempt,
    generation: now.generation,
    failures: now.failures,
    losses: now.losses,
    releases: now.releases,
    startedAt: now.grantedAt,
    endedAt: live === null ? (past?.endedAt ?? null) : null,
    wakeAt: isWaiting ? (live?.wakeAt ?? null) : null,
    workerId: live?.workerId ?? past?.workerId ?? null,
    workerName: live?.workerId != null || past?.workerId != null ? workerName : null,
    leaseId: live?.leaseId ?? null,
    sessionId: live === null ? (past?.sessionId ?? null) : live.sessionId,
    isCancelRequested: live?.cancelRequestedAt != null,
    reason: now.reason,
    progress: isRunning
      ? { fraction: progress.fraction, message: progress.message, updatedAt: progress.updatedAt }
      : null,
    result: live === null ? (past?.result ?? null) : null,
    error: past === null ? null : storedError(past),
    prUrl: past?.prUrl ?? null,
    waitingOn: live?.waitingOn ?? 0,
  };
}

/** The error in the columns of an attempt; null when it had none. */
export function storedError(row: {
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly errorDetail: string | null;
}): StoredError | null {
  const { errorCode: code, errorMessage: message, errorDetail: detail } = row;
  if (code === null && message === null && detail === null) return null;
  return { code: code ?? "", message: message ?? "", detail: detail ?? "" };
}

/** A number of the store as a state. Throws on any other: the column holds nothing else. */
export function checkedState(value: number): JobState {
  const state = Object.values(JobState).find((known) => known === value);
  if (state === undefined) throw new Error(`${value} is not the state of a job`);
  return state;
}
