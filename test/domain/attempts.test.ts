import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listAttempts } from "../../server/domain/attempts.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";

const firstPage = { pageSize: 0, pageToken: "" };

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

describe("listing attempts", () => {
  test("shows the history, then the present one", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId, leaseId } = await insertJob(db, orgId, {
      state: JobState.running,
      worker: { workerId },
      attempt: 3,
    });
    const error = { code: "EXIT", message: "exit 1" };
    await insertAttempt(db, orgId, jobId, { attempt: 1, outcome: Outcome.failed, workerId, error });
    await insertAttempt(db, orgId, jobId, { attempt: 2, outcome: Outcome.lost, workerId });
    const { items, nextPageToken } = await listAttempts(c, testCaller(orgId), { jobId, ...firstPage });
    expect(nextPageToken).toBe("");
    expect(items).toMatchObject([
      {
        attempt: 1,
        outcome: Outcome.failed,
        workerName: "box",
        error: { ...error, detail: "" },
        isFinal: false,
      },
      { attempt: 2, outcome: Outcome.lost, error: null },
      {
        attempt: 3,
        outcome: null,
        endedAt: null,
        leaseId,
        workerId,
        workerName: "box",
        error: null,
        isFinal: false,
      },
    ]);
    expect(items.every((attempt) => attempt.startedAt instanceof Date && attempt.jobId === jobId)).toBe(true);
  });

  test("shows no present one of a job that waits", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId, { state: JobState.scheduled, attempt: 1 });
    await insertAttempt(db, orgId, jobId, { attempt: 1, outcome: Outcome.failed });
    const { items } = await listAttempts(c, testCaller(orgId), { jobId, ...firstPage });
    expect(items).toMatchObject([
      { attempt: 1, leaseId: null, workerId: null, workerName: null, startedAt: null },
    ]);
  });

  test("shows the result of the one that ended the run", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId);
    const prUrl = "https://example.test/1";
    await insertAttempt(db, orgId, jobId, {
      outcome: Outcome.succeeded,
      state: JobState.succeeded,
      result: "7",
      prUrl,
    });
    const { items } = await listAttempts(c, testCaller(orgId), { jobId, ...firstPage });
    expect(items).toMatchObject([{ outcome: Outcome.succeeded, isFinal: true, prUrl }]);
    expect(Buffer.from(items[0]?.result ?? []).toString()).toBe("7");
  });

  test.each([1, 2, 3, 4])("comes in pages of %i, the present one in the last", async (pageSize) => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box" });
    const { jobId } = await insertJob(db, orgId, {
      state: JobState.offered,
      worker: { workerId },
      attempt: 4,
    });
    for (const attempt of [1, 2, 3])
      await insertAttempt(db, orgId, jobId, { attempt, outcome: Outcome.released });
    const numbers: number[] = [];
    let pageToken = "";
    do {
      const page = await listAttempts(c, testCaller(orgId), { jobId, pageSize, pageToken });
      expect(page.items.length).toBeLessThanOrEqual(pageSize);
      numbers.push(...page.items.map((attempt) => attempt.attempt));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(numbers).toEqual([1, 2, 3, 4]);
  });

  test("of a job without any is empty; of another org's job, or none, is not found", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId);
    const caller = testCaller(orgId);
    expect(await listAttempts(c, caller, { jobId, ...firstPage })).toEqual({ items: [], nextPageToken: "" });
    for (const [org, id] of [
      [await db.orgId(), jobId],
      [orgId, db.newId()],
    ] as const) {
      const answer = listAttempts(c, testCaller(org), { jobId: id, ...firstPage });
      await expect(answer).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    }
  });
});
