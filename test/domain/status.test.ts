import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { JobState } from "../../server/domain/rules/states.ts";
import { WorkerState } from "../../server/domain/rules/worker-states.ts";
import { createStatusReader } from "../../server/domain/status.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const brief = { isDetailed: false };

/** A reader with a clock of its own, on which a read takes no time. */
function reader() {
  let now = 0;
  const { readStatus } = createStatusReader(testCoordinator(db), () => now);
  const advance = (ms: number) => {
    now += ms;
  };
  return { readStatus, advance };
}

async function insertTally(orgId: string, counts: readonly number[], ageSeconds = 0): Promise<void> {
  const [submitted = 0, succeeded = 0, cancelled = 0, dead = 0] = counts;
  await db.admin`insert into muster.tallies (org_id, tally_id, queue, at, submitted, succeeded, cancelled, dead)
    values (${orgId}, ${db.newId()}, 'default', muster.muster_clock() - ${ageSeconds}::float8 * interval '1 second',
      ${submitted}, ${succeeded}, ${cancelled}, ${dead})`;
}

describe("the status of an org", () => {
  test("that is new is all zeros", async () => {
    const orgId = await db.orgId();
    const status = await reader().readStatus(testCaller(orgId), { isDetailed: true });
    expect(status).toMatchObject({
      orgId,
      org: `org ${orgId}`,
      workers: { online: 0, offline: 0, slots: 0, slotsUsed: 0 },
      jobs: [],
      projects: [],
      flow: { submitted: 0, succeededLastMinute: 0 },
      workerList: [],
      running: [],
    });
    expect(Math.abs(status.time.getTime() - db.nowMs())).toBeLessThan(5_000);
  });

  test("counts workers by what they do, with the capacity of the attached ones", async () => {
    const orgId = await db.orgId();
    await insertWorkerRow(db, await db.orgId(), { name: "theirs", link: {} });
    const busy = await insertWorkerRow(db, orgId, { name: "busy", link: {}, slots: 4, points: 8 });
    await insertWorkerRow(db, orgId, { name: "idle", link: {}, slots: 2, points: 2 });
    await insertWorkerRow(db, orgId, { name: "draining", link: { isDraining: true }, slots: 1, points: 1 });
    const stale = await insertWorkerRow(db, orgId, {
      name: "stale",
      link: { silentMs: 60_000 },
      slots: 1,
      points: 1,
    });
    const gone = await insertWorkerRow(db, orgId, { name: "gone", link: { isAttached: false } });
    await insertWorkerRow(db, orgId, { name: "never" });
    await insertWorkerRow(db, orgId, { name: "held", link: {}, isQuarantined: true, slots: 1, points: 1 });
    await insertWorkerRow(db, orgId, { name: "disabled", link: {}, isDisabled: true });
    for (const workerId of [busy, busy, stale, gone]) {
      await insertJob(db, orgId, { state: JobState.running, worker: { workerId }, points: 2 });
    }
    const { workers } = await reader().readStatus(testCaller(orgId), brief);
    expect(workers).toEqual({
      online: 2,
      busy: 1,
      idle: 1,
      draining: 1,
      quarantined: 1,
      pending: 0,
      stale: 1,
      offline: 3,
      slots: 9,
      slotsUsed: 3,
      points: 13,
      pointsUsed: 6,
    });
  });

  test("counts jobs by state, and what went through", async () => {
    const orgId = await db.orgId();
    await insertJob(db, await db.orgId());
    for (const state of [JobState.ready, JobState.ready, JobState.parked])
      await insertJob(db, orgId, { state });
    await insertTally(orgId, [10, 5, 0, 1]);
    await insertTally(orgId, [100, 50, 0, 1], 61);
    const { jobs, flow } = await reader().readStatus(testCaller(orgId), brief);
    expect(jobs).toEqual([
      { state: JobState.ready, count: 2 },
      { state: JobState.parked, count: 1 },
      { state: JobState.succeeded, count: 55 },
      { state: JobState.dead, count: 2 },
    ]);
    expect(flow).toEqual({
      submitted: 110,
      succeeded: 55,
      cancelled: 0,
      dead: 2,
      submittedLastMinute: 10,
      succeededLastMinute: 5,
    });
  });

  test("shows each project's open and allowed pull requests", async () => {
    const orgId = await db.orgId();
    await db.admin`insert into muster.projects (org_id, name, max_open_prs) values (${orgId}, 'b', 3), (${orgId}, 'a', null)`;
    await db.admin`insert into muster.pull_requests (org_id, url, project, job_id) values (${orgId}, 'u', 'b', ${db.newId()})`;
    const { projects } = await reader().readStatus(testCaller(orgId), brief);
    expect(projects).toEqual([
      { name: "a", maxOpenPrs: null, openPrs: 0, leased: 0, repository: null },
      { name: "b", maxOpenPrs: 3, openPrs: 1, leased: 0, repository: null },
    ]);
  });

  test("shows the coordinators that live", async () => {
    const [live, gone] = [db.newId(), db.newId()];
    await db.admin`insert into muster.coordinators (coordinator_id, api_address, version, seen_at, links) values
      (${live}, 'http://127.0.0.1:7070', '1.0.0', muster.muster_clock(), 3),
      (${gone}, 'http://127.0.0.1:7071', '1.0.0', muster.muster_clock() - interval '61 minutes', 0)`;
    const { coordinators } = await reader().readStatus(testCaller(await db.orgId()), brief);
    expect(coordinators).toMatchObject([
      { coordinatorId: live, apiAddress: "http://127.0.0.1:7070", links: 3 },
    ]);
  });

  test("lists workers and running jobs when asked to, the longest first", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box", link: {} });
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) {
      ids.push((await insertJob(db, orgId, { state: JobState.running, worker: { workerId } })).jobId);
    }
    await insertJob(db, orgId, { state: JobState.offered, worker: { workerId } });
    await db.admin`update muster.job_queue set granted_at = granted_at - interval '1 hour' where job_id = ${ids[2] ?? ""}`;
    const { readStatus } = reader();
    const detailed = await readStatus(testCaller(orgId), { isDetailed: true });
    expect(detailed.workerList).toMatchObject([{ name: "box", state: WorkerState.busy, leases: 4 }]);
    expect(detailed.running.map((job) => job.jobId)).toEqual([ids[2], ids[0], ids[1]]);
    expect(detailed.running[0]).toMatchObject({ workerName: "box", state: JobState.running });
    expect(await readStatus(testCaller(orgId), brief)).toMatchObject({ workerList: [], running: [] });
  });

  test("of an org that is not there is not found", async () => {
    const answer = reader().readStatus(testCaller(db.newId()), brief);
    await expect(answer).rejects.toMatchObject({ reason: "ORG_NOT_FOUND" });
  });
});

describe("many watchers", () => {
  test("of one org share a read for 200 ms", async () => {
    const { readStatus, advance } = reader();
    const orgId = await db.orgId();
    const other = await db.orgId();
    const count = async (org = orgId) => (await readStatus(testCaller(org), brief)).jobs[0]?.count ?? 0;
    const [first, second] = await Promise.all([readStatus({ orgId }, brief), readStatus({ orgId }, brief)]);
    expect(first).toBe(second);
    await insertJob(db, orgId);
    await insertJob(db, other);
    advance(199);
    expect(await count()).toBe(0);
    expect(await count(other)).toBe(1);
    advance(1);
    expect(await count()).toBe(1);
  });
});
