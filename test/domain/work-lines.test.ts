import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { listRunnableJobs } from "../../server/domain/runnable-jobs.ts";
import { checkWork, explainWorker } from "../../server/domain/work-lines.ts";
import { anyJob, type JobFilter } from "../../server/store/job-lists.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../support/database.ts";
import { insertAble, insertGate, insertSession, insertShaped } from "../support/routed-rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const explain = (orgId: string, name: string) =>
  explainWorker(testCoordinator(db), { orgId }, { workerId: null, name });
const check = (orgId: string, request: Partial<Parameters<typeof checkWork>[2]> = {}) =>
  checkWork(testCoordinator(db), { orgId }, { skills: [], points: 0, kinds: [], ...request });
const linesOf = ({ lines }: Awaited<ReturnType<typeof check>>) =>
  lines.map(({ kind, ready, reason }) => [kind, ready, reason]);

describe("why a worker is idle", () => {
  test("no job is ready", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    await insertShaped(db, orgId, { state: JobState.scheduled, wakeInMs: 1_000 });
    const found = await explain(orgId, "w1");
    expect(found).toMatchObject({
      worker: { name: "w1" },
      summary: "No job of the org is ready.",
      lines: [],
      fixes: ["Submit jobs: muster job submit"],
    });
  });

  test("it is about to get the first of the lines that it could run, which come first", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1", kinds: ["a", "b"], skills: ["gpu"], points: 4 });
    await insertShaped(db, orgId, { kind: "other", priority: 255 });
    await insertShaped(db, orgId, { kind: "a", shape: { skills: ["zsh"] }, priority: 200 });
    const first = await insertShaped(db, orgId, {
      kind: "b",
      shape: { skills: ["gpu"], points: 4 },
      priority: 190,
    });
    await insertShaped(db, orgId, { kind: "a", readyForMs: 2_000 });
    await insertShaped(db, orgId, { kind: "a", readyForMs: 1_000 });
    const found = await explain(orgId, "w1");
    expect(found.summary).toBe("Jobs that it can run are ready: it is about to get one.");
    expect(linesOf({ ready: 0, lines: found.lines })).toEqual([
      ["b", 1, null],
      ["a", 2, null],
      ["other", 1, "kind"],
      ["a", 1, "skills"],
    ]);
    expect(found.lines[0]).toMatchObject({ firstJobId: first, priority: 190, points: 4, skills: ["gpu"] });
    expect(found.fixes).toEqual([]);
  });

  test("nothing that is ready is for it: what it would need", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1", points: 4 });
    const other = await insertAble(db, orgId, { name: "w2" });
    await insertShaped(db, orgId, { kind: "render.frame" });
    await insertShaped(db, orgId, { shape: { skills: ["gpu", "zsh"] } });
    await insertShaped(db, orgId, { shape: { points: 6 } });
    await insertShaped(db, orgId, { shape: { target: `worker:${other}` } });
    const found = await explain(orgId, "w1");
    expect(found.summary).toBe(
      "Ready jobs are there, but none that it could run: 1 of kinds that it has no handler for, 1 that need other skills, 1 that are larger than it and 1 that are for other workers.",
    );
    expect(found.fixes).toEqual([
      "Give it the skills gpu and zsh",
      "Give it a handler for render.frame",
      "Give it at least 6 points",
    ]);
  });

  test.each([
    ["draining", { isDrainRequested: true }, "drains", "muster worker resume"],
    ["offline", { link: { isAttached: false } }, "is not connected", "Repair its link"],
    ["quarantined", { isQuarantined: true }, "is quarantined", "muster worker resume"],
    ["disabled", { isDisabled: true }, "was disabled by an operator", "muster worker enable"],
    ["stale", { link: { silentMs: 60_000 } }, "is silent", "Repair its link"],
    ["suspect", { isSuspect: true }, "leaves a cancel without an answer", "does not stop"],
  ])("it is %s, and could run what is ready", async (reason, how, words, fix) => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1", ...how });
    await insertShaped(db, orgId);
    const found = await explain(orgId, "w1");
    expect(found.summary).toBe(`It gets no jobs: it ${words}.`);
    expect(found.lines).toMatchObject([
      { reason, detail: expect.stringMatching(/; otherwise it could run them$/) },
    ]);
    expect(found.fixes.join()).toContain(fix);
  });

  test("it is full, or gates hold all that it could run", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1", slots: 1 });
    await insertShaped(db, orgId, { queue: "nightly" });
    await insertGate(db, orgId, "queue:nightly", { isPaused: true });
    const held = await explain(orgId, "w1");
    expect(held.summary).toMatch(
      /^All ready jobs that it could run are held back: queue nightly is paused for /,
    );
    expect(held.lines).toMatchObject([{ reason: "queue" }]);
    expect(held.fixes).toEqual(["Resume it: muster queue resume nightly"]);
    await insertShaped(db, orgId, { state: JobState.running, worker: { workerId } });
    await insertShaped(db, orgId);
    const full = await explain(orgId, "w1");
    expect(full.summary).toBe("It has no room: all 1 slots are taken.");
    expect(full.lines.map(({ reason }) => reason)).toEqual(["slots-full", "slots-full"]);
  });

  test("a worker of another org is not found", async () => {
    const orgId = await db.orgId();
    await insertAble(db, await db.orgId(), { name: "w1" });
    await expect(explain(orgId, "w1")).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });
    await expect(explain(orgId, "\0")).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });
  });
});

describe("work for somebody", () => {
  test("is what the skills, points and kinds are enough for, in its order", async () => {
    const orgId = await db.orgId();
    await insertShaped(db, await db.orgId());
    expect(await check(orgId)).toEqual({ ready: 0, lines: [] });
    await insertShaped(db, orgId, { kind: "a", shape: { skills: ["gpu"], points: 8 } });
    await insertShaped(db, orgId, { kind: "b", priority: 200 });
    await insertShaped(db, orgId, { kind: "b", priority: 200 });
    expect(linesOf(await check(orgId))).toEqual([["b", 2, null]]);
    expect(linesOf(await check(orgId, { skills: ["gpu"] }))).toEqual([
      ["b", 2, null],
      ["a", 1, null],
    ]);
    expect(await check(orgId, { skills: ["gpu"] })).toMatchObject({ ready: 3 });
    expect(linesOf(await check(orgId, { skills: ["gpu"], points: 7 }))).toEqual([["b", 2, null]]);
    expect(linesOf(await check(orgId, { skills: ["gpu"], kinds: ["a"] }))).toEqual([["a", 1, null]]);
    expect(await check(orgId, { kinds: ["c"] })).toEqual({ ready: 0, lines: [] });
  });

  test("is not what a gate holds back, nor what is for a worker or a session", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1" });
    await insertSession(db, orgId, { sessionId: "s1", workerId });
    await insertShaped(db, orgId, { shape: { target: "session:s1" } });
    await insertShaped(db, orgId, { shape: { target: `worker:${workerId}` } });
    await insertShaped(db, orgId, { shape: { project: "web" } });
    await insertGate(db, orgId, "project:web", { used: 2, maxUsed: 2 });
    expect(await check(orgId)).toEqual({ ready: 0, lines: [] });
    await db.admin`update muster.gates set used = 1 where org_id = ${orgId}`;
    expect(linesOf(await check(orgId))).toEqual([["shell.run", 1, null]]);
  });

  test("counts to 10,000 and shows 200 lines", async () => {
    const orgId = await db.orgId();
    await insertShaped(db, orgId, { kind: "many", priority: 255 });
    await db.admin`
      insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority)
      select org_id, gen_random_uuid(), shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority
      from muster.job_queue, generate_series(1, 10050) where org_id = ${orgId}`;
    for (let n = 0; n < 201; n++) await insertShaped(db, orgId, { kind: `kind-${n}` });
    const found = await check(orgId);
    expect(found.ready).toBe(10_000);
    expect(found.lines).toHaveLength(200);
    expect(found.lines[0]).toMatchObject({ kind: "many", ready: 10_000 });
  });

  test("is refused with all that is wrong", async () => {
    const orgId = await db.orgId();
    const wrong = { points: -1, skills: ["ok", "x".repeat(300)], kinds: ["Not A Kind"] };
    await expect(check(orgId, wrong)).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
      violations: [{ field: "skills[1]" }, { field: "kinds[0]" }, { field: "points" }],
    });
    await expect(check(orgId, { points: 1_000_001 })).rejects.toMatchObject({
      violations: [{ field: "points" }],
    });
    await expect(check(orgId, { skills: Array.from({ length: 201 }, () => "a") })).rejects.toMatchObject({
      violations: [{ field: "skills" }],
    });
  });
});

describe("the jobs that a worker could run", () => {
  const none: JobFilter = anyJob;
  const list = (orgId: string, filter: Partial<JobFilter> = {}, pageSize = 0, pageToken = "") =>
    listRunnableJobs(
      testCoordinator(db),
      { orgId },
      { filter: { ...none, ...filter }, worker: { workerId: null, name: "w1" }, pageSize, pageToken },
    );

  test("come in the order in which they are offered, page by page, whether it is free or not", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, {
      name: "w1",
      slots: 1,
      kinds: ["a", "b"],
      isDrainRequested: true,
    });
    await insertShaped(db, orgId, { kind: "a", state: JobState.running, worker: { workerId } });
    await insertShaped(db, orgId, { kind: "c", priority: 255 });
    const wanted: string[] = [];
    for (const [index, priority] of [200, 128, 128, 128, 1].entries()) {
      wanted.push(
        await insertShaped(db, orgId, { kind: index % 2 ? "a" : "b", priority, readyForMs: 9_000 - index }),
      );
    }
    for (const pageSize of [1, 2, 3, 5, 50]) {
      const got: string[] = [];
      let pageToken = "";
      do {
        const page = await list(orgId, {}, pageSize, pageToken);
        expect(page.items.length).toBeLessThanOrEqual(pageSize);
        got.push(...page.items.map(({ jobId }) => jobId));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(got).toEqual(wanted);
    }
  });

  test("may be narrowed by all that a list of jobs may", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    const red = await insertShaped(db, orgId, { queue: "q", labels: { colour: "red" } });
    const blue = await insertShaped(db, orgId, { labels: { colour: "blue" } });
    const ids = async (filter: Partial<JobFilter>) =>
      (await list(orgId, filter)).items.map(({ jobId }) => jobId);
    expect(await ids({ labels: { colour: "red" } })).toEqual([red]);
    expect(await ids({ queue: "default" })).toEqual([blue]);
    expect(await ids({ kind: "other" })).toEqual([]);
    const one = await list(orgId, {}, 1);
    await expect(list(orgId, { queue: "q" }, 1, one.nextPageToken)).rejects.toMatchObject({
      reason: "PAGE_TOKEN_INVALID",
    });
  });

  test("are not asked for together with states or a holder, nor of another org's worker", async () => {
    const orgId = await db.orgId();
    await insertAble(db, await db.orgId(), { name: "w1" });
    await expect(list(orgId, { states: [JobState.ready], workerId: db.newId() })).rejects.toMatchObject({
      violations: [{ field: "filter.states" }, { field: "filter.workerId" }],
    });
    await expect(list(orgId)).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });
    const worker = { workerId: db.newId(), name: null };
    await expect(
      listRunnableJobs(testCoordinator(db), { orgId }, { filter: none, worker, pageSize: 0, pageToken: "" }),
    ).rejects.toMatchObject({ details: { id: encodeId("worker", worker.workerId) } });
  });
});
