import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAttentionReader } from "../../server/domain/attention.ts";
import { encodeId } from "../../server/domain/ids.ts";
import {
  AttentionCause,
  type AttentionItem,
  AttentionSeverity,
} from "../../server/domain/rules/attention.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../support/database.ts";
import { insertAble, insertGate, insertSession, insertShaped } from "../support/routed-rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const minute = { readyForMs: 61_000 };

async function list(orgId: string, causes: AttentionCause[] = []): Promise<readonly AttentionItem[]> {
  const reader = createAttentionReader(testCoordinator(db));
  return (await reader.listAttention({ orgId }, { causes })).items;
}

async function only(orgId: string): Promise<AttentionItem> {
  const items = await list(orgId);
  expect(items.map(({ summary }) => summary)).toHaveLength(1);
  const [item] = items;
  if (item === undefined) throw new Error("nothing needs attention");
  return item;
}

test("nothing needs attention where all is well", async () => {
  const orgId = await db.orgId();
  const workerId = await insertAble(db, orgId, { name: "w1", slots: 1 });
  await insertShaped(db, orgId, { state: JobState.running, worker: { workerId } });
  await insertShaped(db, orgId, minute);
  await insertGate(db, orgId, "queue:default", { maxUsed: 1, used: 1 });
  expect(await list(orgId)).toEqual([]);
});

describe("no route", () => {
  test("is told after a minute, with what to start; a worker that comes ends it", async () => {
    const orgId = await db.orgId();
    const shape = { skills: ["gpu"], points: 8 };
    await insertAble(db, orgId, { name: "cpu-1" });
    await insertShaped(db, orgId, { kind: "render.frame", shape, readyForMs: 59_000 });
    expect(await list(orgId)).toEqual([]);
    const first = await insertShaped(db, orgId, { kind: "render.frame", shape, ...minute });
    await insertShaped(db, orgId, { kind: "render.frame", queue: "other", shape, ...minute });
    const item = await only(orgId);
    expect(item).toMatchObject({
      cause: AttentionCause.noRoute,
      severity: AttentionSeverity.critical,
      target: "kind:render.frame",
      summary:
        "No connected worker can run jobs of kind render.frame with skills gpu and 8 points: no connected worker can run it; the nearest, cpu-1, has no handler for render.frame",
      fix: "Start a worker with a handler for render.frame, the skill gpu and at least 8 points",
      jobs: 3,
    });
    expect(item.command).toMatch(/^muster job explain job_/);
    expect(item.jobIds).toContain(first);
    expect(item.id).toBe((await only(orgId)).id);
    await insertAble(db, orgId, { name: "gpu-1", kinds: ["render.frame"], skills: ["gpu"] });
    expect(await list(orgId)).toEqual([]);
  });

  test("is told of the line that waits, though jobs before it come and go", async () => {
    const orgId = await db.orgId();
    await insertShaped(db, orgId, { priority: 255 });
    await insertShaped(db, orgId, { priority: 200 });
    await insertShaped(db, orgId, { priority: 1, ...minute });
    expect(await only(orgId)).toMatchObject({ cause: AttentionCause.noRoute, jobs: 3 });
  });

  test("asks to repair the link of a worker that could run it, first", async () => {
    const orgId = await db.orgId();
    await insertShaped(db, orgId, minute);
    const workerId = await insertAble(db, orgId, { name: "gpu-1", link: { isAttached: false } });
    expect(await only(orgId)).toMatchObject({
      fix: "Repair the link of gpu-1: connected, it could run it; else start a worker with a handler for shell.run",
      command: `muster worker get ${encodeId("worker", workerId)}`,
    });
  });

  test("names the worker that jobs are for", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1", isDrainRequested: true });
    await insertShaped(db, orgId, { shape: { target: `worker:${workerId}` }, ...minute });
    const id = encodeId("worker", workerId);
    expect(await only(orgId)).toMatchObject({ target: id, command: `muster worker resume ${id}` });
  });

  test("is not told of jobs that a gate holds back", async () => {
    const orgId = await db.orgId();
    await insertShaped(db, orgId, minute);
    await insertGate(db, orgId, "kind:shell.run", { maxUsed: 1, used: 1 });
    expect(await list(orgId)).toEqual([]);
  });
});

describe("gates", () => {
  test("a project at its cap is told while jobs wait", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'my/web')`;
    await insertGate(db, orgId, "project:my/web", { used: 2, maxUsed: 2 });
    expect(await list(orgId)).toEqual([]);
    const jobId = await insertShaped(db, orgId, { shape: { project: "my/web" } });
    expect(await only(orgId)).toMatchObject({
      id: "project-cap project:my/web",
      cause: AttentionCause.projectCap,
      severity: AttentionSeverity.warning,
      summary: "Project my/web is at its cap: 2 of 2 taken (0 open pull requests, 2 running)",
      command: "muster project prs my/web",
      jobs: 1,
      jobIds: [jobId],
    });
    await db.admin`update muster.gates set used = 1 where org_id = ${orgId}`;
    expect(await list(orgId)).toEqual([]);
  });

  test.each(["queue", "kind", "pool"])("a paused %s is a notice while jobs wait", async (type) => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1", kinds: ["x"] });
    await insertGate(db, orgId, `${type}:x`, { isPaused: true, reason: "moving" });
    expect(await list(orgId)).toEqual([]);
    await insertShaped(db, orgId, { kind: "x", queue: "x", shape: { pool: "x" } });
    expect(await only(orgId)).toMatchObject({
      cause: AttentionCause.queuePaused,
      severity: AttentionSeverity.notice,
      target: `${type}:x`,
      command: `muster ${type} resume x`,
      summary: expect.stringMatching(/ until somebody resumes it \(moving\)$/),
      jobs: 1,
    });
    await db.admin`update muster.gates set paused_at = null where org_id = ${orgId}`;
    expect(await list(orgId)).toEqual([]);
  });
});

describe("sessions", () => {
  const wait = (orgId: string, target: `session:${string}` | `project:${string}`, rows = {}) =>
    insertShaped(db, orgId, { shape: { target }, ...rows });

  test("one that is archived, removed or was never there is told at once, apart", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1" });
    await insertSession(db, orgId, { sessionId: "old one", workerId, isArchivedByOperator: true });
    await wait(orgId, "session:old one");
    await wait(orgId, "session:removed");
    await wait(orgId, "session:never");
    await db.admin`insert into muster.audit_log (org_id, audit_id, actor, action, target, reason, request_id, details)
      values (${orgId}, ${db.newId()}, 'key:ops', 'session.remove', 'removed', '', 'r', '{}')`;
    const items = await list(orgId, [AttentionCause.sessionMissing]);
    expect(new Map(items.map(({ target, summary, command }) => [target, [summary, command]]))).toEqual(
      new Map([
        [
          "session:old one",
          [
            "Jobs wait for session old one: session old one was archived by an operator",
            "muster session unarchive 'old one'",
          ],
        ],
        [
          "session:removed",
          ["Jobs wait for session removed: it was removed by key:ops", "muster session list"],
        ],
        [
          "session:never",
          [
            "Jobs wait for session never: no worker ever published it, or it was removed long ago",
            "muster session list",
          ],
        ],
      ]),
    );
    expect(items.every(({ severity, jobs }) => severity === AttentionSeverity.critical && jobs === 1)).toBe(
      true,
    );
  });

  test("one whose worker is away is told after a minute; a usable one ends it", async () => {
    const orgId = await db.orgId();
    await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'web')`;
    const workerId = await insertAble(db, orgId, { name: "w1", link: { isAttached: false } });
    await insertSession(db, orgId, { sessionId: "s1", workerId, project: "web" });
    await wait(orgId, "project:web");
    expect(await list(orgId)).toEqual([]);
    await wait(orgId, "project:web", minute);
    expect(await only(orgId)).toMatchObject({
      target: "project:web",
      summary: "Jobs wait for a session of project web: worker w1, which has session s1, is offline",
      command: `muster worker get ${encodeId("worker", workerId)}`,
      jobs: 2,
    });
    const other = await insertAble(db, orgId, { name: "w2" });
    await insertSession(db, orgId, { sessionId: "s2", workerId: other, project: "web" });
    expect(await list(orgId)).toEqual([]);
  });

  test("one that two workers publish is told for an hour", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "first" });
    const contestedBy = await insertAble(db, orgId, { name: "second" });
    await insertSession(db, orgId, { sessionId: "s1", workerId, contestedBy });
    expect(await only(orgId)).toMatchObject({
      cause: AttentionCause.sessionConflict,
      target: "session:s1",
      summary: "Worker second published session s1, which worker first has",
    });
    await db.admin`update muster.sessions set contested_at = contested_at - interval '61 minutes'`;
    expect(await list(orgId)).toEqual([]);
  });

  test("a project that was deleted is told while its jobs wait", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    await insertShaped(db, orgId, { shape: { project: "gone" } });
    expect(await only(orgId)).toMatchObject({
      cause: AttentionCause.projectMissing,
      target: "project:gone",
      command: "muster job list --project gone",
      jobs: 1,
    });
    await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'gone')`;
    expect(await list(orgId)).toEqual([]);
  });
});

describe("jobs and workers", () => {
  test("a job that failed or was lost three times is to be inspected before it is retried", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    await insertShaped(db, orgId, { failures: 2, losses: 2 });
    expect(await list(orgId)).toEqual([]);
    const failed = await insertShaped(db, orgId, {
      state: JobState.scheduled,
      wakeInMs: 60_000,
      failures: 3,
    });
    const lost = await insertShaped(db, orgId, { losses: 4 });
    const items = await list(orgId);
    expect(items).toMatchObject([
      { cause: AttentionCause.jobTrouble, target: encodeId("job", failed), jobIds: [failed] },
      { target: encodeId("job", lost), summary: "A job of kind shell.run was lost 4 times" },
    ]);
    expect(items[0]?.summary).toBe("A job of kind shell.run failed 3 times");
    expect(items[0]?.fix).toMatch(/^Stop and inspect before retrying/);
    await db.admin`delete from muster.job_queue where org_id = ${orgId} and (failures > 2 or losses > 2)`;
    expect(await list(orgId)).toEqual([]);
  });

  test("a silent worker and its leases ask to look at the machine before requeueing", async () => {
    const orgId = await db.orgId();
    const stale = await insertAble(db, orgId, { name: "stale", link: { silentMs: 20_000 } });
    const jobId = await insertShaped(db, orgId, { state: JobState.running, worker: { workerId: stale } });
    const gone = await insertAble(db, orgId, { name: "gone", link: { isAttached: false, silentMs: 40_000 } });
    await insertShaped(db, orgId, { state: JobState.running, worker: { workerId: gone } });
    await insertAble(db, orgId, { name: "off", link: { isAttached: false, silentMs: 90_000 } });
    const items = await list(orgId);
    expect(items.map(({ cause, target }) => [cause, target])).toEqual([
      [AttentionCause.leaseStale, encodeId("worker", gone)],
      [AttentionCause.leaseStale, encodeId("worker", stale)],
      [AttentionCause.workerStale, encodeId("worker", stale)],
    ]);
    expect(items[1]).toMatchObject({
      summary: "Worker stale holds a job and is silent for 20s",
      jobs: 1,
      jobIds: [jobId],
      fix: expect.stringMatching(/^Look at the machine before requeueing/),
    });
    expect(items[2]?.fix).toMatch(/^Look at the machine before requeueing/);
    await db.admin`update muster.links set seen_at = muster.muster_clock() where org_id = ${orgId}`;
    expect(await list(orgId)).toEqual([]);
  });

  test("a quarantined worker, and one that leaves a cancel unanswered", async () => {
    const orgId = await db.orgId();
    const held = await insertAble(db, orgId, { name: "held", isQuarantined: true });
    await db.admin`update muster.workers set quarantine_reason = 'lost 3 jobs' where worker_id = ${held}`;
    await insertAble(db, orgId, { name: "deaf", isSuspect: true });
    const items = await list(orgId);
    expect(items.map(({ cause }) => cause).sort()).toEqual([
      AttentionCause.workerQuarantined,
      AttentionCause.workerSuspect,
    ]);
    expect(items.find(({ cause }) => cause === AttentionCause.workerQuarantined)).toMatchObject({
      summary: "Worker held is quarantined: lost 3 jobs",
      command: `muster worker resume ${encodeId("worker", held)}`,
    });
  });
});

describe("the list", () => {
  test("has the worst first, then the oldest, and may be narrowed to causes", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    await insertGate(db, orgId, "queue:q", { isPaused: true });
    await insertShaped(db, orgId, { queue: "q", readyForMs: 900_000 });
    await insertShaped(db, orgId, { failures: 3 });
    await insertShaped(db, orgId, { kind: "b", ...minute });
    await insertShaped(db, orgId, { kind: "c", readyForMs: 120_000 });
    expect((await list(orgId)).map(({ target }) => target.replace(/job_.*/, "job"))).toEqual([
      "kind:c",
      "kind:b",
      "job",
      "queue:q",
    ]);
    const paused = await list(orgId, [AttentionCause.queuePaused, AttentionCause.projectCap]);
    expect(paused.map(({ target }) => target)).toEqual(["queue:q"]);
  });

  test("shows 1,000 items and says that there are more", async () => {
    const orgId = await db.orgId();
    await insertShaped(db, orgId, { state: JobState.parked, failures: 3 });
    const [row] = await db.admin`select job_id from muster.job_queue where org_id = ${orgId}`;
    await db.admin`
      with copied as (
        insert into muster.jobs select (j).* from (
          select jsonb_populate_record(null::muster.jobs, to_jsonb(x) || jsonb_build_object('job_id',
            overlay(x.job_id::text placing lpad(n::text, 6, '0') from 31)::uuid, 'payload', '\\x7b7d')) as j
          from muster.jobs x, generate_series(1, 1000) n where x.org_id = ${orgId}) c
        returning job_id)
      insert into muster.job_queue select (q).* from (
        select jsonb_populate_record(null::muster.job_queue, to_jsonb(x) || jsonb_build_object('job_id', c.job_id)) as q
        from muster.job_queue x, copied c where x.org_id = ${orgId} and x.job_id = ${row?.["job_id"]}) y`;
    const view = await createAttentionReader(testCoordinator(db)).listAttention({ orgId }, { causes: [] });
    expect(view.items).toHaveLength(1_000);
    expect(view.isTruncated).toBe(true);
  });

  test("is kept for a second", async () => {
    const orgId = await db.orgId();
    let now = 0;
    const reader = createAttentionReader(testCoordinator(db), () => now);
    const count = async () => (await reader.listAttention({ orgId }, { causes: [] })).items.length;
    expect(await count()).toBe(0);
    await insertShaped(db, orgId, minute);
    now = 999;
    expect(await count()).toBe(0);
    now = 1_001;
    expect(await count()).toBe(1);
  });
});
