import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAttentionReader } from "../../server/domain/attention.ts";
import { fireDueSchedules } from "../../server/domain/fire-schedules.ts";
import { backfillSchedule, listFires, triggerSchedule } from "../../server/domain/fires.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, submitJob } from "../../server/domain/jobs.ts";
import { deleteProject, putProject } from "../../server/domain/projects.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import type { ScheduleSpec } from "../../server/domain/rules/schedules.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { getSchedule, pauseSchedule, putSchedule, resumeSchedule } from "../../server/domain/schedules.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { jobRequest } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
let peers: readonly TestCoordinator[];
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
  peers = [c, testCoordinator(db), testCoordinator(db)];
});
afterAll(() => db.close());

const minuteMs = 60_000;
const signal = () => AbortSignal.timeout(20_000);

/** An org whose clock stands 10 s after a minute, with what is done to its schedules. */
async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  await db.advanceClock(minuteMs - (db.nowMs() % minuteMs) + 10_000);
  const put = (spec: Partial<ScheduleSpec>) =>
    putSchedule(c, caller, {
      spec: {
        ...{ name: "s", cron: "* * * * *", zone: "UTC", jitterMs: 0, startAt: null, endAt: null },
        ...{ overlap: "allow", catchUp: "one", catchUpLimit: 10, isPaused: false, labels: {} },
        job: jobRequest(),
        ...spec,
      },
      ...{ etag: "", mayCreate: true, isOnlyNew: false, isDryRun: false, reason: "", requestId: "" },
    });
  const fire = () => fireDueSchedules(c, orgId, signal());
  const pass = async (ms: number) => {
    await db.advanceClock(ms);
    await fire();
  };
  /** The history, oldest first. */
  const fires = async (name = "s") => {
    const page = { name, outcome: null, pageSize: 1_000, pageToken: "" };
    return [...(await listFires(c, caller, page)).items].reverse();
  };
  const outcomes = async (name?: string) => (await fires(name)).map(({ outcome }) => outcome);
  const jobs = async (name?: string) => (await fires(name)).flatMap(({ jobId }) => jobId ?? []);
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: true });
  const cancel = (jobId: string) => cancelJob(c, caller, { jobId, reason: "", isForced: true });
  const liveJobs = async () => {
    const [row] = await db.admin`select count(*)::int as n from muster.job_queue where org_id = ${orgId}`;
    return Number(row?.["n"]);
  };
  return { orgId, caller, put, fire, pass, fires, outcomes, jobs, read, cancel, liveJobs };
}

describe("a schedule whose time has come", () => {
  test("makes one job, as it is asked for, and moves on", async () => {
    const { put, pass, fires, read, caller } = await org();
    await put({ job: jobRequest({ kind: "report", title: "t", priority: 200, labels: { a: "b" } }) });
    await pass(30_000);
    expect(await fires()).toEqual([]);
    await pass(minuteMs);
    const [fire, ...others] = await fires();
    expect(others).toEqual([]);
    expect(fire).toMatchObject({ outcome: "submitted", cause: "due", jobState: JobState.ready, count: 1 });
    const { spec } = await read(fire?.jobId ?? "");
    expect(spec).toMatchObject({
      kind: "report",
      title: "t",
      priority: 200,
      labels: { a: "b", schedule: "s" },
    });
    const { nextFireAt, lastFire } = await getSchedule(c, caller, "s");
    expect(nextFireAt?.getTime()).toBe((fire?.fireAt.getTime() ?? 0) + minuteMs);
    expect(lastFire?.jobId).toBe(fire?.jobId);
  });

  test("makes each job once, whatever number of coordinators look at once, and whenever", async () => {
    const { orgId, put, fires, liveJobs } = await org();
    const names = Array.from({ length: 40 }, (_, n) => `s${n}`);
    await Promise.all(names.map((name, n) => put({ name, cron: n % 2 === 0 ? "* * * * *" : "*/2 * * * *" })));
    for (let round = 0; round < 6; round++) {
      await db.advanceClock(29_000 + round * 1_000);
      await Promise.all([...peers, ...peers].map((one) => fireDueSchedules(one, orgId, signal())));
    }
    await Promise.all(peers.map((one) => fireDueSchedules(one, orgId, signal())));
    let made = 0;
    for (const name of names) {
      const all = await fires(name);
      expect(all.map(({ outcome }) => outcome)).toEqual(all.map(() => "submitted"));
      const gaps = all.slice(1).map((fire, n) => fire.fireAt.getTime() - (all[n]?.fireAt.getTime() ?? 0));
      expect(new Set(gaps).size).toBeLessThanOrEqual(1);
      expect(all.length).toBeGreaterThan(0);
      made += all.length;
    }
    expect(await liveJobs()).toBe(made);
  });

  test("fires with its jitter: the same part of it each time that it is asked", async () => {
    const { put, pass, fires, caller } = await org();
    await put({ cron: "*/10 * * * *", jitterMs: 9 * minuteMs });
    const { nextFireAt } = await getSchedule(c, caller, "s");
    const [row] = await db.admin`select due_at from muster.schedules where org_id = ${caller.orgId}`;
    const lateMs = new Date(row?.["due_at"]).getTime() - (nextFireAt?.getTime() ?? 0);
    expect(lateMs).toBeGreaterThanOrEqual(0);
    expect(lateMs).toBeLessThan(9 * minuteMs);
    await pass((nextFireAt?.getTime() ?? 0) + lateMs - db.nowMs() - 2_000);
    expect(await fires()).toEqual([]);
    await pass(3_000);
    expect((await fires())[0]).toMatchObject({ fireAt: nextFireAt, outcome: "submitted" });
  });

  test("ends when its end has come", async () => {
    const { put, pass, outcomes, caller } = await org();
    await put({ endAt: new Date(db.nowMs() + minuteMs) });
    await pass(minuteMs);
    await pass(minuteMs);
    expect(await outcomes()).toEqual(["submitted"]);
    expect((await getSchedule(c, caller, "s")).nextFireAt).toBeNull();
  });

  test("counts @every from its start", async () => {
    const { put, pass, fires } = await org();
    const startAt = new Date(Math.ceil((db.nowMs() + 20_000) / 1_000) * 1_000);
    await put({ cron: "@every 25s", startAt });
    for (let n = 0; n < 8; n++) await pass(10_000);
    expect((await fires()).map(({ fireAt }) => fireAt.getTime() - startAt.getTime())).toEqual([
      0, 25_000, 50_000,
    ]);
  });
});

describe("what was missed in an outage", () => {
  test.each([
    ["none", 10, ["missed", "missed", "missed", "missed"], ["due", "due", "due", "due"]],
    ["one", 10, ["missed", "missed", "missed", "submitted"], ["due", "due", "due", "catch-up"]],
    ["all", 2, ["missed", "missed", "submitted", "submitted"], ["due", "due", "catch-up", "catch-up"]],
    ["all", 10, ["submitted", "submitted", "submitted", "submitted"], Array(4).fill("catch-up")],
  ] as const)(
    "%s, at most %i: is in the history, and made up so",
    async (catchUp, catchUpLimit, expected, causes) => {
      const { put, pass, outcomes, fires } = await org();
      const hour = new Date(db.nowMs()).getUTCHours();
      const hours = [1, 2, 3, 4].map((n) => (hour + n) % 24).join(",");
      await put({ cron: `0 ${hours} * * *`, catchUp, catchUpLimit });
      await pass(4.5 * 60 * minuteMs);
      expect(await outcomes()).toEqual(expected);
      expect((await fires()).map(({ cause }) => cause)).toEqual(causes);
      await pass(1_000);
      expect(await outcomes()).toHaveLength(4);
    },
  );

  test("one: is not made up where a later time is on time", async () => {
    const { put, pass, outcomes } = await org();
    await put({ catchUp: "one" });
    await pass(5 * minuteMs);
    expect(await outcomes()).toEqual(["missed", "missed", "missed", "missed", "submitted"]);
  });

  test("a long one shares entries, which say how many they stand for; the last are made up", async () => {
    const { put, pass, fires } = await org();
    await put({ catchUp: "all", catchUpLimit: 3 });
    const minutes = 3 * 24 * 60;
    await pass(minutes * minuteMs);
    const all = await fires();
    expect(all.length).toBeLessThan(20);
    expect(all.reduce((sum, { count }) => sum + count, 0)).toBe(minutes);
    const made = all.filter(({ outcome }) => outcome === "submitted");
    expect(made.map(({ cause }) => cause)).toEqual(["catch-up", "catch-up", "catch-up", "due"]);
    expect(all.at(-1)).toBe(made.at(-1));
  }, 30_000);

  test("while it was paused is not made up, whatever the policy", async () => {
    const { put, pass, outcomes, caller } = await org();
    await put({ catchUp: "all", catchUpLimit: 100 });
    await pauseSchedule(c, caller, { name: "s", reason: "" });
    await pass(10 * minuteMs);
    await resumeSchedule(c, caller, { name: "s", reason: "" });
    await pass(0);
    expect(await outcomes()).toEqual([]);
    await pass(minuteMs);
    expect(await outcomes()).toEqual(["submitted"]);
  });
});

describe("while an earlier job has not ended", () => {
  test("skip: makes none, and says which; goes on after its end", async () => {
    const { put, pass, fires, outcomes, cancel } = await org();
    await put({ overlap: "skip" });
    await pass(minuteMs);
    await pass(minuteMs);
    const [first, second] = await fires();
    expect(second?.outcome).toBe("skipped");
    expect(second?.note).toMatch(/^job_\w+ has not ended$/);
    await cancel(first?.jobId ?? "");
    await pass(minuteMs);
    expect(await outcomes()).toEqual(["submitted", "skipped", "submitted"]);
  });

  test("queue: one waits for it, however it ends, and no second", async () => {
    const { put, pass, outcomes, jobs, read, cancel } = await org();
    await put({ overlap: "queue" });
    for (let n = 0; n < 3; n++) await pass(minuteMs);
    expect(await outcomes()).toEqual(["submitted", "submitted", "skipped"]);
    const [first = "", second = ""] = await jobs();
    expect((await read(second)).state).toBe(JobState.blocked);
    await cancel(first);
    expect((await read(second)).state).toBe(JobState.ready);
    await pass(minuteMs);
    const [, , third = ""] = await jobs();
    expect((await read(third)).state).toBe(JobState.blocked);
  });

  test("replace: cancels it, and starts when it has ended", async () => {
    const { put, pass, outcomes, jobs, read } = await org();
    await put({ overlap: "replace" });
    for (let n = 0; n < 3; n++) await pass(minuteMs);
    expect(await outcomes()).toEqual(["submitted", "submitted", "submitted"]);
    const states = await Promise.all((await jobs()).map(async (jobId) => (await read(jobId)).state));
    expect(states).toEqual([JobState.cancelled, JobState.cancelled, JobState.ready]);
    const [first = ""] = await jobs();
    expect((await read(first)).reason).toBe("replaced by the next fire of the schedule s");
  });

  test("allow: makes another beside it", async () => {
    const { put, pass, outcomes, liveJobs } = await org();
    await put({ overlap: "allow" });
    for (let n = 0; n < 3; n++) await pass(minuteMs);
    expect(await outcomes()).toEqual(["submitted", "submitted", "submitted"]);
    expect(await liveJobs()).toBe(3);
  });
});

describe("a schedule whose job cannot be submitted any more", () => {
  test("says why in its history and to people, stops no other, and goes on when it can be", async () => {
    const { orgId, caller, put, pass, outcomes, fires } = await org();
    const project = (name: string) => putProject(c, caller, { name, maxOpenPrs: null, repository: null });
    await project("acme/web");
    await put({ name: "broken", job: jobRequest({ project: "acme/web" }) });
    await put({ name: "whole" });
    await deleteProject(c, caller, { name: "acme/web", reason: "" });
    await pass(minuteMs);
    await pass(minuteMs);
    expect(await outcomes("whole")).toEqual(["submitted", "submitted"]);
    expect(await outcomes("broken")).toEqual(["failed", "failed"]);
    expect((await fires("broken"))[0]).toMatchObject({ jobId: null, errorReason: "PROJECT_NOT_FOUND" });
    const attention = async () =>
      (await createAttentionReader(c).listAttention({ orgId }, { causes: [] })).items.map(
        ({ target, summary }) => `${target} ${summary}`,
      );
    expect((await attention()).filter((one) => one.startsWith("schedule:"))).toEqual([
      expect.stringContaining("schedule:broken The schedule broken fires, and its job cannot be submitted"),
    ]);
    await project("acme/web");
    await pass(minuteMs);
    expect(await outcomes("broken")).toEqual(["failed", "failed", "submitted"]);
    expect((await attention()).filter((one) => one.startsWith("schedule:"))).toEqual([]);
  });

  test("because a job that it depends on is gone, is one of its own", async () => {
    const { caller, put, pass, outcomes } = await org();
    const dependsOn: JobRequest["dependsOn"] = [{ type: "external", externalId: "import" }];
    await put({ name: "a", job: jobRequest({ dependsOn }) });
    await put({ name: "b" });
    await pass(minuteMs);
    expect([await outcomes("a"), await outcomes("b")]).toEqual([["failed"], ["submitted"]]);
    await submitJob(c, caller, {
      ...{ job: jobRequest({ externalId: "import" }), idempotencyKey: null, parent: null },
    });
    await pass(minuteMs);
    expect(await outcomes("a")).toEqual(["failed", "submitted"]);
  });
});

describe("by hand", () => {
  test("a trigger makes one job now, once for a request id, also of one that is paused", async () => {
    const { caller, put, fires } = await org();
    await put({ isPaused: true });
    const trigger = (requestId: string) =>
      triggerSchedule(c, caller, { name: "s", overlap: null, reason: "", requestId });
    const first = await trigger("r");
    expect(first).toMatchObject({ outcome: "submitted", cause: "trigger", jobState: JobState.ready });
    expect((await trigger("r")).jobId).toBe(first.jobId);
    const others = await Promise.all([trigger("a"), trigger("b"), trigger("")]);
    expect(new Set([first, ...others].map(({ jobId }) => jobId)).size).toBe(4);
    expect(await fires()).toHaveLength(4);
  });

  test("a trigger goes by the overlap policy, unless it has one of its own", async () => {
    const { caller, put } = await org();
    await put({ overlap: "skip", isPaused: true });
    const trigger = (overlap: "allow" | null) =>
      triggerSchedule(c, caller, { name: "s", overlap, reason: "", requestId: "" });
    const outcomes = [await trigger(null), await trigger(null), await trigger("allow"), await trigger(null)];
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["submitted", "skipped", "submitted", "skipped"]);
  });

  test("a trigger of what cannot be submitted is refused with the reason, and leaves nothing", async () => {
    const { caller, put, fires } = await org();
    await putProject(c, caller, { name: "p", maxOpenPrs: null, repository: null });
    await put({ job: jobRequest({ project: "p" }), isPaused: true });
    await deleteProject(c, caller, { name: "p", reason: "" });
    const trigger = triggerSchedule(c, caller, { name: "s", overlap: null, reason: "", requestId: "" });
    await expect(trigger).rejects.toMatchObject({ reason: "PROJECT_NOT_FOUND" });
    expect(await fires()).toEqual([]);
  });

  test("a backfill makes the jobs of times that made none, each once", async () => {
    const { caller, put, pass, fires, outcomes } = await org();
    await put({ overlap: "skip", catchUp: "none" });
    const startAt = new Date(db.nowMs());
    await pass(minuteMs);
    await pass(5 * minuteMs);
    expect(await outcomes()).toEqual(["submitted", "missed", "missed", "missed", "missed", "skipped"]);
    const endAt = new Date(db.nowMs());
    const backfill = (isDryRun: boolean) =>
      backfillSchedule(c, caller, { name: "s", startAt, endAt, overlap: "allow", isDryRun, reason: "" });
    expect(await backfill(true)).toMatchObject({ submitted: 5, existing: 1 });
    const both = await Promise.all([backfill(false), backfill(false)]);
    expect(both.map(({ submitted, existing }) => [submitted, existing]).sort()).toEqual([
      [0, 6],
      [5, 1],
    ]);
    expect(await outcomes()).toEqual(Array(6).fill("submitted"));
    expect(new Set((await fires()).map(({ jobId }) => jobId)).size).toBe(6);
  });

  test("a backfill of too much, or of what is to come, is refused", async () => {
    const { caller, put } = await org();
    await put({});
    const backfill = (fromMs: number, toMs: number) =>
      backfillSchedule(c, caller, {
        ...{ name: "s", overlap: "allow", isDryRun: false, reason: "" },
        ...{ startAt: new Date(db.nowMs() + fromMs), endAt: new Date(db.nowMs() + toMs) },
      });
    await expect(backfill(-1_002 * minuteMs, 0)).rejects.toThrow("leaves more than 1000 fire times");
    await expect(backfill(0, minuteMs)).rejects.toThrow("endTime must have passed");
    await expect(backfill(0, -minuteMs)).rejects.toThrow("endTime must be after startTime");
  });
});
