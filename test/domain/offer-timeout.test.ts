import { afterAll, beforeAll, expect, test } from "vitest";
import { getJob } from "../../server/domain/job-views.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { createAcceptBatcher, endLeases } from "../../server/domain/leases.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { attachWorker, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

// T7: the guard is OFFERED. Whoever judges by an old view must lose against an accept that is committed.
test("an offer that was accepted does not time out any more", async () => {
  const c = testCoordinator(db);
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const dispatcher = testDispatcher(c);
  const worker = await attachWorker(c, orgId, { name: "one", dispatcher });
  const { jobId } = await submitJob(c, caller, { job: jobRequest(), idempotencyKey: null, parent: null });
  await dispatcher.refresh(orgId);
  const [grant] = await worker.offers(1);
  if (!grant) throw new Error("nothing was offered");
  await createAcceptBatcher(c).add(orgId, { ...grant.fence, isDone: () => false });
  const ended = await endLeases(c, orgId, [
    { fence: grant.fence, event: { type: "offer-timed-out" }, reason: "the worker did not answer the offer" },
  ]);
  const job = await getJob(c, caller, { jobId, externalId: null, isFull: true });
  expect({ state: job.state, ended: ended.size }).toEqual({ state: JobState.running, ended: 0 });
});
