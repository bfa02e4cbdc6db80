import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Dispatcher } from "../../server/dispatch/dispatcher.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { pauseQueue } from "../../server/domain/queues.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { createSubmitBatcher, type SubmitOptions } from "../../server/domain/submit.ts";
import { sql } from "../../server/store/drizzle.ts";
import { call, statement } from "../../server/store/statement.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

const ready = 3;
const offered = 4;

let db: TestDatabase;
let c: TestCoordinator;
let dispatcher: Dispatcher;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
  dispatcher = testDispatcher(c);
});
afterAll(async () => {
  await dispatcher.stop();
  await db.close();
});

/** An org whose idle worker is known to dispatch, and what submits for it. */
async function org(slots: number, ride: SubmitOptions["ride"] = (...news) => dispatcher.ride(...news)) {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const told: number[] = [];
  const submits = createSubmitBatcher({
    hot: db.database.hot,
    newId: db.newId,
    ride,
    submitted: (of, news) => {
      told.push(...news.map(({ count }) => count));
      dispatcher.announce(of, news);
    },
    released: () => {},
  });
  const declared = { ...hello().declared, slots, points: slots };
  const worker = await attachWorker(c, orgId, { name: "w", hello: hello({ declared }), dispatcher });
  // The look of the attach, and what it brings.
  await dispatcher.refresh(orgId);
  return {
    ...{ orgId, caller, worker, told },
    submit: async (overrides: Partial<JobRequest> = {}) => {
      const job = { job: jobRequest(overrides), idempotencyKey: null, parent: null };
      return (await submitJob({ ...c, submits }, caller, job)).jobId;
    },
    rows: () => db.admin<{ job: string; state: number; together: boolean }[]>`
      select q.job_id as job, q.state, q.xmin::text = j.xmin::text as together from muster.job_queue q
      join muster.jobs j on j.org_id = q.org_id and j.job_id = q.job_id where q.org_id = ${orgId} order by q.job_id`,
  };
}

describe("a job for which a worker is free", () => {
  test("is inserted and leased in one transaction, and offered", async () => {
    const { submit, worker, rows, told, orgId } = await org(4);
    const jobId = await submit();
    expect(await rows()).toEqual([{ job: jobId, state: offered, together: true }]);
    expect(worker.offered.map(({ fence }) => fence.jobId)).toEqual([jobId]);
    expect(told).toEqual([]);
    const changes = await db.admin`
      select n, states, job_ids as jobs from muster.changes where org_id = ${orgId} order by xid, n`;
    expect(changes).toEqual([
      { n: 1, states: [ready], jobs: [jobId] },
      { n: 2, states: [offered], jobs: [jobId] },
    ]);
  });

  test("does not overtake one that waits, though nobody told of it", async () => {
    const { submit, worker, orgId, caller } = await org(1);
    const unheard = createSubmitBatcher({
      hot: db.database.hot,
      newId: db.newId,
      submitted: () => {},
      released: () => {},
    });
    const job = { job: jobRequest(), idempotencyKey: null, parent: null };
    const { jobId: first } = await submitJob({ ...c, submits: unheard }, caller, job);
    const second = await submit();
    expect(worker.offered.map(({ fence }) => fence.jobId)).toEqual([first]);
    const [waiting] = await db.admin`
      select state from muster.job_queue where org_id = ${orgId} and job_id = ${second}`;
    expect(waiting).toEqual({ state: ready });
  });

  test("is offered in its turn when one was before it", async () => {
    const { submit, worker, caller } = await org(2);
    const unheard = createSubmitBatcher({
      hot: db.database.hot,
      newId: db.newId,
      submitted: () => {},
      released: () => {},
    });
    const job = { job: jobRequest(), idempotencyKey: null, parent: null };
    const { jobId: first } = await submitJob({ ...c, submits: unheard }, caller, job);
    const second = await submit();
    await vi.waitFor(() => expect(worker.offered.map(({ fence }) => fence.jobId)).toEqual([first, second]));
  });
});

test("a job waits where its queue is paused", async () => {
  const { submit, worker, rows, orgId, caller } = await org(4);
  await pauseQueue({ ...c, withdrawOffers: async () => 0 }, caller, {
    ...{ type: "queue", name: "default", until: null, reason: "" },
  });
  // What is known of its gates is old: the claim refuses, the submission does not.
  const jobId = await submit();
  expect(await rows()).toMatchObject([{ job: jobId, state: ready }]);
  await dispatcher.refresh(orgId);
  expect(worker.offered).toEqual([]);
});

test("a job waits where no slot is free", async () => {
  const { submit, rows, told } = await org(1);
  const first = await submit();
  const second = await submit();
  expect(await rows()).toMatchObject([
    { job: first, state: offered },
    { job: second, state: ready, together: true },
  ]);
  expect(told).toEqual([1]);
});

test("a job that is not due is leased by nobody", async () => {
  const { submit, rows } = await org(1);
  await submit({ runAt: new Date(db.nowMs() + 3_600_000) });
  expect(await rows()).toMatchObject([{ state: 2 }]);
});

test("a claim that fails is nothing to who submits", async () => {
  const failures: unknown[] = [];
  const { submit, rows, told } = await org(1, () => ({
    calls: [call(statement(sql`select 1 / 0`), {})],
    committed: () => {
      throw new Error("nothing was committed");
    },
    failed: (error) => failures.push(error),
  }));
  const jobId = await submit();
  expect(failures).toHaveLength(1);
  expect(told).toEqual([1]);
  expect(await rows()).toMatchObject([{ job: jobId }]);
});
