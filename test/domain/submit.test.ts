import { afterAll, beforeAll, expect, test } from "vitest";
import { submitBatch } from "../../server/domain/jobs.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { jobRequest } from "../support/fleet.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

test("a batch that is asked for again while its first request still waits has one answer, with all its jobs", async () => {
  const c = testCoordinator(db);
  const caller = testCaller(await db.orgId());
  const request = {
    jobs: [jobRequest(), jobRequest()],
    title: "twice",
    idempotencyKey: "the key",
    parent: null,
  };
  const [first, again] = await Promise.all([
    submitBatch(c, caller, request),
    submitBatch(c, caller, request),
  ]);
  expect(first.jobIds).toHaveLength(2);
  expect(again).toEqual({ ...first, isReplayed: true });
});
