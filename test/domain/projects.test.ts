import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listProjects, putProject } from "../../server/domain/projects.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function insertPullRequest(orgId: string, project: string, isOpen: boolean): Promise<void> {
  await db.admin`insert into muster.pull_requests (org_id, url, project, job_id, is_open)
    values (${orgId}, ${`https://example.test/${db.newId()}`}, ${project}, ${db.newId()}, ${isOpen})`;
}

describe("putting a project", () => {
  test("makes it, then changes its cap, with an audit row each", async () => {
    const caller = testCaller(await db.orgId());
    const name = "acme/web.app-1_x";
    expect(await putProject(c, caller, { name, maxOpenPrs: 3 })).toEqual({ name, maxOpenPrs: 3, openPrs: 0 });
    await insertPullRequest(caller.orgId, name, true);
    expect(await putProject(c, caller, { name, maxOpenPrs: null })).toEqual({
      name,
      maxOpenPrs: null,
      openPrs: 1,
    });
    const audit = await db.admin`
      select action, target, details from muster.audit_log where org_id = ${caller.orgId} order by audit_id`;
    expect(audit).toEqual([
      { action: "project.put", target: name, details: { before: null, after: 3, isNew: true } },
      { action: "project.put", target: name, details: { before: 3, after: null, isNew: false } },
    ]);
  });

  test.each([
    [{ name: "", maxOpenPrs: null }, ["project.name"]],
    [{ name: "a b", maxOpenPrs: null }, ["project.name"]],
    [{ name: "a\0", maxOpenPrs: null }, ["project.name"]],
    [{ name: "a\n", maxOpenPrs: null }, ["project.name"]],
    [{ name: "x".repeat(201), maxOpenPrs: null }, ["project.name"]],
    [{ name: "a", maxOpenPrs: -1 }, ["project.maxOpenPrs"]],
    [{ name: "a", maxOpenPrs: 10_001 }, ["project.maxOpenPrs"]],
    [{ name: "", maxOpenPrs: 0.5 }, ["project.name", "project.maxOpenPrs"]],
  ])("refuses %j", async (project, fields) => {
    const error = await putProject(c, testCaller(await db.orgId()), project).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: "invalid_argument", violations: fields.map((field) => ({ field })) });
  });
});

describe("listing projects", () => {
  test("goes by name, page by page, with the pull requests that are open", async () => {
    const caller = testCaller(await db.orgId());
    const other = testCaller(await db.orgId());
    for (const name of ["b", "a", "c"]) await putProject(c, caller, { name, maxOpenPrs: 5 });
    await putProject(c, other, { name: "a", maxOpenPrs: 1 });
    await insertPullRequest(caller.orgId, "a", true);
    await insertPullRequest(caller.orgId, "a", true);
    await insertPullRequest(caller.orgId, "a", false);
    await insertPullRequest(other.orgId, "a", true);
    const first = await listProjects(c, caller, { pageSize: 2, pageToken: "" });
    expect(first.items).toEqual([
      { name: "a", maxOpenPrs: 5, openPrs: 2 },
      { name: "b", maxOpenPrs: 5, openPrs: 0 },
    ]);
    const second = await listProjects(c, caller, { pageSize: 2, pageToken: first.nextPageToken });
    expect(second).toEqual({ items: [{ name: "c", maxOpenPrs: 5, openPrs: 0 }], nextPageToken: "" });
    await expect(
      listProjects(c, other, { pageSize: 2, pageToken: first.nextPageToken }),
    ).rejects.toMatchObject({
      reason: "PAGE_TOKEN_INVALID",
    });
  });
});
