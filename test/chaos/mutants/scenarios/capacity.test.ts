import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../../../support/database.ts";
import { RecordedRun, wrongIn } from "./recorded-run.ts";

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

test("a result that comes twice frees one slot, whatever its worker says is free", async () => {
  const run = await RecordedRun.begin({ c: testCoordinator(db), admin: db.admin }, await db.orgId());
  const worker = await run.attach("worker", 1);
  for (let n = 0; n < 3; n++) await run.submit();
  const first = await run.startNext(worker);
  await run.finish(first);
  // It is committed, and answered as a duplicate the second time: each answer drops the lease.
  worker.link.drop(first.fence.leaseId);
  worker.link.drop(first.fence.leaseId);
  worker.link.setDemand({ slots: 4, points: 16, offerSequence: worker.link.offerSequence });
  const second = await run.next(worker);
  await run.dispatcher.refresh(run.orgId);
  await run.dispatcher.stop();
  const held = worker.offered.slice(1);
  for (const grant of held) {
    run.start(grant);
    await run.finish(grant);
  }
  const waiting = await db.admin`select job_id from muster.job_queue where org_id = ${run.orgId}`;
  for (const row of waiting) await run.cancel(String(row["job_id"]));
  expect(wrongIn(await run.verdict())).toEqual({});
  expect(held).toEqual([second]);
});
