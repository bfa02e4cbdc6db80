import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ActRequest, actOnJobs } from "../../server/domain/acts.ts";
import { getBatch } from "../../server/domain/batches.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { readJobFilterText } from "../../server/domain/job-lists.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, submitBatch, submitJob } from "../../server/domain/jobs.ts";
import type { RemovalContext } from "../../server/domain/removals.ts";
import type { Act, ActType } from "../../server/domain/rules/acts.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { readChanges, readRevision } from "../../server/store/changes.ts";
import { inOrg } from "../../server/store/database.ts";
import { anyJob } from "../../server/store/job-lists.ts";
import { sumTallies } from "../../server/store/status.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { onJob, onRef } from "../support/depending.ts";
import { jobRequest } from "../support/fleet.ts";
import { insertAttempt, insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;

let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});

afterAll(() => db.close());

type Asked = Partial<Omit<ActRequest, "act" | "target">> & Partial<Act>;

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const context: RemovalContext = { ...c, artifacts: { delete: async () => {} } };
  const submit = async (overrides: Partial<JobRequest> = {}) =>
    (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey: null, parent: null })).jobId;
  const batch = (jobs: readonly Partial<JobRequest>[]) =>
    submitBatch(c, caller, {
      ...{ jobs: jobs.map((job) => jobRequest(job)), title: "", idempotencyKey: null, parent: null },
    });
  const act = (type: ActType, target: readonly string[] | string, asked: Asked = {}) => {
    const { priority = null, until = null, isForced = false, reason = "why", ...others } = asked;
    return actOnJobs(context, caller, {
      act: { type, priority, until, isForced, reason },
      target:
        typeof target === "string"
          ? { text: target, filter: { ...anyJob, terms: readJobFilterText(target) } }
          : { ids: target },
      ...{ isDryRun: false, requestId: "", pageToken: "", confirmed: null },
      ...others,
    });
  };
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: false });
  const statesOf = (jobIds: readonly string[]) =>
    Promise.all(jobIds.map(async (jobId) => (await read(jobId)).state));
  const audits = async (action = "jobs.%") =>
    (
      await db.admin`select action, target, reason, details from muster.audit_log
        where org_id = ${orgId} and action like ${action} order by audit_id`
    ).map((row) => ({ ...row }));
  const ended = async (state: JobState) => {
    const { jobId } = await insertJob(db, orgId, { state });
    await insertAttempt(db, orgId, jobId, { outcome: Outcome.failed, state });
    if (state === JobState.dead) {
      await db.admin`insert into muster.dead_letters (org_id, job_id, generation, cause, fingerprint, kind)
        values (${orgId}, ${jobId}, 1, 'failures', 'f', 'shell.run')`;
    }
    return jobId;
  };
  const running = async () => {
    const workerId = await insertWorkerRow(db, orgId, { name: db.newId(), link: {} });
    return (await insertJob(db, orgId, { state: JobState.running, worker: { workerId } })).jobId;
  };
  return { orgId, caller, context, submit, batch, act, read, statesOf, audits, ended, running };
}

const { ready, scheduled, blocked, parked, cancelled, dead, succeeded } = JobState;

describe("an act on jobs by their ids", () => {
  test("does to each what the verb of one does, skips the others with why, and is one audit row", async () => {
    const { submit, running, ended, act, statesOf, read, audits } = await org();
    const others = await (await org()).submit();
    const [waits, later] = [await submit(), await submit({ runAt: new Date(db.nowMs() + 60_000) })];
    const [runs, over, none] = [await running(), await ended(succeeded), db.newId()];
    const answer = await act("cancel", [waits, later, runs, over, none, others, waits]);
    expect(answer).toMatchObject({ done: 3, skipped: 3, nextPageToken: "" });
    expect(answer.failures.map(({ jobId, reason }) => [jobId, reason])).toEqual([
      [over, "JOB_ALREADY_TERMINAL"],
      [none, "JOB_NOT_FOUND"],
      [others, "JOB_NOT_FOUND"],
    ]);
    expect(answer.matched).toEqual({
      isAtLeast: false,
      states: [
        { state: scheduled, count: 1 },
        { state: ready, count: 1 },
        { state: JobState.running, count: 1 },
        { state: succeeded, count: 1 },
      ],
    });
    expect(await statesOf([waits, later, runs])).toEqual([cancelled, cancelled, JobState.running]);
    expect(await read(runs)).toMatchObject({ isCancelRequested: true, reason: "why" });
    expect(await audits()).toEqual([
      {
        ...{ action: "jobs.cancel", target: "3 jobs", reason: "why" },
        details: expect.objectContaining({ asked: 7, done: 3, skipped: 3, isForced: false }),
      },
    ]);
  });

  test("cancels running ones at once by force", async () => {
    const { orgId, running, act, statesOf } = await org();
    const jobs = [await running(), await running()];
    expect(await act("cancel", jobs, { isForced: true })).toMatchObject({ done: 2 });
    expect(await statesOf(jobs)).toEqual([cancelled, cancelled]);
    expect(c.woken).toContainEqual(["revoked", orgId]);
  });

  test("retries what is dead, cancelled or waits, and counts batches and letters back", async () => {
    const { orgId, caller, batch, submit, ended, act, statesOf, read } = await org();
    const { batchId, jobIds } = await batch([{}, {}, {}]);
    for (const jobId of jobIds.slice(0, 2))
      await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    const [letter, well] = [await ended(dead), await ended(succeeded)];
    const later = await submit({ runAt: new Date(db.nowMs() + 60_000) });
    const answer = await act("retry", [...jobIds, letter, well, later]);
    expect(answer).toMatchObject({ done: 4, skipped: 2 });
    expect(answer.failures.map(({ reason }) => reason)).toEqual(["JOB_NOT_REPLAYABLE", "JOB_NOT_REPLAYABLE"]);
    expect(await statesOf([...jobIds, letter, later])).toEqual([ready, ready, ready, ready, ready]);
    expect(await read(jobIds[0] ?? "")).toMatchObject({ generation: 2, attempt: 1 });
    expect(await getBatch(c, caller, batchId)).toMatchObject({ pending: 3, cancelled: 0 });
    const letters = await db.admin`select 1 from muster.dead_letters where org_id = ${orgId}`;
    expect(letters).toHaveLength(0);
  });

  test("parks until a time, unparks, and gives another priority", async () => {
    const { submit, running, ended, act, read, statesOf } = await org();
    const [one, other, runs, over] = [await submit(), await submit(), await running(), await ended(dead)];
    const until = new Date(db.nowMs() + 600_000);
    expect(await act("park", [one, other, runs, over], { until })).toMatchObject({ done: 2, skipped: 2 });
    expect(Math.abs(((await read(one)).wakeAt?.getTime() ?? 0) - until.getTime())).toBeLessThan(1_000);
    expect(await act("unpark", [one, other, runs])).toMatchObject({ done: 2, skipped: 1 });
    expect(await statesOf([one, other])).toEqual([ready, ready]);
    await expect(act("park", [one], { until: new Date(0) })).rejects.toMatchObject({
      violations: [{ field: "until" }],
    });
    expect(await act("set-priority", [one, runs, over], { priority: 7 })).toMatchObject({
      done: 2,
      skipped: 1,
    });
    expect((await read(one)).spec.priority).toBe(7);
    const [row] = await db.admin`select priority from muster.job_queue where job_id = ${one}`;
    expect(row?.["priority"]).toBe(7);
  });

  test("discards dead letters, and deletes what has ended, naming what is gone", async () => {
    const { submit, ended, act, read, audits } = await org();
    const [one, other, lives] = [await ended(dead), await ended(dead), await submit()];
    const discarded = await act("discard", [one, lives, db.newId()]);
    expect(discarded.failures.map(({ reason }) => reason)).toEqual([
      "DEAD_LETTER_NOT_FOUND",
      "JOB_NOT_FOUND",
    ]);
    expect((await read(one)).state).toBe(dead);
    const deleted = await act("delete", [one, other, lives]);
    expect(deleted).toMatchObject({ done: 2, failures: [{ jobId: lives, reason: "JOB_NOT_TERMINAL" }] });
    await expect(read(one)).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    expect(await audits()).toMatchObject([
      { details: { jobs: { length: 1 } } },
      { details: { jobs: { length: 2 } } },
    ]);
  });

  test("says no more than the first 20 failures, and writes no audit row when nothing was done", async () => {
    const { act, audits } = await org();
    const answer = await act(
      "cancel",
      Array.from({ length: 30 }, () => db.newId()),
    );
    expect(answer).toMatchObject({ done: 0, skipped: 30, failures: { length: 20 } });
    expect(await audits()).toEqual([]);
  });
});

describe("a cancel of jobs that depend on each other", () => {
  test("ends each once, whether it is named or reached, in any order", async () => {
    const { orgId, caller, batch, act, statesOf } = await org();
    // a → b → c, a → d (named by none), and e waits for two.
    const { batchId, jobIds } = await batch([
      { ref: "a" },
      { ref: "b", dependsOn: onRef("a") },
      { ref: "c", dependsOn: onRef("b"), dependencyPolicy: "release" },
      { ref: "d", dependsOn: onRef("a") },
      { ref: "e", dependsOn: onRef("a", "b"), dependencyPolicy: "release" },
      { ref: "f" },
    ]);
    const [a = "", b = "", third = ""] = jobIds;
    expect(await act("cancel", [third, b, a])).toMatchObject({ done: 3, skipped: 0 });
    // e is released by both of its parents at once; f was never asked.
    expect(await statesOf(jobIds)).toEqual([cancelled, cancelled, cancelled, cancelled, ready, ready]);
    const finals = await db.admin`select job_id, count(*)::int as n from muster.attempts
      where org_id = ${orgId} and final group by 1`;
    expect(finals.map((row) => row["n"])).toEqual([1, 1, 1, 1]);
    expect(await getBatch(c, caller, batchId)).toMatchObject({ pending: 2, cancelled: 4 });
    const edges = await db.admin`select 1 from muster.edges where org_id = ${orgId}`;
    expect(edges).toHaveLength(0);
    const sums = await inOrg(db.database.app, orgId, (tx) => sumTallies(tx, orgId));
    expect(sums).toMatchObject({ submitted: 6, cancelled: 4, ready: 2, blocked: 0 });
  });

  test("leaves who depends on a parent that is not named waiting", async () => {
    const { submit, act, statesOf } = await org();
    const parent = await submit();
    const [one, other] = [
      await submit({ dependsOn: onJob(parent) }),
      await submit({ dependsOn: onJob(parent) }),
    ];
    await act("cancel", [one]);
    expect(await statesOf([parent, one, other])).toEqual([ready, cancelled, blocked]);
  });
});

describe("an act on jobs by a filter", () => {
  const many = async (n: number) => {
    const one = await org();
    await one.batch(Array.from({ length: n }, () => ({ kind: "bulk" })));
    return one;
  };

  test("goes on page by page, to each that was there at the first call, and to none that came later", async () => {
    const { orgId, act, submit, read, audits } = await many(1_500);
    const other = await submit({ kind: "other" });
    const first = await act("cancel", "kind:bulk state:ready");
    expect(first).toMatchObject({
      done: 1_000,
      skipped: 0,
      matched: { states: [{ state: ready, count: 1_500 }] },
    });
    const late = await submit({ kind: "bulk" });
    const second = await act("cancel", "kind:bulk state:ready", { pageToken: first.nextPageToken });
    expect(second).toMatchObject({ done: 500, skipped: 0, matched: null, nextPageToken: "" });
    expect([(await read(late)).state, (await read(other)).state]).toEqual([ready, ready]);
    const left = await db.admin`select count(*)::int as n from muster.job_queue where org_id = ${orgId}`;
    expect(left[0]?.["n"]).toBe(2);
    expect(await audits()).toMatchObject([
      { target: "kind:bulk state:ready", details: { filter: "kind:bulk state:ready", done: 1_000 } },
      { details: { done: 500 } },
    ]);
  });

  test("tells the feed, the counts and the batch of a thousand at once", async () => {
    const { orgId, act } = await many(1_000);
    const revision = await readRevision(db.database, orgId);
    await act("park", "kind:bulk");
    const { changes } = await readChanges(db.database, orgId, revision);
    expect(new Set(changes.map((one) => one.state))).toEqual(new Set([parked]));
    expect(changes).toHaveLength(1_000);
    const sums = await inOrg(db.database.app, orgId, (tx) => sumTallies(tx, orgId));
    expect(sums).toMatchObject({ ready: 0, parked: 1_000 });
  });

  test("dry counts and checks, and changes nothing", async () => {
    const { act, submit, audits, read } = await many(3);
    const later = await submit({ kind: "bulk", runAt: new Date(db.nowMs() + 60_000) });
    for (const type of ["cancel", "park", "retry", "unpark", "discard", "delete"] as const) {
      const answer = await act(type, "kind:bulk", { isDryRun: true });
      expect([type, answer.done, answer.skipped]).toEqual([type, ...dryCounts[type]]);
      expect(answer.matched?.states).toEqual([
        { state: scheduled, count: 1 },
        { state: ready, count: 3 },
      ]);
    }
    expect(await audits()).toEqual([]);
    expect((await read(later)).state).toBe(scheduled);
  });
  const dryCounts = {
    cancel: [4, 0],
    park: [4, 0],
    retry: [1, 3],
    unpark: [0, 4],
    discard: [0, 4],
    delete: [0, 4],
  };

  test("reaches what the command line names: letters of a group, any letters, what lives of a batch", async () => {
    const { act, batch, caller, ended, statesOf } = await org();
    const [letter, other] = [await ended(dead), await ended(dead)];
    await db.admin`update muster.dead_letters set fingerprint = 'g0' where job_id = ${other}`;
    const { batchId, jobIds } = await batch([{}, {}]);
    await cancelJob(c, caller, { jobId: jobIds[0] ?? "", reason: "", isForced: false });
    const live = `batch:${encodeId("batch", batchId)} -state:succeeded,cancelled,dead`;
    expect(await act("cancel", live)).toMatchObject({ done: 1, skipped: 0 });
    expect(await act("retry", "fingerprint:f")).toMatchObject({ done: 1, skipped: 0 });
    expect(await statesOf([letter, other])).toEqual([ready, dead]);
    expect(await act("discard", "kind:shell.run fingerprint:*")).toMatchObject({ done: 1, skipped: 0 });
  });

  test("is refused when more match than were confirmed, and goes on when fewer do", async () => {
    const { act, statesOf, submit } = await many(2);
    await expect(act("cancel", "kind:bulk", { confirmed: 1 })).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "COUNT_CHANGED",
      details: { confirmed: "1", matched: "2" },
    });
    expect(await act("cancel", "kind:bulk state:ready", { confirmed: 3 })).toMatchObject({ done: 2 });
    expect(await statesOf([await submit()])).toEqual([ready]);
  });

  test("takes a token of the same call alone", async () => {
    const { act } = await many(1_001);
    const { nextPageToken: pageToken } = await act("park", "kind:bulk", { isDryRun: true });
    expect(pageToken).not.toBe("");
    for (const [type, filter, asked] of [
      ["cancel", "kind:bulk", { isDryRun: true }],
      ["park", "kind:other", { isDryRun: true }],
      ["park", "kind:bulk", { isDryRun: false }],
      ["park", "kind:bulk", { isDryRun: true, reason: "another" }],
    ] as const) {
      await expect(act(type, filter, { ...asked, pageToken })).rejects.toMatchObject({
        reason: "PAGE_TOKEN_INVALID",
      });
    }
    expect(await act("park", "kind:bulk", { isDryRun: true, pageToken })).toMatchObject({ done: 1 });
  });
});

test("what is wrong with a call is told all at once", async () => {
  const { act } = await org();
  await expect(act("cancel", [])).rejects.toMatchObject({ violations: [{ field: "ids.jobIds" }] });
  await expect(act("park", " ")).rejects.toMatchObject({ violations: [{ field: "filter" }] });
  await expect(
    act(
      "retry",
      Array.from({ length: 1_001 }, () => db.newId()),
      {
        ...{ priority: 3, until: new Date(), isForced: true, reason: "r".repeat(501), confirmed: -1 },
      },
    ),
  ).rejects.toMatchObject({
    violations: ["reason", "priority", "until", "force", "ids.jobIds", "confirmed"].map((field) => ({
      field,
    })),
  });
  await expect(act("set-priority", [db.newId()])).rejects.toMatchObject({
    violations: [{ field: "priority" }],
  });
  await expect(act("cancel", [db.newId()], { pageToken: "x" })).rejects.toMatchObject({
    reason: "PAGE_TOKEN_INVALID",
  });
});
