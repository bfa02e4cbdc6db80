import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { submitBatch, submitJob } from "../../server/domain/jobs.ts";
import { createProjectNames } from "../../server/domain/project-names.ts";
import { deleteProject, getProject, listProjects, putProject } from "../../server/domain/projects.ts";
import { inOrg, orgTxOf } from "../../server/store/database.ts";
import { readGates } from "../../server/store/gates.ts";
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
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function insertPullRequest(
  orgId: string,
  project: string,
  { isOpen = true, isCounted = true } = {},
): Promise<void> {
  await db.admin`insert into muster.pull_requests (org_id, url, project, job_id, is_open, is_counted)
    values (${orgId}, ${`https://example.test/${db.newId()}`}, ${project}, ${db.newId()}, ${isOpen}, ${isCounted})`;
}

const gateOf = (orgId: string, name: string) =>
  inOrg(db.database.app, orgId, async (tx) => {
    const gate = (await readGates(orgTxOf(tx, orgId), [`project:${name}`])).get(`project:${name}`);
    return gate === undefined ? null : { used: gate.used, maxUsed: gate.maxUsed };
  });
const project = (name: string, maxOpenPrs: number | null = null, repository: string | null = null) => ({
  name,
  maxOpenPrs,
  repository,
});
const failed = (call: Promise<unknown>) =>
  call.then(
    () => null,
    (error: unknown) => error,
  );

describe("putting a project", () => {
  test("makes it, then changes its cap, with an audit row each", async () => {
    const caller = testCaller(await db.orgId());
    const { orgId } = caller;
    const name = "acme/web.app-1_x";
    const made = await putProject(c, caller, project(name, 3));
    expect(made).toEqual({ ...project(name, 3, name), openPrs: 0, leased: 0 });
    await insertPullRequest(orgId, name);
    const changed = await putProject(c, caller, project(name, null, "acme/other"));
    expect(changed).toEqual({ ...project(name, null, "acme/other"), openPrs: 1, leased: 0 });
    const audit = await db.admin`
      select action, target, details from muster.audit_log where org_id = ${orgId} order by audit_id`;
    const first = { maxOpenPrs: 3, repository: null };
    const second = { maxOpenPrs: null, repository: "acme/other" };
    expect(audit).toEqual([
      { action: "project.put", target: name, details: { before: null, after: first, isNew: true } },
      { action: "project.put", target: name, details: { before: first, after: second, isNew: false } },
    ]);
  });

  test("puts, changes and drops the gate of its cap, which counts what is open", async () => {
    const caller = testCaller(await db.orgId());
    const { orgId } = caller;
    await insertPullRequest(orgId, "web");
    await insertPullRequest(orgId, "web", { isOpen: false });
    await insertPullRequest(orgId, "web", { isCounted: false });
    await putProject(c, caller, project("web", 2));
    expect(await gateOf(orgId, "web")).toEqual({ used: 1, maxUsed: 2 });
    await putProject(c, caller, project("web", 1));
    expect(await gateOf(orgId, "web")).toEqual({ used: 1, maxUsed: 1 });
    await putProject(c, caller, project("web"));
    expect(await gateOf(orgId, "web")).toBeNull();
  });

  test("takes its name for its repository when that is an owner/name", async () => {
    const caller = testCaller(await db.orgId());
    expect((await putProject(c, caller, project("acme/web"))).repository).toBe("acme/web");
    expect((await putProject(c, caller, project("web"))).repository).toBeNull();
    expect((await putProject(c, caller, project("a/b/c"))).repository).toBeNull();
  });

  test.each([
    [project(""), ["project.name"]],
    [project("a b"), ["project.name"]],
    [project("a\0"), ["project.name"]],
    [project("a\n"), ["project.name"]],
    [project("x".repeat(201)), ["project.name"]],
    [project("a", -1), ["project.maxOpenPrs"]],
    [project("a", 10_001), ["project.maxOpenPrs"]],
    [project("", 0.5), ["project.name", "project.maxOpenPrs"]],
    [project("a", 1, "acme"), ["project.repository"]],
    [project("a", 1, "https://github.com/acme/web"), ["project.repository"]],
  ])("refuses %j", async (asked, fields) => {
    const error = await failed(putProject(c, testCaller(await db.orgId()), asked));
    expect(error).toMatchObject({ code: "invalid_argument", violations: fields.map((field) => ({ field })) });
  });

  test("refuses a cap of 0 with the advice to pause a queue, and keeps the cap that was", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("web", 3));
    const error = await failed(putProject(c, caller, project("web", 0)));
    expect(error).toMatchObject({
      violations: [{ field: "project.maxOpenPrs", message: "must be a whole number from 1 to 10000" }],
      suggestion: expect.stringContaining("muster queue pause"),
    });
    expect((await getProject(c, caller, { name: "web" })).maxOpenPrs).toBe(3);
  });
});

describe("reading projects", () => {
  test("goes by name, page by page, with the pull requests that are open and count", async () => {
    const caller = testCaller(await db.orgId());
    const other = testCaller(await db.orgId());
    for (const name of ["b", "a", "c"]) await putProject(c, caller, project(name, 5));
    await putProject(c, other, project("a", 1));
    await insertPullRequest(caller.orgId, "a");
    await insertPullRequest(caller.orgId, "a");
    await insertPullRequest(caller.orgId, "a", { isOpen: false });
    await insertPullRequest(caller.orgId, "a", { isCounted: false });
    await insertPullRequest(other.orgId, "a");
    const shown = (name: string, openPrs: number) => ({ ...project(name, 5), openPrs, leased: 0 });
    const first = await listProjects(c, caller, { pageSize: 2, pageToken: "" });
    expect(first.items).toEqual([shown("a", 2), shown("b", 0)]);
    const second = await listProjects(c, caller, { pageSize: 2, pageToken: first.nextPageToken });
    expect(second).toEqual({ items: [shown("c", 0)], nextPageToken: "" });
    await expect(
      listProjects(c, other, { pageSize: 2, pageToken: first.nextPageToken }),
    ).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  });

  test("finds one by its name, in its own org alone", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("web", 5));
    expect(await getProject(c, caller, { name: "web" })).toMatchObject({ name: "web", maxOpenPrs: 5 });
    const other = testCaller(await db.orgId());
    const [foreign, none] = [
      await failed(getProject(c, other, { name: "web" })),
      await failed(getProject(c, caller, { name: "wbe" })),
    ];
    expect(foreign).toMatchObject({ reason: "PROJECT_NOT_FOUND" });
    expect(none).toMatchObject({ reason: "PROJECT_NOT_FOUND" });
    await expect(getProject(c, caller, { name: "" })).rejects.toMatchObject({ code: "invalid_argument" });
  });
});

describe("deleting a project", () => {
  test("drops its cap, and says how many of its jobs have not ended", async () => {
    const caller = testCaller(await db.orgId());
    const { orgId } = caller;
    await putProject(c, caller, project("web", 1));
    await putProject(c, caller, project("docs"));
    const jobs = [
      jobRequest({ project: "web" }),
      jobRequest({ project: "web", opensPullRequest: false }),
      jobRequest({ project: "docs" }),
      jobRequest(),
    ];
    await submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null });
    expect(await deleteProject(c, caller, { name: "web", reason: "archived" })).toEqual({ waitingJobs: 2 });
    expect(await gateOf(orgId, "web")).toBeNull();
    const [row] = await db.admin`select action, target, reason, details from muster.audit_log
      where org_id = ${orgId} order by audit_id desc limit 1`;
    expect(row).toEqual({
      action: "project.delete",
      target: "web",
      reason: "archived",
      details: { maxOpenPrs: 1, waitingJobs: 2 },
    });
    expect(c.woken).toContainEqual(["ready", orgId]);
    await expect(deleteProject(c, caller, { name: "web", reason: "" })).rejects.toMatchObject({
      reason: "PROJECT_NOT_FOUND",
    });
  });

  test("of another org finds none, and leaves it", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("web", 1));
    const other = testCaller(await db.orgId());
    await expect(deleteProject(c, other, { name: "web", reason: "" })).rejects.toMatchObject({
      reason: "PROJECT_NOT_FOUND",
    });
    expect(await gateOf(caller.orgId, "web")).toEqual({ used: 0, maxUsed: 1 });
  });
});

describe("a submission", () => {
  const submit = (
    caller: ReturnType<typeof testCaller>,
    overrides: object,
    idempotencyKey: string | null = null,
  ) => submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey, parent: null });

  test("of a project that does not exist is refused with the name that was meant", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("acme/web"));
    expect(await failed(submit(caller, { project: "acme/wbe" }))).toMatchObject({
      code: "not_found",
      reason: "PROJECT_NOT_FOUND",
      message: "job.project names a project that does not exist: acme/wbe",
      violations: [{ field: "job.project", reason: "PROJECT_NOT_FOUND" }],
      suggestion: expect.stringContaining("Did you mean acme/web?"),
    });
    expect(await failed(submit(caller, { project: "quite-another" }))).toMatchObject({
      suggestion: "Create it first: muster project create quite-another.",
    });
    const kept = await db.admin`select 1 from muster.jobs where org_id = ${caller.orgId}`;
    expect(kept).toHaveLength(0);
  });

  test("does not find the project of another org", async () => {
    await putProject(c, testCaller(await db.orgId()), project("secret/web"));
    const error = await failed(submit(testCaller(await db.orgId()), { project: "secret/wbe" }));
    expect(error).toMatchObject({ suggestion: "Create it first: muster project create secret/wbe." });
  });

  test("of many jobs names each that is wrong, and inserts none", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("web"));
    const jobs = [
      jobRequest({ project: "web" }),
      jobRequest({ project: "x" }),
      jobRequest(),
      jobRequest({ project: "wbe" }),
    ];
    const error = await failed(
      submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null }),
    );
    expect(error).toMatchObject({
      reason: "PROJECT_NOT_FOUND",
      violations: [
        { field: "jobs[1].project" },
        { field: "jobs[3].project", message: expect.stringContaining("web?") },
      ],
    });
    const kept = await db.admin`select 1 from muster.jobs where org_id = ${caller.orgId}`;
    expect(kept).toHaveLength(0);
  });

  test("may come again after its project was deleted: it is told of its job", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("web"));
    const first = await submit(caller, { project: "web", externalId: "shot-1" }, "key-1");
    await deleteProject(c, caller, { name: "web", reason: "" });
    expect(await submit(caller, { project: "web", externalId: "shot-1" }, "key-1")).toEqual({
      jobId: first.jobId,
      isReplayed: true,
    });
    expect(await failed(submit(caller, { project: "web" }, "key-2"))).toMatchObject({
      reason: "PROJECT_NOT_FOUND",
    });
  });
});

describe("what is known of the names of projects", () => {
  test("is read once in 5 s, and again for a name that is not known", async () => {
    let nowMs = 0;
    const caller = testCaller(await db.orgId());
    const { orgId } = caller;
    const names = createProjectNames({ db: db.database }, () => nowMs);
    const isKnown = async (name: string) => (await names.unknown(orgId, new Set([name]))).size === 0;
    expect(await isKnown("web")).toBe(false);
    // Another coordinator makes it: `names` is not told.
    await putProject(c, caller, project("web"));
    expect(await isKnown("web")).toBe(true);
    expect(await isKnown("web")).toBe(true);
    await deleteProject(c, caller, { name: "web", reason: "" });
    expect(await isKnown("web")).toBe(true);
    nowMs += 5_001;
    expect(await isKnown("web")).toBe(false);
  });

  test("is forgotten at once where a project is deleted", async () => {
    const caller = testCaller(await db.orgId());
    await putProject(c, caller, project("web"));
    expect((await c.projects.unknown(caller.orgId, new Set(["web"]))).size).toBe(0);
    await deleteProject(c, caller, { name: "web", reason: "" });
    expect((await c.projects.unknown(caller.orgId, new Set(["web"]))).size).toBe(1);
  });
});
