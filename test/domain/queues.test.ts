import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtInKind } from "../../server/domain/built-in-kinds.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher } from "../../server/domain/leases.ts";
import { parkJob } from "../../server/domain/parking.ts";
import { getQueue, listQueues, pauseQueue, resumeQueue, setQueueLimits } from "../../server/domain/queues.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import type { QueueName } from "../../server/domain/rules/limits.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { promoteDueJobs } from "../../server/maintain/due.ts";
import { countGates, openGates } from "../../server/maintain/gates.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

const queue = (name: string): QueueName => ({ type: "queue", name });
const pool = (name: string): QueueName => ({ type: "pool", name });
const marker = "marker";
const noLimits = { running: null, startRate: null };

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const context = { ...c, withdrawOffers: async () => 0 };
  const dispatcher = testDispatcher(c);
  const said = hello();
  const declared = { ...said.declared, kinds: ["test.echo", marker], slots: 50, points: 50 };
  const worker = await attachWorker(c, orgId, { name: "w", hello: { ...said, declared }, dispatcher });
  const submit = async (overrides: Partial<JobRequest> = {}) =>
    (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey: null, parent: null })).jobId;
  const results = createResultBatcher(c);
  const offered = () => worker.offered.filter(({ kind }) => kind !== marker).map(({ fence }) => fence.jobId);
  return {
    orgId,
    caller,
    dispatcher,
    worker,
    submit,
    read: (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: false }),
    pause: (of: QueueName, until: Date | null = null, reason = "why") =>
      pauseQueue(context, caller, { ...of, until, reason }),
    resume: (of: QueueName) => resumeQueue(c, caller, { ...of, reason: "" }),
    limit: (of: QueueName, limits: Parameters<typeof setQueueLimits>[2]["limits"]) =>
      setQueueLimits(c, caller, { ...of, limits, reason: "" }),
    get: (of: QueueName) => getQueue(c, caller, of),
    list: async (type: QueueName["type"]) =>
      (await listQueues(c, caller, { type, pageSize: 0, pageToken: "" })).items.filter(
        ({ name }) => name !== marker && builtInKind(name) === undefined,
      ),
    /**
     * How many jobs the worker was offered after one more look. The marker has the lowest priority: what else could
     * be offered was offered before it.
     */
    async dispatch() {
      const last = await submit({ kind: marker, queue: marker, priority: 0 });
      await dispatcher.refresh(orgId);
      await expect.poll(() => worker.offered.some(({ fence }) => fence.jobId === last)).toBe(true);
      return offered().length;
    },
    offered,
    /** Ends an offer that the worker got. */
    async finish(jobId: string, event: Parameters<(typeof results)["add"]>[1]["event"], reason = "") {
      const grant = worker.offered.find(({ fence }) => fence.jobId === jobId);
      if (!grant) throw new Error("the job was not offered");
      const answer = await results.add(orgId, {
        ...{ fence: grant.fence, event, result: "1", error: null, prUrl: null, resultId: randomUUID() },
        ...{ lastSequence: 0, reason, hasProgress: false },
      });
      worker.link.drop(grant.fence.leaseId);
      return answer;
    },
    sweep: async () => {
      await openGates(c, orgId);
      await promoteDueJobs(c, orgId, AbortSignal.timeout(10_000));
    },
    audits: async () =>
      (
        await db.admin`select action, target, reason from muster.audit_log
          where org_id = ${orgId} and action like 'queue.%' order by at, audit_id`
      ).map((row) => `${row["action"]} ${row["target"]} ${row["reason"]}`.trim()),
  };
}

describe("a queue", () => {
  test("is there with its first job, and counts without looking at jobs", async () => {
    const { submit, get, list, dispatch, finish } = await org();
    await expect(get(queue("renders"))).rejects.toMatchObject({ reason: "QUEUE_NOT_FOUND" });
    const first = await submit({ queue: "renders" });
    await submit({ queue: "renders", runAt: new Date(db.nowMs() + 3_600_000) });
    await submit({ queue: "other" });
    const before = await get(queue("renders"));
    expect(before).toMatchObject({
      ...{ type: "queue", name: "renders", limits: noLimits, pause: null, leased: 0 },
      counts: { ready: 1, scheduled: 1, offered: 0, submitted: 2, submittedLastMinute: 2, succeeded: 0 },
    });
    expect(Math.abs((before.oldestReadyAt?.getTime() ?? 0) - db.nowMs())).toBeLessThan(10_000);
    await dispatch();
    expect(await get(queue("renders"))).toMatchObject({
      ...{ leased: 1, oldestReadyAt: null },
      counts: { ready: 0, offered: 1 },
    });
    await finish(first, { type: "succeeded" });
    expect((await get(queue("renders"))).counts).toMatchObject({
      ...{ ready: 0, offered: 0, running: 0, scheduled: 1, succeeded: 1, endedLastMinute: 1 },
    });
    expect((await list("queue")).map(({ name }) => name)).toEqual(["other", "renders"]);
  });

  test("says when the oldest of its ready jobs became ready, whatever their priority", async () => {
    const { orgId, submit, get } = await org();
    const old = await submit({ queue: "q", priority: 10 });
    await submit({ queue: "q", priority: 200 });
    await submit({ queue: "q", priority: 100, skills: ["gpu"] });
    await submit({ queue: "p", priority: 100, skills: ["gpu"] });
    const at = new Date(db.nowMs() - 60_000);
    await db.admin`update muster.job_queue set ready_at = ${at} where org_id = ${orgId} and job_id = ${old}`;
    expect((await get(queue("q"))).oldestReadyAt).toEqual(at);
    expect((await get(queue("p"))).oldestReadyAt?.getTime()).toBeGreaterThan(at.getTime());
  });

  test("that is paused offers nothing until it is resumed, and says why", async () => {
    const { submit, pause, resume, get, dispatch, audits, orgId } = await org();
    const { queue: paused, withdrawn } = await pause(queue("default"), null, "bad deploy");
    expect(paused).toMatchObject({ pause: { reason: "bad deploy", resumeAt: null }, leased: 0 });
    expect(withdrawn).toBe(0);
    await submit();
    expect(await dispatch()).toBe(0);
    expect((await resume(queue("default"))).pause).toBeNull();
    expect(await dispatch()).toBe(1);
    expect((await get(queue("default"))).leased).toBe(1);
    expect(await audits()).toEqual(["queue.pause queue:default bad deploy", "queue.resume queue:default"]);
    expect(c.woken.filter(([wake, of]) => wake === "gates" && of === orgId)).toHaveLength(2);
  });

  test("that is paused until a time goes on then by itself", async () => {
    const { orgId, submit, pause, get, dispatch, sweep } = await org();
    await pause(queue("default"), new Date(db.nowMs() + 60_000));
    await submit();
    await sweep();
    expect(await dispatch()).toBe(0);
    await db.advanceClock(61_000);
    expect((await get(queue("default"))).pause).toBeNull();
    await sweep();
    expect(await dispatch()).toBe(1);
    expect(await db.admin`select 1 from muster.gates where org_id = ${orgId}`).toHaveLength(0);
  });

  test("may be limited before its first job, and keeps its limits when it is resumed", async () => {
    const { submit, limit, pause, resume, get, dispatch, list } = await org();
    const limits = { running: 2, startRate: { jobs: 100, periodMs: 60_000 } };
    expect((await limit(queue("new"), limits)).limits).toEqual(limits);
    await pause(queue("new"));
    expect((await resume(queue("new"))).limits).toEqual(limits);
    for (let n = 0; n < 5; n++) await submit({ queue: "new" });
    expect(await dispatch()).toBe(2);
    expect(await get(queue("new"))).toMatchObject({ leased: 2, counts: { ready: 3, offered: 2 } });
    expect((await limit(queue("new"), noLimits)).limits).toEqual(noLimits);
    expect(await dispatch()).toBe(5);
    expect((await list("queue")).map(({ name }) => name)).toEqual(["new"]);
  });

  test("lets no more start than its rate says", async () => {
    const { submit, limit, dispatch } = await org();
    await limit(queue("default"), { running: null, startRate: { jobs: 3, periodMs: 60_000 } });
    for (let n = 0; n < 10; n++) await submit();
    expect(await dispatch()).toBe(3);
    expect(await dispatch()).toBe(3);
    await db.advanceClock(20_001);
    expect(await dispatch()).toBe(4);
    await db.advanceClock(600_000);
    expect(await dispatch()).toBe(7);
  });

  test.each([
    ["a name of 300 characters", { ...queue("x".repeat(300)), until: null, reason: "" }, ["name"]],
    ["two mistakes at once", { ...queue(""), until: null, reason: "x".repeat(501) }, ["name", "reason"]],
    ["a time that has passed", { ...queue("q"), until: new Date(0), reason: "" }, ["until"]],
    ["a time too far away", { ...queue("q"), until: new Date(Date.now() + 4e10), reason: "" }, ["until"]],
  ])("is not paused by %s", async (_, request, fields) => {
    const orgId = await db.orgId();
    const pausing = pauseQueue({ ...c, withdrawOffers: async () => 0 }, testCaller(orgId), request);
    const error = await pausing.then(
      () => undefined,
      (reason: { violations: { field: string }[] }) => reason.violations.map(({ field }) => field),
    );
    expect(error).toEqual(fields);
    expect(await db.admin`select 1 from muster.gates where org_id = ${orgId}`).toHaveLength(0);
    expect(await db.admin`select 1 from muster.audit_log where org_id = ${orgId}`).toHaveLength(0);
  });

  test("that nothing names cannot be resumed, and another org's is not there", async () => {
    const one = await org();
    const other = await org();
    await one.pause(queue("q"));
    await expect(other.resume(queue("q"))).rejects.toMatchObject({ reason: "QUEUE_NOT_FOUND" });
    await expect(other.get(queue("q"))).rejects.toMatchObject({ reason: "QUEUE_NOT_FOUND" });
    expect((await one.get(queue("q"))).pause).not.toBeNull();
  });

  test("list comes in pages", async () => {
    const { caller, limit } = await org();
    for (const name of ["c", "a", "b"]) await limit({ type: "pool", name }, { running: 1, startRate: null });
    const first = await listQueues(c, caller, { type: "pool", pageSize: 2, pageToken: "" });
    expect(first.items.map(({ name }) => name)).toEqual(["a", "b"]);
    const token = first.nextPageToken;
    const rest = await listQueues(c, caller, { type: "pool", pageSize: 2, pageToken: token });
    expect([rest.items.map(({ name }) => name), rest.nextPageToken]).toEqual([["c"], ""]);
    const wrong = listQueues(c, caller, { type: "kind", pageSize: 2, pageToken: token });
    await expect(wrong).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  });
});

describe("a kind and a pool", () => {
  test("are limited like a queue, across queues", async () => {
    const { submit, limit, dispatch, get, list } = await org();
    await limit({ type: "kind", name: "test.echo" }, { running: 2, startRate: null });
    await submit({ queue: "a", pool: "acme" });
    await submit({ queue: "b" });
    await submit({ queue: "c" });
    expect(await dispatch()).toBe(2);
    expect(await get({ type: "kind", name: "test.echo" })).toMatchObject({ leased: 2, counts: null });
    expect((await list("kind")).map(({ name }) => name)).toEqual(["test.echo"]);
    expect((await list("pool")).map(({ name }) => name)).toEqual(["acme"]);
  });
});

describe("a park with the pool", () => {
  const quota = (wakeAfterMs: number | null) => ({ type: "parked" as const, wakeAfterMs, isPool: true });

  test("holds all jobs of the pool until the time, and spends no attempt", async () => {
    const { submit, read, get, dispatch, finish, sweep, offered } = await org();
    const first = await submit({ pool: "acme" });
    expect(await dispatch()).toBe(1);
    const second = await submit({ pool: "acme" });
    const free = await submit();
    await finish(first, quota(60_000), "429 from acme");
    expect(await read(first)).toMatchObject({ state: JobState.parked, reason: "429 from acme" });
    const { pause } = await get(pool("acme"));
    expect(pause).toMatchObject({ reason: "429 from acme" });
    const wakeAt = (await read(first)).wakeAt;
    expect(Math.abs((pause?.resumeAt?.getTime() ?? 0) - (wakeAt?.getTime() ?? 0))).toBeLessThan(1_000);
    expect(await dispatch()).toBe(2);
    expect(offered()).toEqual([first, free]);
    await db.advanceClock(62_000);
    await sweep();
    expect(await dispatch()).toBe(4);
    expect(new Set(offered().slice(2))).toEqual(new Set([first, second]));
    expect(await read(first)).toMatchObject({ failures: 0, releases: 0, attempt: 2 });
    expect((await get(pool("acme"))).pause).toBeNull();
  });

  test("without a time waits until somebody resumes the pool, who wakes what was parked for it alone", async () => {
    const { caller, submit, read, get, dispatch, finish, resume, sweep } = await org();
    const spent = await submit({ pool: "acme" });
    const alone = await submit({ pool: "acme" });
    await dispatch();
    const held = await submit({ pool: "acme" });
    await parkJob(c, caller, { jobId: held, reason: "mine", requestId: "", until: null });
    await finish(alone, { type: "parked", wakeAfterMs: null });
    await finish(spent, quota(null));
    expect((await get(pool("acme"))).pause).toMatchObject({ resumeAt: null });
    await db.advanceClock(86_400_000);
    await sweep();
    expect((await read(spent)).state).toBe(JobState.parked);
    await resume(pool("acme"));
    await sweep();
    expect((await read(spent)).state).toBe(JobState.ready);
    expect((await read(alone)).state).toBe(JobState.parked);
    expect((await read(held)).state).toBe(JobState.parked);
  });

  test("goes on early when the pool is resumed early", async () => {
    const { submit, read, dispatch, finish, resume, sweep } = await org();
    const jobId = await submit({ pool: "acme" });
    await dispatch();
    await finish(jobId, quota(3_600_000));
    await resume(pool("acme"));
    await sweep();
    expect((await read(jobId)).state).toBe(JobState.ready);
  });

  test("never shortens a pause, whoever put it", async () => {
    const { submit, get, dispatch, finish, pause } = await org();
    const [one, two, three] = [
      await submit({ pool: "acme" }),
      await submit({ pool: "acme" }),
      await submit({ pool: "acme" }),
    ];
    expect(await dispatch()).toBe(3);
    await finish(one, quota(60_000), "a minute");
    await finish(two, quota(30_000), "half of it");
    expect((await get(pool("acme"))).pause).toMatchObject({ reason: "a minute" });
    await pause(pool("acme"), null, "bills");
    await finish(three, quota(90_000), "more");
    expect((await get(pool("acme"))).pause).toMatchObject({ reason: "bills", resumeAt: null });
  });

  test("by a job that has no pool holds it alone", async () => {
    const { submit, read, list, dispatch, finish } = await org();
    const [one, two] = [await submit(), await submit()];
    expect(await dispatch()).toBe(2);
    await finish(one, quota(60_000));
    expect((await read(one)).state).toBe(JobState.parked);
    expect((await read(two)).state).toBe(JobState.offered);
    expect(await list("pool")).toEqual([]);
  });

  test("under a lease that has ended changes nothing", async () => {
    const { orgId, submit, dispatch, finish, list, get } = await org();
    const jobId = await submit({ pool: "acme" });
    await dispatch();
    await finish(jobId, { type: "released" });
    expect(await finish(jobId, quota(60_000))).toMatchObject({ status: "superseded" });
    expect((await list("pool")).map(({ pause }) => pause)).toEqual([null]);
    expect((await get(pool("acme"))).leased).toBe(0);
    expect(await db.admin`select 1 from muster.gates where org_id = ${orgId}`).toHaveLength(0);
  });
});

test("a gate whose use is wrong is corrected by the sweep while it is young, and later now and then", async () => {
  const { orgId, submit, limit, dispatch } = await org();
  await submit();
  await dispatch();
  await limit(queue("default"), { running: 5, startRate: null });
  const spoil = () => db.admin`update muster.gates set used = 4 where org_id = ${orgId}`;
  const used = async () =>
    (await db.admin`select used from muster.gates where org_id = ${orgId}`)[0]?.["used"];
  const corrections = () => c.counters.value("muster_gate_corrections_total");
  const before = corrections();
  await spoil();
  await countGates(c, orgId);
  expect(await used()).toBe(1);
  expect(corrections()).toBe(before + 1);
  await db.advanceClock(601_000);
  await countGates(c, orgId);
  await spoil();
  await countGates(c, orgId);
  expect(await used()).toBe(4);
  await db.advanceClock(301_000);
  await countGates(c, orgId);
  expect(await used()).toBe(1);
});
