import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../server/dispatch/link.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, cancelOverdueJob, retryJob, submitBatch, submitJob } from "../../server/domain/jobs.ts";
import {
  createAcceptBatcher,
  createResultBatcher,
  endLeases,
  type LeaseResult,
} from "../../server/domain/leases.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import type { LeaseEvent } from "../../server/domain/rules/transitions.ts";
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

  test("is still current when its accept comes again, because the answer to the first was lost", async () => {
    const { orgId, grant } = await oneOffered();
    const accepts = createAcceptBatcher(c);
    const accept = () => accepts.add(orgId, { ...grant.fence, isDone: () => false });
    expect([await accept(), await accept()]).toEqual([true, true]);
    const [{ told } = { told: 0 }] = await db.admin<{ told: number }[]>`
      select count(*)::int as told from muster.changes where org_id = ${orgId} and ${JobState.running} = any(states)`;
    expect(told).toBe(1);
    await createResultBatcher(c).add(orgId, success(grant));
    expect(await accept()).toBe(false);
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

  test("answers each result of one flush by its own fence and id", async () => {
    const { orgId, grant, worker, dispatcher, caller, read } = await oneOffered();
    const other = await submitJob(c, caller, { job: jobRequest(), idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    const second = (await worker.offers(2)).find(({ fence }) => fence.jobId === other.jobId);
    if (!second) throw new Error("offered");
    const foreign = { ...grant.fence, workerId: randomUUID() };
    const results = createResultBatcher(c);
    // The first flush is on its way while the others gather in the next one.
    const [, wrong, right, again, wrongFailure] = await Promise.all([
      results.add(orgId, success(second)),
      results.add(orgId, success(grant, { fence: foreign })),
      results.add(orgId, success(grant)),
      results.add(orgId, success(grant)),
      results.add(orgId, { ...failure(grant, false), fence: foreign }),
    ]);
    expect(wrong).toEqual({ status: "superseded", currentAttempt: 1 });
    expect(wrongFailure).toEqual({ status: "superseded", currentAttempt: 1 });
    expect([right?.status, again?.status].sort()).toEqual(["committed", "superseded"]);
    expect((await read()).state).toBe(JobState.succeeded);
  });

  test("is not failed by who names it in one flush with its holder", async () => {
    const { orgId, grant, read, dispatcher, worker, caller } = await oneOffered();
    const other = await submitJob(c, caller, { job: jobRequest(), idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    const second = (await worker.offers(2)).find(({ fence }) => fence.jobId === other.jobId);
    if (!second) throw new Error("offered");
    const results = createResultBatcher(c);
    const [, , released, foreign] = await Promise.all([
      results.add(orgId, success(second)),
      results.add(orgId, success(second)),
      results.add(orgId, success(grant, { event: { type: "released" }, result: null })),
      results.add(orgId, { ...failure(grant, false), fence: { ...grant.fence, workerId: randomUUID() } }),
    ]);
    expect(released).toEqual({ status: "committed", state: JobState.ready });
    expect(foreign).toEqual({ status: "superseded", currentAttempt: 1 });
    expect(await read()).toMatchObject({ state: JobState.ready, releases: 1, failures: 0 });
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

describe("a cancel that meets a lease", () => {
  const cancelled = async (isAccepted: boolean, isForced: boolean) => {
    const one = await oneOffered();
    if (isAccepted) {
      await createAcceptBatcher(c).add(one.orgId, { ...one.grant.fence, isDone: () => false });
    }
    const answer = await cancelJob(c, one.caller, { jobId: one.jobId, reason: "stop", isForced });
    const attempts = () =>
      db.admin`select attempt, outcome, state, final, worker_id is not null as held, reason from muster.attempts
        where org_id = ${one.orgId} order by attempt`;
    return { ...one, answer, attempts };
  };

  test.each([
    ["withdraws an offer that was not accepted", false, false],
    ["by force fences off a lease that runs", true, true],
  ])("%s", async (_, isAccepted, isForced) => {
    const { orgId, grant, answer, attempts, read } = await cancelled(isAccepted, isForced);
    expect(answer).toBe("cancelled");
    expect(await attempts()).toEqual([
      {
        attempt: 1,
        outcome: Outcome.cancelled,
        state: JobState.cancelled,
        final: true,
        held: true,
        reason: "stop",
      },
    ]);
    expect(await createAcceptBatcher(c).add(orgId, { ...grant.fence, isDone: () => false })).toBe(false);
    const late = await createResultBatcher(c).add(orgId, success(grant));
    expect(late).toEqual({ status: "superseded", currentAttempt: 1 });
    expect((await read()).state).toBe(JobState.cancelled);
    expect(await attempts()).toHaveLength(1);
  });

  test("loses against a success, which says so", async () => {
    const { orgId, grant, answer, attempts, read } = await cancelled(true, false);
    expect(answer).toBe("requested");
    await createResultBatcher(c).add(orgId, success(grant));
    expect((await read()).state).toBe(JobState.succeeded);
    expect((await attempts())[0]?.["reason"]).toBe("succeeded after a cancel request");
  });

  test("loses against a success with a pull request, which says so too", async () => {
    const { orgId, grant, attempts, read } = await cancelled(true, false);
    await createResultBatcher(c).add(orgId, success(grant, { prUrl: "https://example.com/pull/1" }));
    expect((await read()).state).toBe(JobState.succeeded);
    expect((await attempts())[0]?.["reason"]).toBe("succeeded after a cancel request");
  });

  test.each<[string, LeaseEvent]>([
    ["released", { type: "released" }],
    ["parked", { type: "parked", wakeAfterMs: 1_000 }],
    ["lost", { type: "lost", isFleetEvent: false }],
    ["stopped", { type: "cancelled" }],
  ])("ends a run that is then %s", async (_, event) => {
    const { orgId, grant, read } = await cancelled(true, false);
    await endLeases(c, orgId, [{ fence: grant.fence, event, reason: "over" }]);
    expect((await read()).state).toBe(JobState.cancelled);
  });

  test("of a job that waits takes the next number for its final row", async () => {
    const { orgId, caller, jobId, grant, read } = await oneOffered();
    const lost = { type: "lost", isFleetEvent: false } as const;
    await endLeases(c, orgId, [{ fence: grant.fence, event: lost, reason: "gone" }]);
    await cancelJob(c, caller, { jobId, reason: "stop", isForced: false });
    expect(await read()).toMatchObject({ state: JobState.cancelled, attempt: 2 });
  });
});

describe("a deadline", () => {
  test("does not end a run that began after it was found", async () => {
    const { caller, jobId, read } = await oneOffered({ deadline: new Date(db.nowMs() + 1_000) });
    await db.advanceClock(2_000);
    await cancelJob(c, caller, { jobId, reason: "stop", isForced: false });
    await retryJob(c, caller, { jobId, reason: "again" });
    await cancelOverdueJob(c, caller, jobId);
    expect(await read()).toMatchObject({ state: JobState.ready, generation: 2 });
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
