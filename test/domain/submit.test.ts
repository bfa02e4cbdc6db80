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

test("jobs of a batch that are almost like the one before keep what is their own", async () => {
  const c = testCoordinator(db);
  const orgId = await db.orgId();
  const jobs = [
    jobRequest({ title: "first" }),
    jobRequest({ title: "like it" }),
    jobRequest({ points: 2 }),
    jobRequest({ skills: ["gpu"] }),
    jobRequest({ skills: ["gpu"] }),
    jobRequest({ maxAttempts: 9 }),
    jobRequest(),
  ];
  const { jobIds } = await submitBatch(c, testCaller(orgId), {
    ...{ jobs, title: "", idempotencyKey: null, parent: null },
  });
  const rows = await db.admin`
    select title, points, skills, max_attempts as tries from muster.jobs where org_id = ${orgId} and job_id = any(${jobIds})
    order by job_id`;
  const plain = { title: expect.any(String), points: 1, skills: null, tries: 3 };
  expect(rows).toEqual([
    { ...plain, title: "first" },
    { ...plain, title: "like it" },
    { ...plain, points: 2 },
    { ...plain, skills: ["gpu"] },
    { ...plain, skills: ["gpu"] },
    { ...plain, tries: 9 },
    plain,
  ]);
});
