import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { explainJob } from "../../server/domain/explain.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import type { Hello } from "../../server/domain/links.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";
import { insertAble, insertGate, insertSession, insertShaped } from "../support/routed-rows.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const explain = (orgId: string, jobId: string) =>
  explainJob(testCoordinator(db), { orgId }, { jobId, externalId: null });

const gateOf = (found: Awaited<ReturnType<typeof explain>>, name: string) =>
  found.gates.find((gate) => gate.name === name);

async function insertProject(orgId: string, name: string): Promise<void> {
  await db.admin`insert into muster.projects (org_id, name, max_open_prs) values (${orgId}, ${name}, 3)`;
}

describe("a ready job that a worker can take", () => {
  test("is about to start: all gates are open, and it says now", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1", skills: ["gpu"] });
    const jobId = await insertShaped(db, orgId, { shape: { skills: ["gpu"] } });
    const found = await explain(orgId, jobId);
    expect(found.summary).toBe("It is about to start: 1 worker can take it now.");
    expect(found.gates.map(({ name, isOpen }) => [name, isOpen])).toEqual([
      ["state", true],
      ["time", true],
      ["dependencies", true],
      ["queue", true],
      ["kind", true],
    ]);
    expect(found.workers).toEqual([{ workerId, name: "w1", reason: null, detail: "could run it now" }]);
    expect(found.workerCounts).toEqual({ qualifies: 1 });
    expect(found).toMatchObject({ releases: [], jobsAhead: 0 });
    expect(Math.abs((found.estimatedStartAt?.getTime() ?? 0) - db.nowMs())).toBeLessThan(5_000);
  });

  test("waits for room behind those that go before it in the lines of its workers", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, {
      name: "w1",
      slots: 1,
      points: 4,
      kinds: ["shell.run", "b"],
    });
    await insertShaped(db, orgId, { state: JobState.running, worker: { workerId } });
    await insertShaped(db, orgId, { priority: 200 });
    await insertShaped(db, orgId, { kind: "b", priority: 200 });
    await insertShaped(db, orgId, { readyForMs: 1_000 });
    await insertShaped(db, orgId, { kind: "c", priority: 200 });
    const jobId = await insertShaped(db, orgId);
    await insertShaped(db, orgId, { priority: 1 });
    const found = await explain(orgId, jobId);
    expect(found.jobsAhead).toBe(3);
    expect(found.summary).toBe(
      "It waits for room on the one worker that can run it; 3 ready jobs go before it.",
    );
    expect(found.workerCounts).toEqual({ "slots-full": 1 });
    expect(found.releases).toEqual(["Wait for a worker to have room, or start one more"]);
    expect(found.estimatedStartAt).toBeNull();
  });
});

test("a ready job that has many before it is not about to start, though workers have room", async () => {
  const orgId = await db.orgId();
  await insertAble(db, orgId, { name: "w1", slots: 2 });
  await insertShaped(db, orgId, { priority: 200 });
  const next = await insertShaped(db, orgId, { readyForMs: 1_000 });
  const later = await insertShaped(db, orgId);
  expect(await explain(orgId, next)).toMatchObject({
    summary: "It is about to start: 1 worker can take it now; 1 ready job goes before it.",
    estimatedStartAt: expect.any(Date),
  });
  expect(await explain(orgId, later)).toMatchObject({
    summary: "Its turn has not come: 1 worker can take it now; 2 ready jobs go before it.",
    estimatedStartAt: null,
  });
});

describe("a ready job that no worker takes", () => {
  test("names every worker with its first reason, the connected and the closest first", async () => {
    const orgId = await db.orgId();
    const avoided = await insertAble(db, orgId, { name: "a-avoided" });
    const jobId = await insertShaped(db, orgId, {
      shape: { skills: ["gpu"], points: 8, avoid: [avoided] },
      wakeInMs: 60_000,
    });
    await db.admin`update muster.workers set skills = '[{"name":"gpu"}]' where worker_id = ${avoided}`;
    const gpu = { skills: ["gpu"] };
    await insertAble(db, orgId, { name: "never", link: null });
    await insertAble(db, orgId, { name: "offline", ...gpu, link: { isAttached: false } });
    await insertAble(db, orgId, { name: "stale", link: { silentMs: 60_000 } });
    await insertAble(db, orgId, { name: "disabled", isDisabled: true });
    await insertAble(db, orgId, { name: "draining", isDrainRequested: true });
    await insertAble(db, orgId, { name: "quarantined", isQuarantined: true });
    await insertAble(db, orgId, { name: "suspect", isSuspect: true });
    await insertAble(db, orgId, { name: "kind", kinds: ["shell.runs"] });
    await insertAble(db, orgId, { name: "skills" });
    await insertAble(db, orgId, { name: "points", ...gpu, points: 4 });
    await insertAble(db, await db.orgId(), { name: "theirs", ...gpu });
    const found = await explain(orgId, jobId);
    expect(found.workers.map(({ name, reason, detail }) => [name, reason, detail])).toEqual([
      ["a-avoided", "avoided", expect.stringMatching(/avoids it until .*Z unless nobody else/)],
      ["points", "points", "has 4 points, the job needs 8"],
      ["skills", "skills", "lacks gpu"],
      ["kind", "kind", "has no handler for shell.run; it has shell.runs"],
      ["suspect", "suspect", "leaves a cancel without an answer"],
      ["quarantined", "quarantined", "gets no offers until an operator resumes it"],
      ["draining", "draining", "takes nothing new: it drains"],
      ["disabled", "disabled", "was disabled by an operator"],
      ["stale", "stale", "its heartbeat is late"],
      ["never", "offline", "is not connected"],
      ["offline", "offline", "is not connected"],
    ]);
    expect(found.workerCounts).toMatchObject({ offline: 2, avoided: 1 });
  });

  test("is repaired by the link of a worker that could run it, before another is started", async () => {
    const orgId = await db.orgId();
    const jobId = await insertShaped(db, orgId, { shape: { skills: ["gpu"], points: 4 } });
    const away = await insertAble(db, orgId, { name: "gpu-1", skills: ["gpu"], link: { isAttached: false } });
    const id = encodeId("worker", away);
    const found = await explain(orgId, jobId);
    expect(found.summary).toBe("No worker takes it: one worker could run it but is not connected: gpu-1.");
    expect(found.releases).toEqual([
      `Repair the link of gpu-1: connected, it could run it: muster worker get ${id}`,
      "Start a worker with a handler for shell.run, the skill gpu and at least 4 points",
    ]);
    expect(found.estimatedStartAt).toBeNull();
  });

  test("says who is nearest, when nobody could", async () => {
    const orgId = await db.orgId();
    const jobId = await insertShaped(db, orgId, { shape: { skills: ["gpu", "zsh"] } });
    expect((await explain(orgId, jobId)).summary).toBe("No worker takes it: there is no worker.");
    await insertAble(db, orgId, { name: "far", kinds: ["other"] });
    await insertAble(db, orgId, { name: "near", skills: ["zsh"] });
    expect((await explain(orgId, jobId)).summary).toBe(
      "No worker takes it: no connected worker can run it; the nearest, near, lacks gpu.",
    );
  });
});

describe("a gate", () => {
  test("of time tells when, and that another try is waited for", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    const jobId = await insertShaped(db, orgId, { state: JobState.scheduled, wakeInMs: 90_000, failures: 2 });
    const found = await explain(orgId, jobId);
    expect(gateOf(found, "time")).toMatchObject({
      isOpen: false,
      detail: expect.stringMatching(/^waits until .*Z: the next try after 2 failures$/),
      fix: `Wait, or try it now: muster job retry ${encodeId("job", jobId)}`,
    });
    expect(found.summary).toMatch(/^It waits until .*: the next try after 2 failures\.$/);
    expect(found.estimatedStartAt).toEqual(gateOf(found, "time")?.openAt);
  });

  test("of dependencies names the first of them with their states", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    const jobId = await insertShaped(db, orgId, { state: JobState.blocked, waitingOn: 13 });
    const running = await insertShaped(db, orgId, {
      state: JobState.running,
      worker: { workerId: db.newId() },
    });
    const { jobId: dead } = await insertJob(db, orgId, { state: JobState.dead });
    await insertAttempt(db, orgId, dead, { outcome: Outcome.failed, state: JobState.dead });
    const others = await Promise.all(Array.from({ length: 11 }, () => insertShaped(db, orgId)));
    for (const parentId of [running, dead, ...others]) {
      await db.admin`insert into muster.edges (org_id, parent_id, child_id) values (${orgId}, ${parentId}, ${jobId})`;
    }
    const found = await explain(orgId, jobId);
    const gate = gateOf(found, "dependencies");
    expect(gate?.detail).toContain("waits for 13 jobs: ");
    expect(gate?.detail).toContain(`${encodeId("job", running)} (RUNNING)`);
    expect(gate?.detail).toContain(`${encodeId("job", dead)} (DEAD)`);
    expect(gate?.detail).toMatch(/more$/);
    expect(gate?.fix).toContain(`muster job explain ${encodeId("job", running)}`);
    expect(found.estimatedStartAt).toBeNull();
  });

  test("of a queue that is paused says since when, until when and why", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    const jobId = await insertShaped(db, orgId, { queue: "nightly" });
    await insertGate(db, orgId, "queue:nightly", { isPaused: true, reason: "moving", resumeInMs: 60_000 });
    const found = await explain(orgId, jobId);
    const gate = gateOf(found, "queue");
    expect(gate).toMatchObject({ isOpen: false, fix: "Resume it: muster queue resume nightly" });
    expect(gate?.detail).toMatch(/^nightly: paused for \d+ms, until .*Z \(moving\)$/);
    expect(found.summary).toMatch(/^The queue nightly is paused for .*\(moving\)\.$/);
    expect(found.estimatedStartAt).toEqual(gate?.openAt);
    await db.admin`update muster.gates set resume_at = muster.muster_clock() where org_id = ${orgId}`;
    expect(gateOf(await explain(orgId, jobId), "queue")?.isOpen).toBe(true);
  });

  test("of a kind that is full, and of a pool that is out of starts", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    const jobId = await insertShaped(db, orgId, { shape: { pool: "claude" } });
    await insertGate(db, orgId, "kind:shell.run", { used: 3, maxUsed: 3 });
    await insertGate(db, orgId, "pool:claude", { rate: { jobs: 6, periodMs: 60_000, tokens: 0.5 } });
    const found = await explain(orgId, jobId);
    expect(gateOf(found, "kind")).toMatchObject({ isOpen: false, detail: "shell.run: full: 3 of 3 run" });
    expect(gateOf(found, "pool")?.detail).toMatch(
      /^claude: out of starts: 6 in 1m00s, the next one in [45]s$/,
    );
    expect(found.summary).toBe("The kind shell.run is full: 3 of 3 run (and 1 more gate closed).");
    expect(found.estimatedStartAt).toBeNull();
    await db.admin`delete from muster.gates where org_id = ${orgId} and key like 'kind:%'`;
    const later = await explain(orgId, jobId);
    expect(later.estimatedStartAt).toEqual(gateOf(later, "pool")?.openAt);
  });

  test("of a project counts open pull requests and what runs, and says when the project is gone", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w1" });
    await insertProject(orgId, "web");
    await insertGate(db, orgId, "project:web", { used: 3, maxUsed: 3 });
    for (const [url, isOpen] of [
      ["a", true],
      ["b", true],
      ["c", false],
    ] as const) {
      await db.admin`insert into muster.pull_requests (org_id, url, project, job_id, is_open)
        values (${orgId}, ${url}, 'web', ${db.newId()}, ${isOpen})`;
    }
    const jobId = await insertShaped(db, orgId, { shape: { project: "web" } });
    const gate = gateOf(await explain(orgId, jobId), "project");
    expect(gate?.detail).toBe("web: full: 3 of 3 taken (2 open pull requests, 1 running)");
    expect(gate?.fix).toContain("muster project set-cap web");
    await db.admin`delete from muster.projects where org_id = ${orgId}`;
    expect(gateOf(await explain(orgId, jobId), "project")?.detail).toContain("the project was deleted");
  });

  test("of a target follows a session: exact, primary, first usable, or why none", async () => {
    const orgId = await db.orgId();
    const owner = await insertAble(db, orgId, { name: "owner" });
    const other = await insertAble(db, orgId, { name: "other" });
    const jobId = await insertShaped(db, orgId, { shape: { target: "project:web" } });
    const target = async () => gateOf(await explain(orgId, jobId), "target")?.detail;
    expect(await target()).toBe("no worker has a session of project web");
    await insertSession(db, orgId, { sessionId: "s1", workerId: other, project: "web" });
    expect(await target()).toBe("session s1 of project web on worker other");
    await insertSession(db, orgId, { sessionId: "s2", workerId: owner, project: "web", isPrimary: true });
    const found = await explain(orgId, jobId);
    expect(gateOf(found, "target")?.detail).toBe("session s2 of project web on worker owner");
    expect(found.workers.map(({ name, reason }) => [name, reason])).toEqual([
      ["owner", null],
      ["other", "target"],
    ]);
    await db.admin`update muster.links set is_attached = false where org_id = ${orgId} and worker_id = ${owner}`;
    expect(await target()).toBe("session s1 of project web on worker other");
    await db.admin`update muster.sessions set archived_at = now() where org_id = ${orgId} and session_id = 's1'`;
    expect(await target()).toBe("worker owner, which has session s2, is offline");
  });

  test.each([
    [{ isArchivedByOperator: true }, "session s1 was archived by an operator", "muster session unarchive s1"],
    [{ isArchived: true }, "session s1 is archived on worker owner", "muster session get s1"],
    [{ isPublished: false }, "worker owner no longer publishes session s1", "muster session list"],
    [{ state: 3 }, "session s1 has ended on worker owner", "muster session list"],
    [
      { isResumable: false },
      "session s1 cannot be resumed yet: its agent session is not known",
      "muster session get s1",
    ],
  ])("of a session that cannot be used says why: %j", async (how, detail, command) => {
    const orgId = await db.orgId();
    const owner = await insertAble(db, orgId, { name: "owner" });
    await insertSession(db, orgId, { sessionId: "s1", workerId: owner, ...how });
    const jobId = await insertShaped(db, orgId, { shape: { target: "session:s1" } });
    const found = await explain(orgId, jobId);
    expect(gateOf(found, "target")).toMatchObject({ isOpen: false, detail });
    expect(gateOf(found, "target")?.fix).toContain(command);
    expect(found.summary).toBe(`It cannot go where it is to go: ${detail}.`);
    expect(found.workerCounts).toEqual({ target: 1 });
  });

  test("of the state tells who parked a job, why and until when", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1" });
    const byHandler = await insertShaped(db, orgId, {
      state: JobState.parked,
      reason: "quota",
      wakeInMs: 60_000,
    });
    await insertAttempt(db, orgId, byHandler, { outcome: Outcome.parked, workerId, reason: "quota" });
    const parked = await explain(orgId, byHandler);
    expect(gateOf(parked, "state")?.detail).toMatch(/^PARKED by its handler on w1 until .*Z: quota$/);
    expect(parked.estimatedStartAt).toEqual(gateOf(parked, "state")?.openAt);
    const byHand = await insertShaped(db, orgId, { state: JobState.parked, reason: "hold" });
    const target = encodeId("job", byHand);
    await db.admin`insert into muster.audit_log (org_id, audit_id, actor, action, target, reason, request_id, details)
      values (${orgId}, ${db.newId()}, 'key:ops', 'job.park', ${target}, 'hold', 'r', '{}')`;
    const held = await explain(orgId, byHand);
    expect(gateOf(held, "state")).toMatchObject({
      detail: "PARKED by key:ops until somebody unparks it: hold",
      fix: `Unpark it: muster job unpark ${target}`,
    });
    expect(held.estimatedStartAt).toBeNull();
  });
});

test("what is explained is what dispatch then does, worker by worker", async () => {
  const orgId = await db.orgId();
  const c = testCoordinator(db);
  const dispatcher = testDispatcher(c);
  const attach = (name: string, declared: Partial<Hello["declared"]>) =>
    attachWorker(c, orgId, {
      name,
      hello: hello({ declared: { ...hello().declared, ...declared } }),
      dispatcher,
    });
  await attach("no-skill", {});
  await attach("too-small", { skills: [{ name: "gpu", digest: "" }], points: 2 });
  const able = await attach("able", { skills: [{ name: "gpu", digest: "" }] });
  const submit = async () => {
    const job = jobRequest({ skills: ["gpu"], points: 3 });
    return (await submitJob(c, testCaller(orgId), { job, idempotencyKey: null, parent: null })).jobId;
  };
  const reasons = async (jobId: string) =>
    (await explain(orgId, jobId)).workers.map(({ name, reason }) => [name, reason]);
  const first = await submit();
  expect(await reasons(first)).toEqual([
    ["able", null],
    ["too-small", "points"],
    ["no-skill", "skills"],
  ]);
  await dispatcher.refresh(orgId);
  expect((await able.offers(1))[0]?.fence.jobId).toBe(first);
  expect((await explain(orgId, first)).summary).toMatch(/^It is offered to able since /);
  const second = await submit();
  expect(await reasons(second)).toEqual([
    ["able", "points-full"],
    ["too-small", "points"],
    ["no-skill", "skills"],
  ]);
  await dispatcher.stop();
});

describe("a job that does not wait", () => {
  test("runs, where and since when", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "w1" });
    const jobId = await insertShaped(db, orgId, {
      state: JobState.running,
      worker: { workerId },
      isCancelRequested: true,
    });
    const found = await explain(orgId, jobId);
    expect(found.summary).toMatch(
      /^It runs on w1 since .*Z \(attempt 1\); its cancel waits for the worker to stop\.$/,
    );
    expect(found).toMatchObject({ gates: [{ name: "state", isOpen: false }], workers: [], releases: [] });
  });

  test("has ended, and how; a dead one can be run again", async () => {
    const orgId = await db.orgId();
    const { jobId } = await insertJob(db, orgId, { state: JobState.dead });
    await insertAttempt(db, orgId, jobId, {
      outcome: Outcome.failed,
      state: JobState.dead,
      failures: 3,
      error: { code: "EXIT", message: "exit 1" },
    });
    const found = await explain(orgId, jobId);
    expect(found.summary).toMatch(/^It died .*Z after 3 failures: exit 1\.$/);
    expect(found.releases).toEqual([`Run it again: muster job retry ${encodeId("job", jobId)}`]);
  });

  test("is not found, in another org neither", async () => {
    const orgId = await db.orgId();
    const jobId = await insertShaped(db, await db.orgId());
    await expect(explain(orgId, jobId)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    const c = testCoordinator(db);
    for (const externalId of ["nobody's", "\0"]) {
      await expect(explainJob(c, { orgId }, { jobId: null, externalId })).rejects.toMatchObject({
        reason: "JOB_NOT_FOUND",
      });
    }
  });
});
