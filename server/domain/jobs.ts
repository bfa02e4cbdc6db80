import { createHash } from "node:crypto";
import { callOfJobs, lockAsked, requestCancels } from "../store/job-changes.ts";
import { call, type OrgTx, transact, transactAgain } from "../store/statement.ts";
import type { JobTemplate, NewJob } from "../store/submit.ts";
import { insertAuditRows } from "../store/submit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { announceRelease, drainReleases, isReleasing, noRelease, releaseDependants } from "./dependants.ts";
import { parentsOf } from "./dependencies.ts";
import { DomainError, failedPrecondition, notFound } from "./errors.ts";
import { type FinalRun, finalsOf, reviveRuns } from "./final-runs.ts";
import { encodeId } from "./ids.ts";
import { auditRow, lockOne, takeRequest, writeSettled } from "./job-rows.ts";
import { leaseOfCall } from "./job-tokens.ts";
import { countJobs } from "./key-counts.ts";
import { requireKindScopes } from "./kind-scopes.ts";
import type { LockedJob } from "./locked-job.ts";
import { type NamedProject, requireProjects } from "./project-names.ts";
import { changeNumbers } from "./rules/event-types.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import { isLikeBefore, templateKey } from "./rules/job-templates.ts";
import type { JobEvent } from "./rules/lifecycle.ts";
import { internShape, type ShapeTarget } from "./rules/shapes.ts";
import { isLeased, isTerminal, type JobState, stateName } from "./rules/states.ts";
import { refusal } from "./rules/transition-table.ts";
import { isSettled, noRemains, settle } from "./settle.ts";
import { requireDocuments } from "./skill-documents.ts";
import type { Lease, Submission, SubmitKey } from "./submit.ts";
import { superseded } from "./superseded.ts";
import { resolveTargets } from "./targets.ts";

/** One job to submit. */
export interface SubmitJobRequest {
  readonly job: JobRequest;
  readonly idempotencyKey: string | null;
  /** The lease of the handler that submits a child. */
  readonly parent: Lease | null;
}

/** Jobs to submit atomically. */
export interface SubmitBatchRequest {
  readonly jobs: readonly JobRequest[];
  readonly title: string;
  readonly idempotencyKey: string | null;
  readonly parent: Lease | null;
}

/** What a cancel did. */
export type CancelOutcome = "cancelled" | "requested" | "already-terminal";

/** Submits one job; resolves after commit. The same key, or external id, with the same job gives the same id. */
export async function submitJob(
  c: Coordinator,
  caller: Caller,
  { job, idempotencyKey, parent: asked }: SubmitJobRequest,
): Promise<{ readonly jobId: string; readonly isReplayed: boolean }> {
  requireKindScopes(caller, [job.kind]);
  const parent = leaseOfCall(caller, asked);
  const named = projectsOf([job], () => "job");
  const taken = keysOf([job], idempotencyKey);
  await requireProjects(c, caller, named, taken);
  await requireDocuments(c, caller, [job], { pathOf: () => "job", keys: taken });
  await countJobs(c, caller, 1);
  const [row] = await prepareJobs(c, caller, [job], { batchId: null, parent, idempotencyKey, keys: taken });
  if (!row) throw new Error("one job in, one row out");
  const keys = [...idempotency(c, idempotencyKey, [job], row.jobId), ...externals([job], [row], parent)];
  const answer = await submit(c, caller, {
    jobs: [row],
    batch: null,
    keys,
    parent: held(caller, parent),
    dependencies: parentsOf([job], [row]),
    audit: auditRow(c, caller, "job.submit", encodeId("job", row.jobId), { kind: job.kind }),
  });
  return { jobId: answer.jobIds[0] ?? row.jobId, isReplayed: answer.isReplayed };
}

/** Submits up to 10,000 jobs in one transaction; resolves after commit. */
export async function submitBatch(
  c: Coordinator,
  caller: Caller,
  { jobs, title, idempotencyKey, parent: asked }: SubmitBatchRequest,
): Promise<{ readonly batchId: string; readonly jobIds: readonly string[]; readonly isReplayed: boolean }> {
  requireKindScopes(caller, new Set(jobs.map((job) => job.kind)));
  const parent = leaseOfCall(caller, asked);
  const pathOf = (index: number) => `jobs[${index}]`;
  const taken = keysOf(jobs, idempotencyKey);
  await requireProjects(c, caller, projectsOf(jobs, pathOf), taken);
  await requireDocuments(c, caller, jobs, { pathOf, keys: taken });
  await countJobs(c, caller, jobs.length);
  const batchId = c.newId();
  const rows = await prepareJobs(c, caller, jobs, { batchId, parent, idempotencyKey: null, keys: taken });
  const answer = await submit(c, caller, {
    jobs: rows,
    batch: { batchId, title },
    keys: [...idempotency(c, idempotencyKey, [title, ...jobs], batchId), ...externals(jobs, rows, parent)],
    parent: held(caller, parent),
    dependencies: parentsOf(jobs, rows),
    audit: auditRow(c, caller, "batch.submit", encodeId("batch", batchId), { jobs: jobs.length }),
  });
  return { batchId: answer.batchId ?? batchId, jobIds: answer.jobIds, isReplayed: answer.isReplayed };
}

/** T14, T15: cancels a job that waits, asks the worker of one that runs; forced: ends it and fences the lease off. */
export async function cancelJob(
  c: Coordinator,
  caller: Caller,
  {
    jobId,
    reason,
    isForced,
    lease = null,
  }: {
    readonly jobId: string;
    readonly reason: string;
    readonly isForced: boolean;
    /** Only if this attempt is still current; else SUPERSEDED. */
    readonly lease?: Lease | null;
  },
): Promise<CancelOutcome> {
  return endJob(c, caller, { jobId, reason, lease }, () => ({ type: "cancel-requested", isForced }));
}

/** T18: cancels a job whose deadline has passed, like a cancel; one that was given another run meanwhile is left alone. */
export async function cancelOverdueJob(c: Coordinator, caller: Caller, jobId: string): Promise<void> {
  await endJob(c, caller, { jobId, reason: "the deadline passed", lease: null }, (job) =>
    job.isOverdue ? { type: "deadline-passed" } : null,
  );
}

/** T19, and T3 by hand: replays a dead or cancelled run; wakes a job that waits for its next try or is parked. */
export async function retryJob(
  c: Coordinator,
  caller: Caller,
  {
    jobId,
    reason,
    requestId = "",
  }: { readonly jobId: string; readonly reason: string; readonly requestId?: string },
): Promise<void> {
  const replay = async (tx: OrgTx): Promise<"done" | "releasing"> => {
    let job = await lockOne(tx, jobId);
    if (!job) {
      // Two that replay at once take turns: the second finds the run of the first.
      await tx.run(callOfJobs(lockAsked, tx.orgId, [jobId]));
      job = await lockOne(tx, jobId);
      // Who depends on the new run is not to be taken for one of the old: that one's end goes its way first.
      if (!job && (await isReleasing(tx, jobId))) return "releasing";
    }
    if (!(await takeRequest(c, tx, "retry", jobId, requestId, { asked: [reason] }))) return "done";
    const audited = insertAuditRows(tx.orgId, [
      auditRow(c, caller, "job.retry", encodeId("job", jobId), { state: job?.state ?? null }, reason),
    ]);
    if (job) {
      const answer = settle(job, { type: "hurried" }, noRemains, c.random());
      if (!isSettled(answer)) throw notReplayable(jobId, job.state);
      await writeSettled(c, tx, answer, [audited]);
      return "done";
    }
    const final = await finalOf(tx, jobId);
    if (refusal(final.state, "replayed")) throw notReplayable(jobId, final.state);
    await Promise.all([...reviveRuns(c, tx.orgId, [final], 1), audited].map((one) => tx.run(one)));
    return "done";
  };
  while ((await transact(c.db.hot, caller.orgId, replay)) === "releasing") {
    await drainReleases(c, caller.orgId, jobId);
  }
  c.wakes.ready(caller.orgId);
  c.wakes.changed(caller.orgId, [jobId]);
}

async function endJob(
  c: Coordinator,
  caller: Caller,
  { jobId, reason, lease }: { readonly jobId: string; readonly reason: string; readonly lease: Lease | null },
  eventOf: (job: LockedJob) => Extract<JobEvent, { type: "cancel-requested" | "deadline-passed" }> | null,
): Promise<CancelOutcome> {
  let release = noRelease;
  let isFenced = false;
  const outcome = await transactAgain(c.db.hot, caller.orgId, async (tx): Promise<CancelOutcome> => {
    [release, isFenced] = [noRelease, false];
    const job = await lockOne(tx, jobId);
    if (lease && (job?.leaseId !== lease.leaseId || job.attempt !== lease.attempt)) {
      throw superseded(lease, job?.attempt ?? (await finalOf(tx, jobId)).attempt);
    }
    if (!job) {
      await finalOf(tx, jobId);
      return "already-terminal";
    }
    const event = eventOf(job);
    if (!event) return "already-terminal";
    const answer = settle(job, event, { ...noRemains, reason }, c.random());
    if (!isSettled(answer)) return "already-terminal";
    const isForced = event.type === "cancel-requested" && event.isForced;
    const audited = insertAuditRows(tx.orgId, [
      auditRow(c, caller, "job.cancel", encodeId("job", jobId), { state: job.state, isForced }, reason),
    ]);
    if (isTerminal(answer.transition.state)) {
      const ended = job.hasDependants ? [answer.transition] : [];
      release = await releaseDependants(c, tx, ended);
      await writeSettled(c, tx, answer, [audited], release);
      isFenced = isLeased(job.state);
      return "cancelled";
    }
    const asked = call(requestCancels, {
      org: tx.orgId,
      jobs: [jobId],
      reason,
      n: changeNumbers.cancelRequest,
    });
    await Promise.all([tx.run(asked), tx.run(audited)]);
    return "requested";
  });
  if (outcome !== "already-terminal") {
    c.wakes.changed(caller.orgId, [jobId]);
    c.wakes.cancel(caller.orgId);
    if (isFenced) c.wakes.revoked(caller.orgId);
    announceRelease(c, caller.orgId, release);
  }
  return outcome;
}

async function submit(c: Coordinator, caller: Caller, submission: Submission) {
  const answer = await c.submits.add(caller.orgId, submission);
  if ("error" in answer) throw answer.error;
  return answer;
}

function projectsOf(jobs: readonly JobRequest[], pathOf: (index: number) => string): NamedProject[] {
  return jobs.flatMap(({ project }, index) =>
    project === null ? [] : [{ field: `${pathOf(index)}.project`, name: project }],
  );
}

function keysOf(jobs: readonly JobRequest[], idempotencyKey: string | null): string[] {
  return [idempotencyKey, ...jobs.map((job) => job.externalId)].filter((key) => key !== null);
}

async function prepareJobs(
  c: Coordinator,
  caller: Caller,
  jobs: readonly JobRequest[],
  of: {
    readonly batchId: string | null;
    readonly parent: Lease | null;
    readonly idempotencyKey: string | null;
    /** All keys of the submission. */
    readonly keys: readonly string[];
  },
): Promise<NewJob[]> {
  const targets = await resolveTargets(
    c,
    caller.orgId,
    jobs,
    (index) => (of.batchId === null ? "job" : `jobs[${index}]`),
    of.keys,
  );
  const templates = new Map<string, JobTemplate>();
  const rows: NewJob[] = [];
  let template: JobTemplate | undefined;
  let before: JobRequest | undefined;
  for (const [index, job] of jobs.entries()) {
    if (!template || !before || !isLikeBefore(job, before)) {
      const key = templateKey(job);
      template = templates.get(key) ?? (await templateOf(c, caller, job, targets[index] ?? null));
      templates.set(key, template);
    }
    before = job;
    rows.push({
      jobId: c.newId(),
      template,
      batchId: of.batchId,
      parentJobId: of.parent?.jobId ?? null,
      title: job.title,
      payload: job.payload,
      labels: Object.keys(job.labels).length > 0 ? job.labels : null,
      runAt: job.runAt,
      deadline: job.deadline,
      externalId: job.externalId,
      idempotencyKey: of.idempotencyKey,
      dependsOn: null,
      waitingOn: 0,
      hasDependants: false,
    });
  }
  return rows;
}

/** What the jobs that are asked for so have in common. */
export async function templateOf(
  c: Coordinator,
  caller: Caller,
  job: JobRequest,
  target: ShapeTarget | null,
): Promise<JobTemplate> {
  const settings = await c.settings.resolve(caller.orgId, { queue: job.queue, kind: job.kind, job });
  return {
    settings,
    shape: internShape({
      kind: job.kind,
      queue: job.queue,
      skills: [...new Set(job.skills)].sort(),
      points: job.points,
      pool: job.pool,
      project: job.opensPullRequest ? job.project : null,
      target,
      avoid: [],
      isAlone: false,
      accountedTo: job.opensPullRequest ? null : job.project,
    }),
    project: job.project,
    priority: job.priority,
    softTimeoutMs: job.softTimeoutMs,
    hardTimeoutMs: job.hardTimeoutMs,
    isExclusive: job.exclusive,
    isAtMostOnce: job.atMostOnce,
    opensPullRequest: job.opensPullRequest,
    dependencyPolicy: job.dependencyPolicy,
    instructions: job.instructions,
    submittedBy: caller.actor,
  };
}

function idempotency(
  { config }: Coordinator,
  key: string | null,
  asked: readonly unknown[],
  targetId: string,
): SubmitKey[] {
  if (key === null) return [];
  const lifeMs = config.idempotencyTtlMs;
  return [{ type: "idempotency", key, fingerprint: fingerprint(asked), targetId, lifeMs }];
}

function externals(jobs: readonly JobRequest[], rows: readonly NewJob[], parent: Lease | null): SubmitKey[] {
  return jobs.flatMap((job, index) => {
    const row = rows[index];
    if (job.externalId === null || !row) return [];
    const print = fingerprint([job, parent?.jobId ?? null]);
    return [
      {
        type: "external" as const,
        key: job.externalId,
        fingerprint: print,
        targetId: row.jobId,
        lifeMs: null,
      },
    ];
  });
}

function fingerprint(asked: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(asked)).digest("hex");
}

function held(caller: Caller, parent: Lease | null): Submission["parent"] {
  if (!parent) return null;
  if (caller.workerId === null) {
    throw new DomainError("SUPERSEDED", {
      message: "A child job is submitted with the key of the worker that holds the parent's lease",
      details: { jobId: encodeId("job", parent.jobId) },
    });
  }
  return { ...parent, workerId: caller.workerId };
}

function notReplayable(jobId: string, state: JobState): DomainError {
  return failedPrecondition("JOB_NOT_REPLAYABLE", { jobId: encodeId("job", jobId), state: stateName(state) });
}

async function finalOf(tx: OrgTx, jobId: string): Promise<FinalRun> {
  const final = (await finalsOf(tx, [jobId])).get(jobId);
  if (!final) throw notFound("JOB_NOT_FOUND", encodeId("job", jobId));
  return final;
}
