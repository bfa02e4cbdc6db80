import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type JobEdit, updateJob } from "../../server/domain/job-edits.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, retryJob, submitJob } from "../../server/domain/jobs.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { readChanges, readRevision } from "../../server/store/changes.ts";
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

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const submit = async (overrides: Partial<JobRequest> = {}) =>
    (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey: null, parent: null })).jobId;
  const edit = (jobId: string, change: Partial<JobEdit>) =>
    updateJob(c, caller, {
      ...{ jobId, priority: null, title: null, labels: {}, reason: "", requestId: "" },
      ...change,
    });
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: true });
  return { orgId, caller, submit, edit, read };
}

describe("an edit", () => {
  test("changes priority, title and labels, leaves the rest, and says what was before", async () => {
    const { orgId, submit, edit, read } = await org();
    const jobId = await submit({
      title: "old",
      priority: 64,
      labels: { team: "web", drop: "me", keep: "it" },
    });
    const before = await read(jobId);
    const labels = { team: "api", drop: "", more: "x" };
    const edited = await edit(jobId, { priority: 240, title: "new", labels, reason: "urgent" });
    const { spec } = await read(jobId);
    expect(spec).toEqual({
      ...before.spec,
      ...{ priority: 240, title: "new", labels: { team: "api", keep: "it", more: "x" } },
    });
    expect(edited.spec).toMatchObject({ title: "new", priority: 240 });
    const [audit] = await db.admin`select action, reason, details from muster.audit_log
      where org_id = ${orgId} and action = 'job.update'`;
    expect(audit).toMatchObject({
      reason: "urgent",
      details: { before: { title: "old", priority: 64 }, after: { title: "new", priority: 240 } },
    });
  });

  test("leaves what is not named, and labels that are all taken away are none", async () => {
    const { submit, edit } = await org();
    const jobId = await submit({ title: "t", labels: { a: "1" } });
    expect((await edit(jobId, { priority: 7 })).spec).toMatchObject({ title: "t", labels: { a: "1" } });
    expect((await edit(jobId, { labels: { a: "" } })).spec).toMatchObject({ priority: 7, labels: {} });
    expect((await edit(jobId, { title: "" })).spec).toMatchObject({ title: "", priority: 7 });
  });

  test("of the priority of a job that waits decides which job is offered first", async () => {
    const { orgId, submit, edit } = await org();
    const first = await submit({ priority: 100 });
    const second = await submit({ priority: 100 });
    await edit(second, { priority: 101 });
    const dispatcher = testDispatcher(c);
    const one = hello({ declared: { ...hello().declared, slots: 1 } });
    const worker = await attachWorker(c, orgId, { name: "w", dispatcher, hello: one });
    await dispatcher.refresh(orgId);
    expect((await worker.offers(1)).map(({ fence }) => fence.jobId)).toEqual([second]);
    expect(second > first).toBe(true);
    await dispatcher.stop();
  });

  test("of the priority holds for the runs that follow", async () => {
    const { caller, submit, edit, read } = await org();
    const jobId = await submit();
    await edit(jobId, { priority: 200 });
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    await retryJob(c, caller, { jobId, reason: "" });
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, spec: { priority: 200 } });
    const [row] = await db.admin`select priority from muster.job_queue where job_id = ${jobId}`;
    expect(row?.["priority"]).toBe(200);
  });

  test("is told by the feed, so that watchers see it", async () => {
    const { orgId, submit, edit } = await org();
    // Until other transactions of the cluster have ended, the feed stays behind.
    const patience = { timeout: 10_000 };
    let revision = await readRevision(db.database, orgId);
    const jobId = await submit();
    await expect
      .poll(async () => {
        const page = await readChanges(db.database, orgId, revision);
        if (page.changes.length > 0) revision = page.revision;
        return page.changes;
      }, patience)
      .toMatchObject([{ jobId }]);
    await edit(jobId, { title: "new" });
    await expect
      .poll(async () => (await readChanges(db.database, orgId, revision)).changes, patience)
      .toMatchObject([{ jobId, state: JobState.ready }]);
  });

  test("with one request id is one edit", async () => {
    const { orgId, submit, edit } = await org();
    const jobId = await submit();
    await edit(jobId, { title: "one", requestId: "r" });
    await edit(jobId, { title: "two" });
    expect((await edit(jobId, { title: "one", requestId: "r" })).spec.title).toBe("two");
    const [count] = await db.admin`select count(*)::int as n from muster.audit_log
      where org_id = ${orgId} and action = 'job.update'`;
    expect(count?.["n"]).toBe(2);
  });

  test("with one request id and other arguments is refused", async () => {
    const { submit, edit, read } = await org();
    const jobId = await submit();
    await edit(jobId, { title: "one", labels: { a: "1", b: "2" }, requestId: "r" });
    await edit(jobId, { title: "one", labels: { b: "2", a: "1" }, requestId: "r" });
    await expect(edit(jobId, { title: "two", requestId: "r" })).rejects.toMatchObject({
      reason: "IDEMPOTENCY_CONFLICT",
      details: { idempotencyKey: "r" },
    });
    expect((await read(jobId)).spec.title).toBe("one");
  });

  test("that loses against another edit keeps what that one changed", async () => {
    const { submit, edit, read } = await org();
    const jobId = await submit();
    await Promise.all(["a", "b", "c", "d"].map((key) => edit(jobId, { labels: { [key]: "1" } })));
    expect((await read(jobId)).spec.labels).toEqual({ a: "1", b: "1", c: "1", d: "1" });
  });

  test("of a job that has ended, of none, or of another org's is refused in words", async () => {
    const { caller, submit, edit } = await org();
    const jobId = await submit();
    await cancelJob(c, caller, { jobId, reason: "", isForced: false });
    await expect(edit(jobId, { title: "x" })).rejects.toMatchObject({
      reason: "JOB_ALREADY_TERMINAL",
      details: { state: "CANCELLED" },
    });
    const others = await (await org()).submit();
    for (const one of [db.newId(), others]) {
      await expect(edit(one, { title: "x" })).rejects.toMatchObject({ reason: "JOB_NOT_FOUND" });
    }
  });

  test("names all that is wrong at once, and changes nothing", async () => {
    const { submit, edit, read } = await org();
    const jobId = await submit({
      labels: Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`l${n}`, "v"])),
    });
    await expect(edit(jobId, {})).rejects.toMatchObject({ violations: [{ field: "priority" }] });
    await expect(
      edit(jobId, {
        priority: 256,
        title: "x".repeat(201),
        labels: { a: "\u0000" },
        reason: "r".repeat(501),
      }),
    ).rejects.toMatchObject({
      violations: [{ field: "priority" }, { field: "title" }, { field: 'labels["a"]' }, { field: "reason" }],
    });
    await expect(edit(jobId, { labels: { one: "more" } })).rejects.toMatchObject({
      violations: [{ field: "labels", message: "must have at most 32 entries" }],
    });
    expect(Object.keys((await read(jobId)).spec.labels)).toHaveLength(32);
  });
});
