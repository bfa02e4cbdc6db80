import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, retryJob, submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, endLeases } from "../../server/domain/leases.ts";
import { parkJob, unparkJob } from "../../server/domain/parking.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import type { LeaseEvent } from "../../server/domain/rules/transitions.ts";
import { lapseAvoids, promoteDueJobs } from "../../server/maintain/due.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, jobRequest, testDispatcher } from "../support/fleet.ts";
import { insertJob } from "../support/rows.ts";

let db: TestDatabase;
let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const submit = async (overrides: Partial<JobRequest> = {}) =>
    (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey: null, parent: null })).jobId;
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: false });
  const park = (jobId: string, forMs: number | null = null, requestId = "") => {
    const until = forMs === null ? null : new Date(db.nowMs() + forMs);
    return parkJob(c, caller, { jobId, reason: "quota", requestId, until });
  };
  const unpark = (jobId: string, requestId = "") => unparkJob(c, caller, { jobId, reason: "", requestId });
  const promote = () => promoteDueJobs(c, orgId, AbortSignal.timeout(10_000));
  const audits = async () =>
    (
      await db.admin`select action, reason, details from muster.audit_log
        where org_id = ${orgId} and action like '%park' order by at, audit_id`
    ).map((row) => ({ ...row }));
  return { orgId, caller, submit, read, park, unpark, promote, audits };
}

describe("parking a job", () => {
  test("holds one that is ready until it is unparked, and says who wanted it", async () => {
    const { submit, read, park, unpark, promote, audits } = await org();
    const jobId = await submit();
    expect(await park(jobId)).toMatchObject({ state: JobState.parked, reason: "quota", wakeAt: null });
    await db.advanceClock(3_600_000);
    await promote();
    expect((await read(jobId)).state).toBe(JobState.parked);
    expect(await unpark(jobId)).toMatchObject({ state: JobState.ready, reason: null, attempt: 0 });
    expect(await audits()).toEqual([
      { action: "job.park", reason: "quota", details: expect.objectContaining({ state: JobState.ready }) },
      { action: "job.unpark", reason: "", details: expect.objectContaining({ state: JobState.parked }) },
    ]);
  });

  test("until a time ends by itself then", async () => {
    const { submit, read, park, promote } = await org();
    const jobId = await submit();
    const { wakeAt } = await park(jobId, 60_000);
    expect(Math.abs((wakeAt?.getTime() ?? 0) - db.nowMs() - 60_000)).toBeLessThan(5_000);
    await promote();
    expect((await read(jobId)).state).toBe(JobState.parked);
    await db.advanceClock(61_000);
    await promote();
    expect((await read(jobId)).state).toBe(JobState.ready);
  });

  test("until a time that has passed, or lies more than a year ahead, is refused", async () => {
    const { submit, park } = await org();
    const jobId = await submit();
    for (const forMs of [-1_000, 400 * 24 * 3_600_000]) {
      await expect(park(jobId, forMs)).rejects.toMatchObject({
        reason: "VALIDATION_FAILED",
        violations: [{ field: "until" }],
      });
    }
  });

  test.each([
    ["unparked by hand", "unpark"],
    ["when its own time is over", "due"],
  ] as const)("keeps a run time that is still ahead: %s it is scheduled", async (_, how) => {
    const { submit, read, park, unpark, promote } = await org();
    const runAt = new Date(db.nowMs() + 600_000);
    const jobId = await submit({ runAt });
    await park(jobId, how === "due" ? 60_000 : null);
    if (how === "due") {
      await db.advanceClock(61_000);
      await promote();
    } else await unpark(jobId);
    const scheduled = await read(jobId);
    expect(scheduled.state).toBe(JobState.scheduled);
    expect(Math.abs((scheduled.wakeAt?.getTime() ?? 0) - runAt.getTime())).toBeLessThan(1_000);
    await db.advanceClock(600_000);
    await promote();
    expect((await read(jobId)).state).toBe(JobState.ready);
  });

  test("keeps what is left of a backoff", async () => {
    const { orgId, read, park, unpark } = await org();
    const { jobId } = await insertJob(db, orgId, {
      state: JobState.scheduled,
      wakeInMs: 300_000,
      failures: 1,
    });
    await park(jobId);
    await db.advanceClock(100_000);
    await unpark(jobId);
    const { state, wakeAt, failures } = await read(jobId);
    expect([state, failures]).toEqual([JobState.scheduled, 1]);
    const leftMs = (wakeAt?.getTime() ?? 0) - db.nowMs();
    expect(leftMs).toBeGreaterThan(190_000);
    expect(leftMs).toBeLessThan(205_000);
  });

  test("one that outlasts the run time makes the job ready", async () => {
    const { submit, park, unpark } = await org();
    const jobId = await submit({ runAt: new Date(db.nowMs() + 60_000) });
    await park(jobId);
    await db.advanceClock(61_000);
    expect((await unpark(jobId)).state).toBe(JobState.ready);
  });

  test.each(["unpark", "due"])("one that waits for others goes back to that: %s", async (how) => {
    const { orgId, read, park, unpark, promote } = await org();
    const { jobId } = await insertJob(db, orgId, { state: JobState.blocked });
    await db.admin`update muster.job_queue set waiting_on = 2 where job_id = ${jobId}`;
    await park(jobId, how === "due" ? 1_000 : null);
    await db.advanceClock(2_000);
    await (how === "due" ? promote() : unpark(jobId));
    expect((await read(jobId)).state).toBe(JobState.blocked);
  });

  test("twice with one request id is one park; without an id the second is refused", async () => {
    const { submit, park, unpark, audits } = await org();
    const jobId = await submit();
    await park(jobId, null, "req-1");
    expect((await park(jobId, null, "req-1")).state).toBe(JobState.parked);
    await expect(park(jobId)).rejects.toMatchObject({
      reason: "JOB_NOT_PARKABLE",
      details: { state: "PARKED" },
    });
    await unpark(jobId, "req-2");
    // A late repetition neither parks it again nor unparks what somebody parked since.
    expect((await park(jobId, null, "req-1")).state).toBe(JobState.ready);
    await park(jobId, null, "req-3");
    expect((await unpark(jobId, "req-2")).state).toBe(JobState.parked);
    expect(await audits()).toHaveLength(3);
  });

  test.each([
    [JobState.offered, "OFFERED"],
    [JobState.running, "RUNNING"],
  ])("is refused in state %i, by name", async (state, name) => {
    const { orgId, park, unpark, audits } = await org();
    const { jobId } = await insertJob(db, orgId, { state, worker: { workerId: db.newId() } });
    await expect(park(jobId)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "JOB_NOT_PARKABLE",
      details: { state: name },
    });
    await expect(unpark(jobId)).rejects.toMatchObject({ reason: "JOB_NOT_PARKED", details: { state: name } });
    expect(await audits()).toEqual([]);
  });

  test("is refused when the job has ended, and when there is none", async () => {
    const { caller, submit, park, unpark } = await org();
    const jobId = await submit();
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    await expect(park(jobId)).rejects.toMatchObject({ details: { state: "CANCELLED" } });
    await expect(unpark(jobId)).rejects.toMatchObject({ details: { state: "CANCELLED" } });
    await expect(park(db.newId())).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
  });

  test("does not keep what the job avoided: unparked it may go anywhere", async () => {
    const { orgId, caller, submit, park, unpark, read } = await org();
    const dispatcher = testDispatcher(c);
    const worker = await attachWorker(c, orgId, { name: "only", dispatcher });
    const jobId = await submit();
    await dispatcher.refresh(orgId);
    const [grant] = await worker.offers(1);
    if (!grant) throw new Error("offered");
    const declined: LeaseEvent = { type: "declined", coolDownMs: 3_600_000 };
    await endLeases(c, orgId, [{ fence: grant.fence, event: declined, reason: "not now" }]);
    worker.link.drop(grant.fence.leaseId);
    await park(jobId);
    await unpark(jobId);
    await dispatcher.refresh(orgId);
    expect((await worker.offers(2))[1]?.fence).toMatchObject({ jobId, attempt: 2 });
    expect((await read(jobId)).state).toBe(JobState.offered);
    expect(caller.orgId).toBe(orgId);
    await dispatcher.stop();
  });
});

describe("what a job avoids", () => {
  test("lapses after its cool-down also when another worker gave the job back meanwhile", async () => {
    const { orgId, submit } = await org();
    const dispatcher = testDispatcher(c);
    const first = await attachWorker(c, orgId, { name: "loser", dispatcher });
    const jobId = await submit();
    await dispatcher.refresh(orgId);
    const [lost] = await first.offers(1);
    if (!lost) throw new Error("offered");
    await endLeases(c, orgId, [
      { fence: lost.fence, event: { type: "lost", isFleetEvent: false }, reason: "gone" },
    ]);
    first.link.drop(lost.fence.leaseId);
    const second = await attachWorker(c, orgId, { name: "other", dispatcher });
    await dispatcher.refresh(orgId);
    const [released] = await second.offers(1);
    if (!released) throw new Error("offered to the other");
    second.link.isDraining = true;
    await createResultBatcher(c).add(orgId, {
      fence: released.fence,
      resultId: db.newId(),
      event: { type: "released" },
      ...{ result: null, error: null, prUrl: null, lastSequence: 0, reason: "drain", hasProgress: false },
    });
    second.link.drop(released.fence.leaseId);
    await db.advanceClock(601_000);
    await db.admin`update muster.links set seen_at = muster.muster_clock() where org_id = ${orgId}`;
    await lapseAvoids(c, orgId);
    await dispatcher.refresh(orgId);
    expect((await first.offers(2))[1]?.fence).toMatchObject({ jobId, attempt: 3 });
    await dispatcher.stop();
  });
});

describe("a retry", () => {
  test("with one request id is one replay, however often and at once", async () => {
    const { caller, submit, read } = await org();
    const jobId = await submit();
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    const again = { jobId, reason: "", requestId: "r" };
    await Promise.all([retryJob(c, caller, again), retryJob(c, caller, again)]);
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, generation: 2, attempt: 1 });
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    await retryJob(c, caller, again);
    expect(await read(jobId)).toMatchObject({ state: JobState.cancelled, generation: 2, attempt: 2 });
  });

  test("that meets another one is refused in words, and there is one new run", async () => {
    const { caller, submit, read } = await org();
    const jobId = await submit();
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    const answers = await Promise.allSettled([1, 2, 3].map(() => retryJob(c, caller, { jobId, reason: "" })));
    const refused = answers.filter((one) => one.status === "rejected").map((one) => one.reason.reason);
    expect(refused).toEqual(["JOB_NOT_REPLAYABLE", "JOB_NOT_REPLAYABLE"]);
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, generation: 2 });
  });

  test("drops a deadline that has passed, and keeps one that is ahead", async () => {
    const { orgId, caller, submit } = await org();
    const passed = await submit({ deadline: new Date(db.nowMs() + 1_000) });
    const ahead = await submit({ deadline: new Date(db.nowMs() + 3_600_000) });
    for (const jobId of [passed, ahead]) {
      await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    }
    await db.advanceClock(2_000);
    for (const jobId of [passed, ahead]) await retryJob(c, caller, { jobId, reason: "" });
    const rows = await db.admin`select job_id, deadline is null as dropped from muster.job_queue
      where org_id = ${orgId} order by job_id`;
    expect(rows.map((row) => row["dropped"])).toEqual([true, false]);
  });
});
