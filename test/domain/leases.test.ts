import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../server/dispatch/link.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, retryJob, submitBatch, submitJob } from "../../server/domain/jobs.ts";
import {
  createAcceptBatcher,
  createResultBatcher,
  endLeases,
  type LeaseResult,
} from "../../server/domain/leases.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { promoteDueJobs } from "../../server/maintain/due.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const success = (grant: Grant, overrides: Partial<LeaseResult> = {}): LeaseResult => ({
  fence: grant.fence,
  resultId: randomUUID(),
  event: { type: "succeeded" },
  result: '{"ok":true}',
  error: null,
  prUrl: null,
  lastSequence: 0,
  reason: null,
  hasProgress: false,
  ...overrides,
});
const failure = (grant: Grant, isRetryable = true): LeaseResult =>
  success(grant, {
    event: { type: "failed", isRetryable, isTimedOut: false, retryAfterMs: null },
    result: null,
    error: { code: "BROKEN", message: "it broke", detail: "" },
  });

async function oneOffered(overrides = {}) {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const dispatcher = testDispatcher(c);
  const worker = await attachWorker(c, orgId, { name: "one", dispatcher });
  const { jobId } = await submitJob(c, caller, {
    job: jobRequest(overrides),
    idempotencyKey: null,
    parent: null,
  });
  await dispatcher.refresh(orgId);
  const [grant] = await worker.offers(1);
  if (!grant) throw new Error("offered");
  const read = () => getJob(c, caller, { jobId, externalId: null, isFull: true });
  return { orgId, caller, dispatcher, worker, jobId, grant, read };
}

describe("a lease", () => {
  test("is offered with the payload, accepted, and ends the run with its result", async () => {
    const { orgId, jobId, grant, read } = await oneOffered();
    expect(grant.fence).toMatchObject({ jobId, attempt: 1 });
    expect(Buffer.from(grant.payload).toString()).toBe('{"n":1}');
    expect((await read()).state).toBe(JobState.offered);
    const isCurrent = await createAcceptBatcher(c).add(orgId, { ...grant.fence, isDone: () => false });
    expect(isCurrent).toBe(true);
    expect((await read()).state).toBe(JobState.running);
    const answer = await createResultBatcher(c).add(orgId, success(grant));
    expect(answer).toEqual({ status: "committed", state: JobState.succeeded });
    expect(await read()).toMatchObject({ state: JobState.succeeded, attempt: 1 });
    expect(Buffer.from((await read()).result ?? []).toString()).toBe('{"ok":true}');
  });

  test("takes a result that was never accepted, and answers its repetition as a duplicate", async () => {
    const { orgId, grant } = await oneOffered();
    const results = createResultBatcher(c);
    const result = success(grant);
    expect(await results.add(orgId, result)).toMatchObject({ status: "committed" });
    expect(await results.add(orgId, result)).toEqual({ status: "duplicate" });
    const other = await results.add(orgId, success(grant));
    expect(other).toEqual({ status: "superseded", currentAttempt: 1 });
    const kept = await db.admin`select count(*)::int as n from muster.late_results where org_id = ${orgId}`;
    expect(kept[0]?.["n"]).toBe(1);
  });

  test.each(["jobId", "leaseId", "workerId", "attempt"] as const)("is fenced by its %s", async (part) => {
    const { orgId, grant, read } = await oneOffered();
    const wrong = part === "attempt" ? { attempt: 2 } : { [part]: randomUUID() };
    const answer = await createResultBatcher(c).add(
      orgId,
      success(grant, { fence: { ...grant.fence, ...wrong } }),
    );
    expect(answer.status).toBe("superseded");
    expect((await read()).state).toBe(JobState.offered);
  });

  test("that fails goes back with a backoff, and is dead after the last attempt", async () => {
    const { orgId, dispatcher, worker, grant, read, jobId, caller } = await oneOffered({ maxAttempts: 2 });
    const results = createResultBatcher(c);
    await results.add(orgId, failure(grant));
    worker.link.drop(grant.fence.leaseId);
    expect(await read()).toMatchObject({ state: JobState.scheduled, failures: 1, error: { code: "BROKEN" } });
    await db.advanceClock(10_000);
    await promoteDueJobs(c, orgId, AbortSignal.timeout(5_000));
    await dispatcher.refresh(orgId);
    const second = (await worker.offers(2))[1];
    if (!second) throw new Error("offered again");
    expect(second.fence.attempt).toBe(2);
    await results.add(orgId, failure(second));
    worker.link.drop(second.fence.leaseId);
    expect(await read()).toMatchObject({ state: JobState.dead, failures: 2 });
    await retryJob(c, caller, { jobId, reason: "again" });
    expect(await read()).toMatchObject({ state: JobState.ready, failures: 0, generation: 2, attempt: 2 });
  });

  test("that is lost is offered to another worker", async () => {
    const { orgId, dispatcher, worker, grant, read } = await oneOffered();
    const ended = await endLeases(c, orgId, [
      { fence: grant.fence, event: { type: "lost", isFleetEvent: false }, reason: "silent" },
    ]);
    expect([...ended]).toEqual([grant.fence.leaseId]);
    expect(await read()).toMatchObject({ state: JobState.ready, losses: 1 });
    const other = await attachWorker(c, orgId, { name: "two", dispatcher });
    await dispatcher.refresh(orgId);
    const [again] = await other.offers(1);
    expect(again?.fence).toMatchObject({ attempt: 2, workerId: other.link.workerId });
    expect(worker.offered).toHaveLength(1);
    const late = await createResultBatcher(c).add(orgId, success(grant));
    expect(late).toEqual({ status: "superseded", currentAttempt: 2 });
  });
});

describe("a cancel", () => {
  test("ends a waiting job at once", async () => {
    const orgId = await db.orgId();
    const caller = testCaller(orgId);
    const { jobId } = await submitJob(c, caller, { job: jobRequest(), idempotencyKey: null, parent: null });
    expect(await cancelJob(c, caller, { jobId, reason: "no", isForced: false })).toBe("cancelled");
    const job = await getJob(c, caller, { jobId, externalId: null, isFull: false });
    expect(job).toMatchObject({ state: JobState.cancelled, reason: "no" });
    expect(await cancelJob(c, caller, { jobId, reason: "no", isForced: false })).toBe("already-terminal");
  });

  test("of a running job waits for its worker; a failure after it is not retried", async () => {
    const { orgId, caller, jobId, grant, read } = await oneOffered();
    await createAcceptBatcher(c).add(orgId, { ...grant.fence, isDone: () => false });
    expect(await cancelJob(c, caller, { jobId, reason: "stop", isForced: false })).toBe("requested");
    expect((await read()).isCancelRequested).toBe(true);
    await createResultBatcher(c).add(orgId, failure(grant));
    expect((await read()).state).toBe(JobState.cancelled);
  });
});

describe("a batch", () => {
  test("is inserted whole, counted down, and the same key gives the same ids", async () => {
    const orgId = await db.orgId();
    const caller = testCaller(orgId);
    const request = {
      jobs: Array.from({ length: 50 }, (_, n) => jobRequest({ payload: String(n) })),
      title: "fifty",
      idempotencyKey: "k",
      parent: null,
    };
    const first = await submitBatch(c, caller, request);
    const again = await submitBatch(c, caller, request);
    expect(again).toEqual({ ...first, isReplayed: true });
    await expect(submitBatch(c, caller, { ...request, title: "other" })).rejects.toMatchObject({
      reason: "IDEMPOTENCY_CONFLICT",
    });
    const dispatcher = testDispatcher(c);
    const declared = { ...hello().declared, slots: 50, points: 50 };
    const worker = await attachWorker(c, orgId, { name: "big", dispatcher, hello: hello({ declared }) });
    const grants = await worker.offers(50);
    const results = createResultBatcher(c);
    await Promise.all(grants.map((grant) => results.add(orgId, success(grant))));
    const [row] = await db.admin`select pending, succeeded from muster.batches where org_id = ${orgId}`;
    expect(row).toEqual({ pending: 0, succeeded: 50 });
    await dispatcher.stop();
  });
});
