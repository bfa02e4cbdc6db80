import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { createJobCountsReader } from "../../server/domain/job-counts.ts";
import { listJobs } from "../../server/domain/job-lists.ts";
import { getJob, type JobView } from "../../server/domain/job-views.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { anyJob, type JobFilter } from "../../server/store/job-lists.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;

let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});

afterAll(() => db.close());

const text = (bytes: Uint8Array | null) => (bytes === null ? null : Buffer.from(bytes).toString());

/** A page, newest first. */
function listed(orgId: string, filter: Partial<JobFilter>, page = { pageSize: 0, pageToken: "" }) {
  const list = { order: "newest-first", isLastPage: false, isCounted: false } as const;
  const counts = createJobCountsReader(c);
  return listJobs(c, testCaller(orgId), { ...page, ...list, filter: { ...anyJob, ...filter } }, counts);
}

function read(orgId: string, jobId: string, isFull = true): Promise<JobView> {
  return getJob(c, testCaller(orgId), { jobId, externalId: null, isFull });
}

describe("a job that waits", () => {
  test("shows what was asked, with payload in the full view alone", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId, {
      payload: '{"a":"☃"}',
      labels: { team: "a" },
      project: "acme/web",
    });
    const job = await read(orgId, jobId);
    expect(job).toMatchObject({
      jobId,
      state: JobState.ready,
      attempt: 0,
      generation: 1,
      failures: 0,
      startedAt: null,
      endedAt: null,
      wakeAt: null,
      workerId: null,
      workerName: null,
      leaseId: null,
      isCancelRequested: false,
      reason: null,
      progress: null,
      result: null,
      error: null,
      prUrl: null,
      batchId: null,
    });
    expect(job.spec).toMatchObject({
      kind: "shell.run",
      title: "a job",
      queue: "default",
      priority: 128,
      points: 1,
      skills: [],
      instructions: [],
      labels: { team: "a" },
      project: "acme/web",
      maxAttempts: 3,
      backoffFactor: 2,
      isExclusive: false,
      opensPullRequest: true,
    });
    expect(text(job.spec.payload)).toBe('{"a":"☃"}');
    expect(job.createdAt).toBeInstanceOf(Date);
    expect((await read(orgId, jobId, false)).spec.payload).toBeNull();
  });

  test("shows when it wakes and why it is parked", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId, {
      state: JobState.parked,
      wakeInMs: 60_000,
      reason: "quota",
    });
    const job = await read(orgId, jobId);
    expect(job).toMatchObject({ state: JobState.parked, reason: "quota" });
    expect(Math.abs((job.wakeAt?.getTime() ?? 0) - db.nowMs() - 60_000)).toBeLessThan(5_000);
  });

  test("does not show as waking when it is ready and merely looked at again", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId, { state: JobState.ready, wakeInMs: 60_000 });
    expect((await read(orgId, jobId)).wakeAt).toBeNull();
  });

  test("shows the failure of its last attempt, and its worker", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId } = await insertJob(db, orgId, {
      state: JobState.scheduled,
      attempt: 2,
      failures: 2,
      wakeInMs: 5_000,
    });
    for (const attempt of [1, 2]) {
      const error = { code: "EXIT", message: `attempt ${attempt}` };
      await insertAttempt(db, orgId, jobId, { attempt, outcome: Outcome.failed, workerId, error });
    }
    expect(await read(orgId, jobId)).toMatchObject({
      state: JobState.scheduled,
      attempt: 2,
      failures: 2,
      error: { code: "EXIT", message: "attempt 2", detail: "" },
      workerId,
      workerName: "box",
      startedAt: null,
      endedAt: null,
    });
  });
});

describe("a job that runs", () => {
  test("shows its lease, its worker and its progress", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId, leaseId } = await insertJob(db, orgId, {
      state: JobState.running,
      worker: { workerId },
      attempt: 4,
      isCancelRequested: true,
    });
    await db.admin`insert into muster.progress (org_id, job_id, attempt, fraction, message, updated_at)
      values (${orgId}, ${jobId}, 4, 0.5, 'half', now())`;
    const job = await read(orgId, jobId);
    expect(job).toMatchObject({
      state: JobState.running,
      attempt: 4,
      workerId,
      workerName: "box",
      leaseId,
      isCancelRequested: true,
      progress: { fraction: 0.5, message: "half" },
      endedAt: null,
    });
    expect(job.startedAt).toBeInstanceOf(Date);
  });

  test("does not show the progress of an earlier attempt", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId } = await insertJob(db, orgId, {
      state: JobState.running,
      worker: { workerId },
      attempt: 2,
    });
    await db.admin`insert into muster.progress (org_id, job_id, attempt, message, updated_at)
      values (${orgId}, ${jobId}, 1, 'old', now())`;
    expect((await read(orgId, jobId)).progress).toBeNull();
  });
});

describe("a job that has ended", () => {
  test("shows its result in the full view alone", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId } = await insertJob(db, orgId);
    await insertAttempt(db, orgId, jobId, {
      outcome: Outcome.succeeded,
      state: JobState.succeeded,
      workerId,
      result: '{"ok":true}',
      prUrl: "https://example.test/1",
      reason: "succeeded after a cancel request",
    });
    const job = await read(orgId, jobId);
    expect(job).toMatchObject({
      state: JobState.succeeded,
      attempt: 1,
      workerName: "box",
      leaseId: null,
      prUrl: "https://example.test/1",
      reason: "succeeded after a cancel request",
      error: null,
    });
    expect(text(job.result)).toBe('{"ok":true}');
    expect(job.endedAt).toBeInstanceOf(Date);
    expect((await read(orgId, jobId, false)).result).toBeNull();
  });

  test("shows the end of its latest run", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId);
    await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, state: JobState.dead, failures: 3 });
    await insertAttempt(db, orgId, jobId, {
      attempt: 2,
      generation: 2,
      outcome: Outcome.cancelled,
      state: JobState.cancelled,
      reason: "enough",
    });
    expect(await read(orgId, jobId)).toMatchObject({
      state: JobState.cancelled,
      generation: 2,
      attempt: 2,
      failures: 0,
      reason: "enough",
    });
  });

  test("is live again after a replay: the live row wins, and the past run is past", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId } = await insertJob(db, orgId, { attempt: 3, generation: 2 });
    await db.admin`insert into muster.attempts (org_id, job_id, attempt, generation, worker_id, outcome, state, failures,
      losses, releases, final, ordinal, error_message)
      values (${orgId}, ${jobId}, 3, 1, ${workerId}, 2, 9, 3, 0, 0, true, 0, 'old')`;
    expect(await read(orgId, jobId)).toMatchObject({
      state: JobState.ready,
      generation: 2,
      attempt: 3,
      failures: 0,
      error: null,
      workerId: null,
      workerName: null,
      endedAt: null,
    });
  });
});

describe("reading a job", () => {
  test("finds it by its external id, in its org alone", async () => {
    const [orgId, other] = [await db.orgId(), await db.orgId()];
    const { jobId } = await insertJob(db, orgId);
    await db.admin`insert into muster.job_keys (org_id, type, key, target_id, fingerprint)
      values (${orgId}, 'external', 'order-7', ${jobId}, '')`;
    const byExternalId = (org: string, externalId: string) =>
      getJob(c, testCaller(org), { jobId: null, externalId, isFull: true });
    expect((await byExternalId(orgId, "order-7")).jobId).toBe(jobId);
    for (const [org, externalId] of [
      [other, "order-7"],
      [orgId, "order-8"],
      [orgId, "a\0b"],
      [orgId, ""],
    ] as const) {
      await expect(byExternalId(org, externalId)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    }
  });

  test("answers alike for a job of another org and for none", async () => {
    const { jobId } = await insertJob(db, await db.orgId());
    const orgId = await db.orgId();
    for (const id of [jobId, db.newId()]) {
      const answer = await read(orgId, id).catch((error: unknown) => error);
      expect(answer).toMatchObject({ reason: "JOB_NOT_FOUND", details: { id: encodeId("job", id) } });
    }
  });

  test("asks for its id or its external id, and not for both", async () => {
    const caller = testCaller(await db.orgId());
    for (const [jobId, externalId] of [
      [null, null],
      [db.newId(), "x"],
    ] as const) {
      const answer = getJob(c, caller, { jobId, externalId, isFull: true });
      await expect(answer).rejects.toMatchObject({ violations: [{ field: "jobId" }] });
    }
  });

  test("does not find a job whose history is being removed", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId, { state: JobState.succeeded });
    await expect(read(orgId, jobId)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    expect((await listed(orgId, {})).items).toEqual([]);
  });
});
