import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getJob } from "../../server/domain/job-views.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { getLease, listLeases } from "../../server/domain/lease-views.ts";
import { createResultBatcher } from "../../server/domain/leases.ts";
import { revokeLease } from "../../server/domain/revokes.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, jobRequest, testDispatcher } from "../support/fleet.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";

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
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: false });
  const revoke = (leaseId: string, requestId = "") =>
    revokeLease(c, caller, { leaseId, reason: "it hangs", requestId });
  const leased = async (rows: Parameters<typeof insertJob>[2] = {}) => {
    const workerId = await insertWorkerRow(db, orgId, { name: `w-${randomUUID()}`, link: {} });
    const state = rows.state ?? JobState.running;
    const { jobId, leaseId } = await insertJob(db, orgId, { ...rows, state, worker: { workerId } });
    if (leaseId === null) throw new Error("leased");
    return { jobId, leaseId, workerId };
  };
  return { orgId, caller, read, revoke, leased };
}

describe("revoking a lease", () => {
  test.each([JobState.offered, JobState.running])(
    "makes the job of state %i ready, counts a release, fences the lease off and says who did it",
    async (state) => {
      const { orgId, read, revoke, leased } = await org();
      const { jobId, leaseId, workerId } = await leased({ state });
      expect(await revoke(leaseId)).toBe(jobId);
      expect(await read(jobId)).toMatchObject({
        ...{ state: JobState.ready, leaseId: null, releases: 1, losses: 0, failures: 0 },
        reason: "it hangs",
      });
      const result = await createResultBatcher(c).add(orgId, {
        ...{
          fence: { jobId, attempt: 1, leaseId, workerId },
          resultId: db.newId(),
          result: "1",
          error: null,
        },
        ...{ event: { type: "succeeded" }, prUrl: null, lastSequence: 0, reason: null, hasProgress: false },
      });
      expect(result).toEqual({ status: "superseded", currentAttempt: 1 });
      const past =
        await db.admin`select outcome, final, worker_id from muster.attempts where job_id = ${jobId}`;
      expect(past.map((row) => ({ ...row }))).toEqual([
        { outcome: Outcome.released, final: false, worker_id: workerId },
      ]);
      const audits =
        await db.admin`select action, reason, details from muster.audit_log where org_id = ${orgId}`;
      expect(audits.map((row) => ({ ...row }))).toEqual([
        {
          action: "lease.revoke",
          reason: "it hangs",
          details: expect.objectContaining({ attempt: 1, state }),
        },
      ]);
      expect(c.woken).toContainEqual(["revoked", orgId]);
    },
  );

  test("lets another worker have the job, and not at once the one that had it", async () => {
    const { orgId, caller, revoke, read } = await org();
    const dispatcher = testDispatcher(c);
    const first = await attachWorker(c, orgId, { name: "hangs", dispatcher });
    const job = jobRequest();
    const { jobId } = await submitJob(c, caller, { job, idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    const [held] = await first.offers(1);
    if (!held) throw new Error("offered");
    await revoke(held.fence.leaseId);
    first.link.drop(held.fence.leaseId);
    await dispatcher.refresh(orgId);
    expect((await read(jobId)).state).toBe(JobState.ready);
    const second = await attachWorker(c, orgId, { name: "idle", dispatcher });
    await dispatcher.refresh(orgId);
    expect((await second.offers(1))[0]?.fence).toMatchObject({ jobId, attempt: 2 });
    await dispatcher.stop();
  });

  test("ends a job that was to be cancelled, and goes on to who depends on it", async () => {
    const { orgId, caller, revoke, leased, read } = await org();
    const { jobId, leaseId } = await leased({ isCancelRequested: true });
    const child = await submitJob(c, caller, {
      job: jobRequest({ dependsOn: [{ type: "job", jobId }] }),
      idempotencyKey: null,
      parent: null,
    });
    await revoke(leaseId);
    expect((await read(jobId)).state).toBe(JobState.cancelled);
    expect((await read(child.jobId)).state).toBe(JobState.cancelled);
    expect(orgId).toBe(caller.orgId);
  });

  test("with one request id is one revoke, whatever became of the job since", async () => {
    const { orgId, revoke, leased } = await org();
    const { jobId, leaseId } = await leased();
    const answers = await Promise.all([revoke(leaseId, "r"), revoke(leaseId, "r")]);
    expect(answers).toEqual([jobId, jobId]);
    expect(await revoke(leaseId, "r")).toBe(jobId);
    const [count] = await db.admin`select count(*)::int as n from muster.audit_log where org_id = ${orgId}`;
    expect(count?.["n"]).toBe(1);
    await expect(revoke(leaseId, "other")).rejects.toMatchObject({ reason: "SUPERSEDED" });
  });

  test("refuses a lease that is over, one of another org, and none at all, all alike", async () => {
    const { revoke, leased } = await org();
    const others = await (await org()).leased();
    const { leaseId } = await leased();
    await revoke(leaseId);
    for (const one of [leaseId, others.leaseId, randomUUID()]) {
      await expect(revoke(one)).rejects.toMatchObject({ code: "failed_precondition", reason: "SUPERSEDED" });
    }
  });

  test("refuses a job that runs at most once: its worker may have begun", async () => {
    const { revoke, leased, read } = await org();
    const { jobId, leaseId } = await leased();
    await db.admin`update muster.jobs set at_most_once = true where job_id = ${jobId}`;
    await expect(revoke(leaseId)).rejects.toMatchObject({ reason: "JOB_RUNS_ONCE" });
    expect(await read(jobId)).toMatchObject({ state: JobState.running, leaseId });
  });
});

describe("leases", () => {
  test("are listed page by page, longest held first, by worker and by risk", async () => {
    const { orgId, caller } = await org();
    const lively = await insertWorkerRow(db, orgId, { name: "lively", link: {} });
    const silent = await insertWorkerRow(db, orgId, { name: "silent", link: { silentMs: 60_000 } });
    const away = await insertWorkerRow(db, orgId, { name: "away", link: { isAttached: false } });
    const jobs: string[] = [];
    for (const workerId of [lively, silent, away]) {
      const { jobId } = await insertJob(db, orgId, { state: JobState.running, worker: { workerId } });
      jobs.push(jobId);
    }
    await insertJob(db, orgId, { state: JobState.ready });
    // The one that came last is held longest.
    for (const [n, jobId] of jobs.entries()) {
      await db.admin`update muster.job_queue set granted_at = granted_at - ${n} * interval '1 minute'
        where job_id = ${jobId}`;
    }
    const list = async (asked: Partial<Parameters<typeof listLeases>[2]> = {}) => {
      const found: string[] = [];
      for (let pageToken = ""; ; ) {
        const all = { worker: null, isAtRisk: false, pageSize: 1, pageToken, ...asked };
        const page = await listLeases(c, caller, { ...all, pageToken });
        found.push(...page.items.map((one) => one.workerName));
        pageToken = page.nextPageToken;
        if (pageToken === "") return found;
      }
    };
    expect(await list()).toEqual(["away", "silent", "lively"]);
    expect(await list({ isAtRisk: true })).toEqual(["away", "silent"]);
    expect(await list({ worker: { workerId: null, name: "lively" } })).toEqual(["lively"]);
    expect(await list({ worker: { workerId: silent, name: null } })).toEqual(["silent"]);
    await expect(list({ worker: { workerId: null, name: "nobody" } })).rejects.toMatchObject({
      reason: "WORKER_NOT_FOUND",
    });
  });

  test("are read by their id or their job's, and those of others are not found", async () => {
    const { caller, leased } = await org();
    const { jobId, leaseId, workerId } = await leased();
    const byJob = await getLease(c, caller, { leaseId: null, jobId });
    expect(byJob).toMatchObject({ leaseId, workerId, kind: "shell.run", attempt: 1, isAtRisk: false });
    expect((byJob.expiresAt?.getTime() ?? 0) - (byJob.grantedAt?.getTime() ?? 0)).toBe(14_400_000);
    expect(await getLease(c, caller, { leaseId, jobId: null })).toMatchObject({ jobId });
    const other = testCaller(await db.orgId());
    for (const asked of [
      { leaseId, jobId: null },
      { leaseId: null, jobId },
    ]) {
      await expect(getLease(c, other, asked)).rejects.toMatchObject({ reason: "LEASE_NOT_FOUND" });
    }
    await expect(getLease(c, caller, { leaseId, jobId })).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
    });
  });
});
