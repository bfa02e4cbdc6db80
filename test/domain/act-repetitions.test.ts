import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ActRequest, actOnJobs } from "../../server/domain/acts.ts";
import { readJobFilterText } from "../../server/domain/job-lists.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, submitBatch, submitJob } from "../../server/domain/jobs.ts";
import type { RemovalContext } from "../../server/domain/removals.ts";
import type { Act, ActType } from "../../server/domain/rules/acts.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { anyJob } from "../../server/store/job-lists.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
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

const { ready } = JobState;

describe("a repetition with the same request id", () => {
  test("has the same answer and changes nothing, also at once, page by page", async () => {
    const { act, batch, read, audits } = await org();
    const { jobIds } = await batch(Array.from({ length: 1_001 }, () => ({ kind: "bulk" })));
    const call = () => act("park", "kind:bulk state:ready", { requestId: "r", confirmed: 1_001 });
    const answers = await Promise.all([call(), call()]);
    expect(answers[0]).toEqual(answers[1]);
    const [first = answers[0]] = answers;
    expect(first).toMatchObject({ done: 1_000, matched: { states: [{ count: 1_001 }] } });
    const { nextPageToken: pageToken } = first;
    const next = () => act("park", "kind:bulk state:ready", { requestId: "r", confirmed: 1_001, pageToken });
    const second = await next();
    await act("unpark", jobIds.slice(0, 1_000));
    expect(await call()).toEqual(first);
    expect(await next()).toEqual(second);
    expect((await read(jobIds[5] ?? "")).state).toBe(ready);
    expect(await audits("jobs.park")).toHaveLength(2);
  });

  test("and other arguments is refused, and changes nothing", async () => {
    const { act, batch, audits } = await org();
    await batch([{ kind: "twice" }, { kind: "twice" }]);
    const text = "kind:twice state:ready";
    await act("park", text, { requestId: "q", confirmed: 2 });
    for (const other of [
      () => act("park", text, { requestId: "q", confirmed: 3 }),
      () => act("park", "kind:twice", { requestId: "q", confirmed: 2 }),
      () => act("unpark", text, { requestId: "q", confirmed: 2 }),
    ]) {
      await expect(other()).rejects.toMatchObject({ reason: "IDEMPOTENCY_CONFLICT" });
    }
    expect(await audits()).toHaveLength(1);
  });
});

describe("acts at once", () => {
  test("on the same jobs in other orders come to one end each", async () => {
    const { orgId, batch, act } = await org();
    const { jobIds } = await batch(Array.from({ length: 100 }, () => ({})));
    const answers = await Promise.all([
      act("cancel", jobIds),
      act("cancel", [...jobIds].reverse()),
      act("park", jobIds),
      act("set-priority", [...jobIds].reverse(), { priority: 1 }),
    ]);
    expect(answers.slice(0, 2).reduce((sum, one) => sum + one.done, 0)).toBe(100);
    const finals =
      await db.admin`select count(*)::int as n from muster.attempts where org_id = ${orgId} and final`;
    expect(finals[0]?.["n"]).toBe(100);
  });

  test("two retries of the same jobs make one new run of each", async () => {
    const { caller, batch, act, read } = await org();
    const { jobIds } = await batch(Array.from({ length: 20 }, () => ({})));
    for (const jobId of jobIds) await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    const answers = await Promise.all([act("retry", jobIds), act("retry", [...jobIds].reverse())]);
    expect(answers.map((one) => one.done).sort((a, b) => a - b)).toEqual([0, 20]);
    expect((await read(jobIds[0] ?? "")).generation).toBe(2);
  });
});
