import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, endLeases } from "../../server/domain/leases.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { inOrg, orgTxOf } from "../../server/store/database.ts";
import {
  countGates,
  dropGate,
  type GateChange,
  putGate,
  readGates,
  recountGates,
} from "../../server/store/gates.ts";
import { transact } from "../../server/store/statement.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, type TestWorker, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const put = (orgId: string, key: string, change: GateChange) =>
  transact(db.database.hot, orgId, (tx) => putGate(tx, key, change));
const read = async (orgId: string, key: string) =>
  (await transact(db.database.hot, orgId, (tx) => readGates(tx, [key]))).get(key);
const version = async (orgId: string) => {
  const [row] = await db.admin`select gates_version::int as version from muster.orgs where org_id = ${orgId}`;
  return row?.["version"];
};

/** An org with a worker that was offered so many jobs. */
async function offered(count: number, overrides: Parameters<typeof jobRequest>[0] = {}) {
  const orgId = await db.orgId();
  const dispatcher = testDispatcher(c);
  const said = hello();
  const declared = { ...said.declared, slots: count, points: count };
  const worker = await attachWorker(c, orgId, { name: "one", hello: { ...said, declared }, dispatcher });
  for (let n = 0; n < count; n++) {
    const request = { job: jobRequest(overrides), idempotencyKey: null, parent: null };
    await submitJob(c, testCaller(orgId), request);
  }
  await dispatcher.refresh(orgId);
  await worker.offers(count);
  return { orgId, dispatcher, worker };
}

describe("a gate", () => {
  test("comes with what is leased already, and with a new version", async () => {
    const { orgId } = await offered(3, { pool: "acme" });
    expect(await version(orgId)).toBe(0);
    for (const key of ["queue:default", "kind:test.echo", "pool:acme"]) {
      const { before, after } = await put(orgId, key, { maxUsed: 5 });
      expect(before).toBeNull();
      expect(after).toMatchObject({ key, used: 3, maxUsed: 5, rate: null, pause: null, isPaused: false });
    }
    expect((await put(orgId, "queue:other", { maxUsed: 5 })).after?.used).toBe(0);
    expect(await version(orgId)).toBe(4);
  });

  test("changes part by part, without a new version, and goes when nothing is left of it", async () => {
    const orgId = await db.orgId();
    const key = "queue:q";
    await put(orgId, key, { maxUsed: 2 });
    await put(orgId, key, { rate: { jobs: 10, periodMs: 60_000 } });
    await put(orgId, key, { pause: { reason: "why", resumeAt: null } });
    expect(await read(orgId, key)).toMatchObject({
      ...{ maxUsed: 2, rate: { jobs: 10, periodMs: 60_000 }, tokens: 10, isPaused: true },
      pause: { reason: "why", resumeAt: null },
    });
    expect(await version(orgId)).toBe(1);
    await put(orgId, key, { maxUsed: null, rate: null });
    expect(await read(orgId, key)).toMatchObject({ maxUsed: null, rate: null, isPaused: true });
    expect(await version(orgId)).toBe(1);
    expect((await put(orgId, key, { pause: null })).after).toBeNull();
    expect(await read(orgId, key)).toBeUndefined();
    expect(await version(orgId)).toBe(2);
    expect(await put(orgId, key, { pause: null })).toEqual({ before: null, after: null });
    expect(await version(orgId)).toBe(2);
  });

  test("keeps since when it is paused, until the pause is over", async () => {
    const orgId = await db.orgId();
    const key = "pool:p";
    const resumeAt = new Date(db.nowMs() + 60_000);
    const first = await put(orgId, key, { pause: { reason: "one", resumeAt } });
    await db.advanceClock(30_000);
    const second = await put(orgId, key, { pause: { reason: "two", resumeAt } });
    expect(second.after?.pause).toMatchObject({ reason: "two", at: first.after?.pause?.at });
    await db.advanceClock(31_000);
    expect(await read(orgId, key)).toMatchObject({ isPaused: false });
    const third = await put(orgId, key, { pause: { reason: "three", resumeAt: null } });
    expect(third.after?.pause?.at.getTime()).toBeGreaterThan(first.after?.pause?.at.getTime() ?? 0);
  });

  test("gives away no tokens when its rate changes", async () => {
    const orgId = await db.orgId();
    const key = "queue:q";
    await put(orgId, key, { rate: { jobs: 10, periodMs: 10_000 } });
    await db.admin`update muster.gates set tokens = 2 where org_id = ${orgId}`;
    const { after } = await put(orgId, key, { rate: { jobs: 100, periodMs: 10_000 } });
    expect(after?.tokens).toBeLessThan(10);
    await db.advanceClock(60_000);
    expect((await read(orgId, key))?.tokens).toBe(100);
  });

  test("of a project counts its open pull requests too, also in a request's own transaction", async () => {
    const { orgId } = await offered(2);
    await db.admin`insert into muster.pull_requests (org_id, url, project, job_id, is_open, is_counted)
      select ${orgId}, 'https://x/' || n, 'web', ${db.newId()}, n <> 1, n <> 2 from generate_series(1, 5) n`;
    await db.admin`update muster.shapes set project = 'web' where org_id = ${orgId}`;
    const change = await inOrg(db.database.app, orgId, (tx) =>
      putGate(orgTxOf(tx, orgId), "project:web", { maxUsed: 9 }),
    );
    expect(change.after?.used).toBe(5);
    const dropped = await inOrg(db.database.app, orgId, (tx) => dropGate(orgTxOf(tx, orgId), "project:web"));
    expect(dropped?.used).toBe(5);
    expect(await version(orgId)).toBe(2);
  });

  test("is another's nowhere", async () => {
    const [one, other] = [await db.orgId(), await db.orgId()];
    await put(one, "queue:q", { maxUsed: 1 });
    expect(await read(other, "queue:q")).toBeUndefined();
    expect(await transact(db.database.hot, other, (tx) => dropGate(tx, "queue:q"))).toBeNull();
    expect(await version(other)).toBe(0);
    expect(await read(one, "queue:q")).toBeDefined();
  });
});

test("what is counted wrong is corrected, and told", async () => {
  const { orgId } = await offered(2);
  await put(orgId, "queue:default", { maxUsed: 9 });
  await put(orgId, "queue:other", { maxUsed: 9 });
  await db.admin`update muster.gates set used = 7 where org_id = ${orgId} and key = 'queue:default'`;
  const keys = ["queue:default", "queue:other", "queue:none"];
  const wrong = await transact(db.database.sweepClient, orgId, (tx) => recountGates(tx, keys));
  expect(wrong).toEqual([{ key: "queue:default", before: 7, after: 2 }]);
  expect((await read(orgId, "queue:default"))?.used).toBe(2);
  expect(await transact(db.database.sweepClient, orgId, (tx) => recountGates(tx, keys))).toEqual([]);
});

// A monitor reads `used` and the leases in one snapshot, as often as it can, while four coordinators claim.
test("a limit holds from its commit, with claims and exits under way", async () => {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const results = createResultBatcher(c);
  const dispatchers = Array.from({ length: 4 }, () => testDispatcher(c));
  const workers: TestWorker[] = [];
  for (const [n, dispatcher] of dispatchers.entries()) {
    const said = hello();
    const declared = { ...said.declared, slots: 10, points: 10 };
    workers.push(await attachWorker(c, orgId, { name: `w${n}`, hello: { ...said, declared }, dispatcher }));
  }
  const jobs = 600;
  await Promise.all(
    Array.from({ length: jobs }, () =>
      submitJob(c, caller, { job: jobRequest(), idempotencyKey: null, parent: null }),
    ),
  );
  const limit = 8;
  const seen: { readonly used: number | null; readonly leased: number }[] = [];
  const done = { isDone: false, ended: 0 };

  async function work(worker: TestWorker, dispatcher: (typeof dispatchers)[number], at: number) {
    for (let next = 0; !done.isDone; ) {
      const grant = worker.offered[next];
      if (!grant) {
        await dispatcher.refresh(orgId);
        await new Promise(setImmediate);
        continue;
      }
      next++;
      const { fence } = grant;
      // Exits of all sorts: one in five goes back into the line.
      if ((next + at) % 5 === 0) {
        await endLeases(c, orgId, [{ fence, event: { type: "withdrawn" }, reason: "" }]);
      } else {
        const answer = await results.add(orgId, {
          ...{
            fence,
            event: { type: "succeeded" },
            result: "1",
            error: null,
            prUrl: null,
            resultId: randomUUID(),
          },
          ...{ lastSequence: 0, reason: null, hasProgress: false },
        });
        if (answer.status === "committed" && answer.state === JobState.succeeded) done.ended++;
      }
      worker.link.drop(fence.leaseId);
      if (done.ended === jobs) done.isDone = true;
    }
  }
  async function watch() {
    while (!done.isDone) {
      const [row] = await db.admin`select (select used from muster.gates where org_id = ${orgId}) as used,
        (select count(*)::int from muster.job_queue where org_id = ${orgId} and worker_id is not null) as leased`;
      if (row) seen.push({ used: row["used"], leased: row["leased"] });
    }
  }
  async function recount() {
    while (!done.isDone) {
      await transact(db.database.sweepClient, orgId, (tx) => recountGates(tx, ["queue:default"]));
    }
  }
  const working = workers.map((worker, at) => {
    const dispatcher = dispatchers[at];
    if (!dispatcher) throw new Error("a dispatcher a worker");
    return work(worker, dispatcher, at);
  });
  const watching = watch();
  await expect.poll(() => done.ended, { timeout: 10_000 }).toBeGreaterThan(60);
  const { after } = await put(orgId, "queue:default", { maxUsed: limit });
  expect(after?.used).toBeGreaterThan(0);
  // Exits that did not know the gate leave it too high; the sweep puts that right.
  const recounting = recount();
  await expect.poll(() => done.ended, { timeout: 10_000 }).toBeGreaterThan(250);
  // It goes and comes: what began without it does not know it.
  await put(orgId, "queue:default", { maxUsed: null });
  await put(orgId, "queue:default", { maxUsed: limit });
  await Promise.all([...working, watching, recounting]);
  await transact(db.database.sweepClient, orgId, (tx) => recountGates(tx, ["queue:default"]));

  let before: number | null = null;
  let limited = 0;
  for (const { used, leased } of seen) {
    if (used === null) {
      before = null;
      continue;
    }
    limited++;
    expect(used).toBeGreaterThanOrEqual(leased);
    // Once it is under the limit it stays there; above it nothing is added.
    if (before !== null) expect(leased).toBeLessThanOrEqual(Math.max(limit, before));
    before = leased;
  }
  expect(limited).toBeGreaterThan(20);
  expect(seen.some(({ used, leased }) => used === null && leased > limit)).toBe(true);
  const counts = await transact(db.database.hot, orgId, (tx) => countGates(tx, ["queue:default"]));
  expect([(await read(orgId, "queue:default"))?.used, counts.size]).toEqual([0, 0]);
  await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop()));
}, 60_000);
