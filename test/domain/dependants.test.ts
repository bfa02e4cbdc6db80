import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { retryJob } from "../../server/domain/jobs.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { ReleaseSweep } from "../../server/maintain/releases.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCoordinator,
} from "../support/database.ts";
import {
  dependingOrg,
  failure,
  whileLocked as lockedIn,
  never,
  onJob,
  onRef,
  waiting,
} from "../support/depending.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const { blocked, ready, cancelled, dead } = JobState;
const org = () => dependingOrg(db, c);
const whileLocked = <T>(jobId: string, doings: readonly (() => Promise<T>)[]) => lockedIn(db, jobId, doings);

describe("an end that many depend on", () => {
  const crowd = async (count: number, policy: "cancel" | "release" = "cancel") => {
    const own = await org();
    const parent = await own.submit();
    const { jobIds } = await own.batch(
      Array.from({ length: count }, () => ({
        kind: "nobody",
        dependsOn: onJob(parent),
        dependencyPolicy: policy,
      })),
    );
    return { ...own, parent, jobIds };
  };
  const opened = async (orgId: string) => {
    const [row] = await db.admin`select count(*)::int as count from muster.job_queue
      where org_id = ${orgId} and state = ${ready}`;
    return row?.["count"];
  };

  test("is committed alone; a sweep takes it to them, any number of coordinators at once", {
    timeout: 30_000,
  }, async () => {
    const { orgId, parent, end, rows } = await crowd(2_500);
    await end(parent);
    expect(await rows("releases")).toBe(1);
    expect(await opened(orgId)).toBe(0);
    expect(c.woken).toContainEqual(["released", orgId]);
    const peers = [c, testCoordinator(db), testCoordinator(db)];
    await Promise.all(peers.map((peer) => new ReleaseSweep(peer).drain(orgId, never)));
    expect(await opened(orgId)).toBe(2_500);
    expect(await rows("releases")).toBe(0);
    expect(await rows("edges")).toBe(0);
    const tallies =
      await db.admin`select sum(blocked)::int as blocked, sum(ready)::int as ready from muster.tallies
      where org_id = ${orgId}`;
    expect(tallies).toEqual([{ blocked: 0, ready: 2_500 }]);
  });

  test("goes on from where a sweep stopped", { timeout: 30_000 }, async () => {
    const { orgId, parent, end, rows, drain } = await crowd(1_500);
    await end(parent);
    const stopped = new AbortController();
    const wakes = { ...c.wakes, ready: () => stopped.abort() };
    await new ReleaseSweep({ ...c, wakes }).drain(orgId, stopped.signal);
    expect(await opened(orgId)).toBe(1_000);
    expect(await rows("edges")).toBe(500);
    await drain();
    expect(await opened(orgId)).toBe(1_500);
  });

  test("waits alone: of many ends in one flush most are committed with those that depend on them", {
    timeout: 30_000,
  }, async () => {
    const { orgId, batch, resultOf, results, rows } = await org();
    const { jobIds } = await batch(
      Array.from({ length: 40 }, (_, n) => [
        { ref: `${n}` },
        ...Array.from({ length: 49 }, () => ({ kind: "nobody", dependsOn: onRef(`${n}`) })),
      ]).flat(),
    );
    const ends = await Promise.all(jobIds.filter((_, n) => n % 50 === 0).map((jobId) => resultOf(jobId)));
    await Promise.all(ends.map((result) => results.add(orgId, result)));
    expect(await rows("releases")).toBe(20);
    expect(await opened(orgId)).toBe(20 * 49);
    const stopped = new AbortController();
    const wakes = { ...c.wakes, ready: () => stopped.abort() };
    await new ReleaseSweep({ ...c, wakes }).drain(orgId, stopped.signal);
    expect(await opened(orgId)).toBe(40 * 49);
    expect([await rows("releases"), await rows("edges")]).toEqual([0, 0]);
  });

  test("goes on to those that depend on them", { timeout: 30_000 }, async () => {
    const { orgId, parent, jobIds, end, batch, drain, rows } = await crowd(150);
    await batch(Array.from({ length: 150 }, (_, n) => ({ dependsOn: onJob(jobIds[n % 2] ?? "") })));
    await batch(jobIds.map((jobId) => ({ dependsOn: onJob(jobId), dependencyPolicy: "release" as const })));
    await end(parent, failure);
    await drain();
    const states = await db.admin`select state, count(*)::int as count from muster.attempts
      where org_id = ${orgId} and final group by state order by state`;
    expect(states).toEqual([
      { state: cancelled, count: 300 },
      { state: dead, count: 1 },
    ]);
    expect(await opened(orgId)).toBe(150);
    expect(await rows("edges")).toBe(0);
    expect(await rows("releases")).toBe(0);
  });

  test("reaches those of the ended run alone when its job is replayed before", {
    timeout: 30_000,
  }, async () => {
    const { orgId, caller, parent, end, submit, read, drain, worker } = await crowd(1_200);
    await end(parent, failure);
    worker.offered.splice(0);
    await retryJob(c, caller, { jobId: parent, reason: "" });
    const [row] = await db.admin`select count(*)::int as count from muster.job_queue
      where org_id = ${orgId} and state = ${blocked}`;
    expect(row).toEqual({ count: 0 });
    const child = await submit({ dependsOn: onJob(parent) });
    await drain();
    expect(await read(child)).toMatchObject({ state: blocked, waitingOn: 1 });
    await end(parent);
    expect(await read(child)).toMatchObject({ state: ready });
  });

  test("reaches one that is submitted while the sweep takes it to the others", async () => {
    const { submit, end, read, drain, rows } = await org();
    const parent = await submit();
    await end(parent, failure);
    const first = await submit({ dependsOn: onJob(parent) });
    const [, second] = await whileLocked(first, [
      () => drain().then(() => ""),
      () => submit({ dependsOn: onJob(parent) }),
    ]);
    await drain();
    expect(await read(first)).toMatchObject({ state: cancelled });
    expect(await read(second ?? "")).toMatchObject({ state: cancelled });
    expect(await rows("edges")).toBe(0);
  });

  test("a replay and a submit at the same time: the new job waits for the new run", async () => {
    const { submit, end, caller, read, drain } = await org();
    const parent = await submit();
    await end(parent, failure);
    const begun: Promise<unknown>[] = [];
    let child = "";
    await db.admin.begin(async (tx) => {
      await tx`select 1 from muster.jobs where job_id = ${parent} for no key update`;
      begun.push(retryJob(c, caller, { jobId: parent, reason: "" }));
      await waiting(db, 1);
      begun.push(submit({ dependsOn: onJob(parent) }).then((jobId) => (child = jobId)));
      await waiting(db, 2);
    });
    await Promise.all(begun);
    await drain();
    expect(await read(parent)).toMatchObject({ generation: 2 });
    expect(await read(child)).toMatchObject({ state: blocked, waitingOn: 1 });
  });
});
