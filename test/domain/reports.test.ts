import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher } from "../../server/domain/leases.ts";
import { createReportBatcher } from "../../server/domain/reports.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

/** Resolves when so many statements of the coordinator wait for a row of the queue. */
const waiting = (count: number) =>
  expect
    .poll(
      async () =>
        (
          await db.admin`select count(*)::int as count from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'`
        )[0]?.["count"],
    )
    .toBe(count);

test("what a handler said is kept although its result ends the attempt under the same flush", async () => {
  const orgId = await db.orgId();
  const dispatcher = testDispatcher(c);
  const worker = await attachWorker(c, orgId, { name: "quick", dispatcher });
  await submitJob(c, testCaller(orgId), { job: jobRequest({}), idempotencyKey: null, parent: null });
  await dispatcher.refresh(orgId);
  const [grant] = await worker.offers(1);
  if (!grant) throw new Error("offered");
  const { fence } = grant;
  const [results, reports] = [createResultBatcher(c), createReportBatcher(c)];
  let both: Promise<unknown[]> | undefined;
  await db.admin.begin(async (tx) => {
    await tx`select 1 from muster.job_queue where job_id = ${fence.jobId} for update`;
    const ended = results.add(orgId, {
      fence,
      resultId: randomUUID(),
      event: { type: "succeeded" },
      result: "1",
      error: null,
      prUrl: null,
      lastSequence: 1,
      reason: null,
      hasProgress: false,
    });
    await waiting(1);
    const events = [
      {
        sequence: 1,
        timeMs: 1_000,
        type: "log" as const,
        stream: 1 as const,
        level: "info",
        text: "last words",
      },
    ];
    const kept = reports.add(orgId, { fence, events, progress: { fraction: 1, message: "done" } });
    await waiting(2);
    both = Promise.all([ended, kept]);
  });
  expect(await both).toMatchObject([{ status: "committed" }, { status: "kept" }]);
  const rows = await db.admin`
    select last_sequence::int as last from muster.log_chunks where org_id = ${orgId}`;
  expect(rows).toEqual([{ last: 1 }]);
});
