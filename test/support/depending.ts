import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { Batcher } from "../../server/domain/batcher.ts";
import type { Caller } from "../../server/domain/context.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { submitBatch, submitJob } from "../../server/domain/jobs.ts";
import {
  createResultBatcher,
  type Fence,
  type LeaseResult,
  type ResultAnswer,
} from "../../server/domain/leases.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { ReleaseSweep } from "../../server/maintain/releases.ts";
import { type TestCoordinator, type TestDatabase, testCaller } from "./database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "./fleet.ts";

/** A sweep that nobody stops. */
export const never: AbortSignal = new AbortController().signal;
/** Dependencies on jobs by their ids. */
export const onJob = (...jobIds: readonly string[]) =>
  jobIds.map((jobId) => ({ type: "job" as const, jobId }));
/** Dependencies on jobs of the same batch. */
export const onRef = (...refs: readonly string[]) => refs.map((ref) => ({ type: "ref" as const, ref }));
export const success = { type: "succeeded" } as const;
export const failure = { type: "failed", isRetryable: false, isTimedOut: false, retryAfterMs: null } as const;

/** An org with a worker, and what tests of jobs that depend on jobs do there. */
export async function dependingOrg(db: TestDatabase, c: TestCoordinator) {
  const orgId = await db.orgId();
  const caller: Caller = testCaller(orgId);
  const dispatcher = testDispatcher(c);
  const { declared } = hello();
  const worker = await attachWorker(c, orgId, {
    name: "all",
    dispatcher,
    hello: hello({ declared: { ...declared, slots: 1_000, points: 1_000 } }),
  });
  const results: Batcher<LeaseResult, ResultAnswer> = createResultBatcher(c);
  // Who waits is of a kind that no worker has: what is ready stays so until it is looked at.
  const submit = async (overrides: Partial<JobRequest> = {}) => {
    const job = jobRequest(overrides.dependsOn ? { kind: "nobody", ...overrides } : overrides);
    return (await submitJob(c, caller, { job, idempotencyKey: null, parent: null })).jobId;
  };
  const leaseOf = async (jobId: string): Promise<Fence> => {
    const isOffered = () => worker.offered.find(({ fence }) => fence.jobId === jobId)?.fence;
    await expect
      .poll(async () => {
        if (!isOffered()) await dispatcher.refresh(orgId);
        return isOffered();
      })
      .toBeDefined();
    return isOffered() ?? expect.fail("offered");
  };
  const resultOf = async (jobId: string, event: LeaseResult["event"] = success): Promise<LeaseResult> => ({
    fence: await leaseOf(jobId),
    resultId: randomUUID(),
    event,
    result: `"of ${jobId}"`,
    error: null,
    prUrl: null,
    lastSequence: 0,
    reason: null,
    hasProgress: false,
  });
  const end = async (jobId: string, event: LeaseResult["event"] = success) =>
    results.add(orgId, await resultOf(jobId, event));
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: true });
  const statesOf = (jobIds: readonly string[]) =>
    Promise.all(jobIds.map(async (jobId) => (await read(jobId)).state));
  const rows = async (table: "edges" | "releases") => {
    const [row] =
      await db.admin`select count(*)::int as count from ${db.admin(`muster.${table}`)} where org_id = ${orgId}`;
    return row?.["count"];
  };
  const batch = async (jobs: readonly Partial<JobRequest>[]) =>
    submitBatch(c, caller, {
      jobs: jobs.map((job) => jobRequest(job)),
      title: "",
      idempotencyKey: null,
      parent: null,
    });
  const drain = () => new ReleaseSweep(c).drain(orgId, never);
  return {
    orgId,
    caller,
    worker,
    submit,
    batch,
    end,
    resultOf,
    leaseOf,
    read,
    statesOf,
    rows,
    drain,
    results,
  };
}

/** Nothing holds a job back: a worker may have been offered it already. */
export const isOpen = ({ state, waitingOn }: { readonly state: JobState; readonly waitingOn: number }) =>
  waitingOn === 0 && (state === JobState.ready || state === JobState.offered);

/** Resolves when so many statements wait for a lock. */
export const waiting = (db: TestDatabase, count: number) =>
  expect
    .poll(async () => {
      const [row] = await db.admin`select count(*)::int as count from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`;
      return row?.["count"];
    })
    .toBe(count);

/** Does things in order while the live row of a job is locked, each until it waits; then lets go. */
export async function whileLocked<T>(
  db: TestDatabase,
  jobId: string,
  doings: readonly (() => Promise<T>)[],
): Promise<T[]> {
  const begun: Promise<T>[] = [];
  await db.admin.begin(async (tx) => {
    await tx`select 1 from muster.job_queue where job_id = ${jobId} for update`;
    for (const doing of doings) {
      begun.push(doing());
      await waiting(db, begun.length);
    }
  });
  return Promise.all(begun);
}
