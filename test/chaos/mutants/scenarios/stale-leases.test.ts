import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../../../server/dispatch/link.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../../../support/database.ts";
import type { TestWorker } from "../../../support/fleet.ts";
import { failing, RecordedRun, type Stage, wrongIn } from "./recorded-run.ts";

let db: TestDatabase;
let stage: Stage;

beforeAll(async () => {
  db = await createTestDatabase();
  stage = { c: testCoordinator(db), admin: db.admin };
});
afterAll(() => db.close());

// What an asynchronous failover takes: the grant, its place in the feed, and the attempt number.
async function loseCommits(run: RecordedRun, worker: TestWorker, { fence }: Grant): Promise<void> {
  await db.admin`update muster.job_queue set state = 3, attempt = 0, lease_id = null, worker_id = null,
    granted_at = null where job_id = ${fence.jobId}`;
  await db.admin`delete from muster.changes where org_id = ${run.orgId} and states = array[4]::smallint[]`;
  worker.link.drop(fence.leaseId);
}

const begin = async () => RecordedRun.begin(stage, await db.orgId());

describe("a result under a lease that is not current", () => {
  test("does not end the attempt that another worker has", async () => {
    const run = await begin();
    const first = await run.attach("first", 1);
    await run.submit(failing);
    const stale = await run.startNext(first);
    await run.lose(stale);
    const current = await run.startNext(await run.attach("second"));
    const answer = await run.finish(stale, "succeeded");
    await run.finish(current, "failed");
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(answer).toEqual({ status: "superseded", currentAttempt: 2 });
  });

  test("does not end the same attempt of the same worker, granted again after commits were lost", async () => {
    const run = await begin();
    const worker = await run.attach("only");
    await run.submit(failing);
    const lost = await run.next(worker);
    await loseCommits(run, worker, lost);
    const current = await run.startNext(worker);
    expect(current.fence).toMatchObject({ attempt: lost.fence.attempt, workerId: lost.fence.workerId });
    const answer = await run.deliver(lost, "succeeded");
    await run.finish(current, "failed");
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(answer.status).toBe("superseded");
  });
});

describe("a sweep that judged by an old view", () => {
  test("does not take the lease that the job has meanwhile", async () => {
    const run = await begin();
    const first = await run.attach("first", 1);
    await run.submit(failing);
    const stale = await run.startNext(first);
    expect(await run.lose(stale)).toBe(true);
    const current = await run.startNext(await run.attach("second"));
    const isTaken = await run.lose(stale);
    await run.finish(current, "failed");
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(isTaken).toBe(false);
  });

  test("does not take the same attempt of the same worker, granted again after commits were lost", async () => {
    const run = await begin();
    const worker = await run.attach("only");
    await run.submit(failing);
    const lost = await run.next(worker);
    await loseCommits(run, worker, lost);
    const current = await run.startNext(worker);
    const isTaken = await run.lose(lost);
    await run.finish(current, "failed");
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(isTaken).toBe(false);
  });
});
