import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { type LookupType, lookup } from "../../server/domain/lookup.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { jobRequest } from "../support/fleet.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

async function org() {
  const orgId = await db.orgId();
  const c = testCoordinator(db);
  const find = async (text: string, types: LookupType[] = [], limit = 0, scopes?: string[]) => {
    const caller = testCaller(orgId, scopes === undefined ? {} : { scopes });
    const { candidates } = await lookup(c, caller, { text, types, limit });
    return candidates.map(({ type, id, label }) => [type, id, label]);
  };
  return { orgId, c, find };
}

describe("looking up", () => {
  test("finds jobs by the beginning and the end of their id, and by their external id", async () => {
    const { orgId, c, find } = await org();
    const { jobId } = await insertJob(db, orgId, { kind: "render.frame" });
    const { jobId: other } = await submitJob(c, testCaller(orgId), {
      job: jobRequest({ externalId: "shot-0412", title: "" }),
      idempotencyKey: null,
      parent: null,
    });
    const id = encodeId("job", jobId);
    const found = ["job", id, "render.frame: a job"];
    expect(await find(id, ["job"])).toEqual([found]);
    expect(await find(id.slice(4, 24), ["job"])).toEqual([found]);
    expect(await find(id.slice(-6).toUpperCase())).toEqual([found]);
    expect(await find("shot-0412")).toEqual([["job", encodeId("job", other), "test.echo"]]);
    expect((await find("job_", ["job"])).map((one) => one[1])).toEqual([encodeId("job", other), id]);
    expect(await find(id.slice(-6), ["worker"])).toEqual([]);
    expect(await (await org()).find(id)).toEqual([]);
  });

  test("finds what has a name by its beginning", async () => {
    const { orgId, find } = await org();
    const workerId = await insertWorkerRow(db, orgId, { name: "gpu-1" });
    await db.admin`update muster.workers set kinds = '{gpu.render}', skills = '[{"name":"gpu","digest":""}]'
      where worker_id = ${workerId}`;
    await db.admin`insert into muster.projects (org_id, name) values (${orgId}, 'gpu/web')`;
    await insertJob(db, orgId, { queue: "gpu-jobs" });
    await db.admin`insert into muster.api_keys (org_id, key_id, type, name, scopes, hash)
      values (${orgId}, ${`k${String(Math.random()).slice(2, 13)}`.padEnd(12, "0")}, 'api', 'gpu-key', '{read}', '\\x00')`;
    const found = await find("gpu");
    expect(found.map(([type]) => type)).toEqual(["skill", "worker", "queue", "project", "kind", "key"]);
    expect((await find("gpu", [], 0, ["read"])).map(([type]) => type)).not.toContain("key");
    expect(await find("gpu-1")).toEqual([["worker", encodeId("worker", workerId), "gpu-1"]]);
    expect(await find(encodeId("worker", workerId).slice(-8), ["worker"])).toHaveLength(1);
  });

  test("answers with the best, says that there are more, and refuses what is too long", async () => {
    const { orgId, c, find } = await org();
    for (const name of ["a-1", "a-2", "a-3"]) await insertWorkerRow(db, orgId, { name });
    const caller = testCaller(orgId);
    expect(await lookup(c, caller, { text: "a-", types: ["worker"], limit: 2 })).toMatchObject({
      candidates: [{ label: "a-1" }, { label: "a-2" }],
      isTruncated: true,
    });
    expect(await find("", ["worker"])).toHaveLength(3);
    expect(await find("\0")).toEqual([]);
    await expect(lookup(c, caller, { text: "x".repeat(201), types: [], limit: 101 })).rejects.toMatchObject({
      violations: [{ field: "text" }, { field: "limit" }],
    });
  });
});
