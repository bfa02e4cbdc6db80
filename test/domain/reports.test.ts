import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readFeedEvents } from "../../server/domain/event-feed.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher } from "../../server/domain/leases.ts";
import { createReportBatcher } from "../../server/domain/reports.ts";
import { anyEvent } from "../../server/domain/rules/event-filter.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { feedSettled } from "../support/feed.ts";
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

/** What a lease says; a job that a worker runs. */
async function running() {
  const orgId = await db.orgId();
  const dispatcher = testDispatcher(c);
  const worker = await attachWorker(c, orgId, { name: "teller", dispatcher });
  await submitJob(c, testCaller(orgId), { job: jobRequest({}), idempotencyKey: null, parent: null });
  await dispatcher.refresh(orgId);
  const [grant] = await worker.offers(1);
  if (!grant) throw new Error("offered");
  const told = async () =>
    (
      await db.admin`select type, data, attempt from muster.events where org_id = ${orgId} and type like 'handler.%' order by xid, event_id`
    ).map(({ type, data, attempt }) => ({ type: String(type), data, attempt: Number(attempt) }));
  return { orgId, fence: grant.fence, told };
}

const own = (sequence: number, body: unknown = sequence) => ({
  ...{ sequence, timeMs: 1_000, type: "event" as const, name: "said" },
  json: JSON.stringify(body),
});

test("an event of a handler is told once, however often it is said, in the order of the attempt", async () => {
  const { orgId, fence, told } = await running();
  // Two coordinators: a worker that comes to another says again what was not acknowledged.
  const [one, other] = [createReportBatcher(c), createReportBatcher(c)];
  const say = (batcher: typeof one, ...events: ReturnType<typeof own>[]) =>
    batcher.add(orgId, { fence, events, progress: null });
  const both = [say(one, own(1), own(2)), say(other, own(1), own(2), own(3))];
  expect(await Promise.all(both)).toEqual([{ status: "kept" }, { status: "kept" }]);
  await say(other, own(2), own(3), own(300));
  expect((await told()).map(({ data }) => data)).toEqual([1, 2, 3, 300].map((body) => ({ body })));
  expect((await told())[0]).toMatchObject({ type: "handler.said", attempt: fence.attempt });
});

test("a handler whose lease another has tells nobody anything, and nor does one of another worker", async () => {
  const { orgId, fence, told } = await running();
  const reports = createReportBatcher(c);
  for (const wrong of [{ leaseId: db.newId() }, { workerId: db.newId() }, { attempt: fence.attempt + 1 }]) {
    const stale = { fence: { ...fence, ...wrong }, events: [own(1)], progress: null };
    expect((await reports.add(orgId, stale)).status).toBe("superseded");
  }
  expect(await told()).toEqual([]);
  await reports.add(orgId, { fence, events: [own(1)], progress: null });
  expect(await told()).toHaveLength(1);
});

test("beyond 100 events at once and 10 a second others hear how many there were; the record has all", async () => {
  const { orgId, fence, told } = await running();
  let nowMs = 0;
  const reports = createReportBatcher(c, () => nowMs);
  const say = (from: number, count: number) => {
    const events = Array.from({ length: count }, (_, index) => own(from + index));
    return reports.add(orgId, { fence, events, progress: null });
  };
  await say(1, 150);
  expect(await told()).toHaveLength(100);
  nowMs += 99;
  await say(151, 1);
  expect(await told()).toHaveLength(100);
  nowMs += 1;
  await say(152, 2);
  expect((await told()).slice(100).map(({ data }) => data)).toEqual([{ body: 152, dropped: 51 }]);
  nowMs += 60_000;
  await say(154, 101);
  const all = await told();
  expect(all).toHaveLength(201);
  expect(all.at(-1)?.data).toEqual({ body: 253 });
  expect(all[101]?.data).toEqual({ body: 154, dropped: 1 });
  const [record] = await db.admin`
    select sum(last_sequence - first_sequence + 1)::int as kept from muster.log_chunks where org_id = ${orgId}`;
  expect(record?.["kept"]).toBe(254);
});

test("large events are read in pieces that fit, each once", async () => {
  const { orgId, fence } = await running();
  const reports = createReportBatcher(c);
  const body = "x".repeat(64_000);
  for (let first = 1; first <= 90; first += 15) {
    const events = Array.from({ length: 15 }, (_, index) => own(first + index, body + (first + index)));
    await reports.add(orgId, { fence, events, progress: null });
  }
  await feedSettled(db);
  const seen: unknown[] = [];
  let revision = "1.1.0.0";
  let pages = 0;
  for (let isWhole = false; !isWhole; pages++) {
    const filter = { ...anyEvent, types: ["handler.*"] };
    const page = await readFeedEvents(c, orgId, { revision, since: null }, filter, 500);
    expect(page.events.length).toBeLessThanOrEqual(33);
    seen.push(...page.events.map(({ data }) => String(data["body"]).slice(body.length)));
    ({ revision, isWhole } = page);
  }
  expect(seen).toEqual(Array.from({ length: 90 }, (_, index) => String(index + 1)));
  expect(pages).toBeGreaterThan(2);
});
