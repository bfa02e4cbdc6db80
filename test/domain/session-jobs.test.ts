import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listAttempts } from "../../server/domain/attempts.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, retryJob, submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, endLeases } from "../../server/domain/leases.ts";
import { parkJob, unparkJob } from "../../server/domain/parking.ts";
import { putProject } from "../../server/domain/projects.ts";
import type { PublishedSession } from "../../server/domain/rules/publications.ts";
import type { LeaseEvent } from "../../server/domain/rules/transitions.ts";
import { archiveSession } from "../../server/domain/sessions.ts";
import { lapseAvoids, promoteDueJobs } from "../../server/maintain/due.ts";
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

const session = (sessionId: string, more: Partial<PublishedSession> = {}): PublishedSession => ({
  sessionId,
  project: "p",
  label: "",
  agent: "",
  agentSessionId: "a",
  state: 1,
  role: "",
  terminalTarget: "",
  activeAt: null,
  isArchived: false,
  saysPrimary: false,
  ...more,
});

/** A job of a project, leased in the primary one of two sessions of one worker. */
async function leased() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  await putProject(c, caller, { name: "p", maxOpenPrs: null, repository: null });
  const dispatcher = testDispatcher(c);
  const sessions = [session("main", { saysPrimary: true }), session("side")];
  const worker = await attachWorker(c, orgId, {
    name: "owner",
    hello: hello({ published: { projects: [], sessions, refused: [] } }),
    dispatcher,
  });
  const { jobId } = await submitJob(c, caller, {
    job: jobRequest({ project: "p", target: { type: "project" } }),
    idempotencyKey: null,
    parent: null,
  });
  let count = 0;
  const take = async () => {
    await dispatcher.refresh(orgId);
    const grant = (await worker.offers(++count))[count - 1];
    if (!grant) throw new Error("offered");
    return grant;
  };
  const end = async (event: LeaseEvent) => {
    const grant = worker.offered[count - 1];
    if (!grant) throw new Error("offered before");
    await endLeases(c, orgId, [{ fence: grant.fence, event, reason: "" }]);
    worker.link.drop(grant.fence.leaseId);
  };
  const target = async () => {
    const [row] = await db.admin`select s.target, q.session_id from muster.job_queue q
      join muster.shapes s using (org_id, shape_id) where org_id = ${orgId} and job_id = ${jobId}`;
    return [row?.["target"], row?.["session_id"]];
  };
  await take();
  return { orgId, caller, dispatcher, worker, jobId, take, end, target };
}

const parked = { type: "parked", wakeAfterMs: null } as const;
const failed = { type: "failed", isRetryable: true, isTimedOut: false, retryAfterMs: null } as const;

describe("a job of a project's session", () => {
  test("is granted with the session, which its row, its attempt and its views name", async () => {
    const { orgId, caller, worker, jobId, target, dispatcher } = await leased();
    expect(worker.offered[0]?.sessionId).toBe("main");
    expect(await target()).toEqual(["project:p", "main"]);
    const view = () => getJob(c, caller, { jobId, externalId: null, isFull: false });
    const attempts = async () =>
      (await listAttempts(c, caller, { jobId, pageSize: 0, pageToken: "" })).items.map(
        (one) => one.sessionId,
      );
    expect((await view()).sessionId).toBe("main");
    expect(await attempts()).toEqual(["main"]);
    const [grant] = worker.offered;
    if (!grant) throw new Error("offered");
    await createResultBatcher(c).add(orgId, {
      fence: grant.fence,
      resultId: db.newId(),
      event: { type: "succeeded" },
      ...{ result: "1", error: null, prUrl: null, lastSequence: 0, reason: null, hasProgress: false },
    });
    expect((await view()).sessionId).toBe("main");
    expect(await attempts()).toEqual(["main"]);
    await dispatcher.stop();
  });

  test.each<LeaseEvent>([
    { type: "declined", coolDownMs: 1_000 },
    { type: "offer-timed-out" },
    { type: "released" },
    { type: "lost", isFleetEvent: false },
    failed,
  ])("is the project's again after %j", async (event) => {
    const { end, target, dispatcher } = await leased();
    await end(event);
    expect(await target()).toEqual(["project:p", null]);
    await dispatcher.stop();
  });
});

describe("a job that its handler parked", () => {
  test("goes back to its session, or to the one that the handler named", async () => {
    const own = await leased();
    await own.end(parked);
    expect(await own.target()).toEqual(["session:main", "main"]);
    const other = await leased();
    await other.end({ ...parked, sessionId: "side" });
    expect(await other.target()).toEqual(["session:side", "side"]);
    await unparkJob(c, other.caller, { jobId: other.jobId, reason: "", requestId: "" });
    expect((await other.take()).sessionId).toBe("side");
    await Promise.all([own.dispatcher.stop(), other.dispatcher.stop()]);
  });

  test.each<LeaseEvent>([
    { type: "declined", coolDownMs: 1_000 },
    { type: "offer-timed-out" },
    { type: "released" },
    { type: "lost", isFleetEvent: false },
    parked,
  ])("stays its session's after %j, and after an operator's hold", async (event) => {
    const { orgId, caller, jobId, take, end, target, dispatcher } = await leased();
    const steer = { jobId, reason: "", requestId: "" };
    await end(parked);
    await unparkJob(c, caller, steer);
    await take();
    await end(event);
    expect(await target()).toEqual(["session:main", "main"]);
    if (event.type === "parked") await unparkJob(c, caller, steer);
    await parkJob(c, caller, { ...steer, until: null });
    await unparkJob(c, caller, steer);
    expect(await target()).toEqual(["session:main", "main"]);
    await lapseAvoids(c, orgId);
    expect((await take()).sessionId).toBe("main");
    await dispatcher.stop();
  });

  test("starts anew, where it was submitted for, after a failure and after a replay", async () => {
    const { orgId, caller, jobId, take, end, target, dispatcher } = await leased();
    await end(parked);
    await unparkJob(c, caller, { jobId, reason: "", requestId: "" });
    await take();
    await end(failed);
    expect(await target()).toEqual(["project:p", null]);
    await db.advanceClock(10 * 60_000);
    await db.admin`update muster.links set seen_at = muster.muster_clock() where org_id = ${orgId}`;
    await promoteDueJobs(c, orgId, AbortSignal.timeout(10_000));
    await take();
    await end(parked);
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    await retryJob(c, caller, { jobId, reason: "" });
    expect(await target()).toEqual(["project:p", null]);
    await dispatcher.stop();
  });
});

test("a job that its only possible worker lost goes back there, however many others there are", async () => {
  const { orgId, dispatcher, end, take } = await leased();
  await attachWorker(c, orgId, { name: "bystander", dispatcher });
  await end({ type: "lost", isFleetEvent: false });
  await lapseAvoids(c, orgId);
  expect((await take()).fence.attempt).toBe(2);
  await dispatcher.stop();
});

test("a claim gives no job to a session that was archived since its route was read", async () => {
  const { orgId, caller, dispatcher, end, worker, target } = await leased();
  await end({ type: "offer-timed-out" });
  // The dispatcher was not told: it tries, and the database refuses.
  await archiveSession(c, caller, { sessionId: "main", reason: "" });
  await dispatcher.refresh(orgId);
  await expect
    .poll(() => dispatcher.routes.routeOf(orgId, { target: "project:p" }))
    .toMatchObject({
      sessionId: "side",
    });
  await dispatcher.refresh(orgId);
  expect((await worker.offers(2))[1]?.sessionId).toBe("side");
  expect(await target()).toEqual(["project:p", "side"]);
  await dispatcher.stop();
});
