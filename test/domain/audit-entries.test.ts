import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AuditQuery, listAuditEntries } from "../../server/domain/audit-entries.ts";
import { readAuditEntries } from "../../server/store/audit.ts";
import { readOrg } from "../../server/store/snapshot.ts";
import { createTestDatabase, type TestDatabase, testCaller } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const everything: AuditQuery = {
  pageSize: 0,
  pageToken: "",
  actor: "",
  action: "",
  target: "",
  since: null,
  until: null,
};

async function log() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId, { actor: "key:me" });
  const write = async (action: string, actor = "key:me", target = "x"): Promise<string> => {
    const auditId = db.newId();
    await db.admin`insert into muster.audit_log (org_id, audit_id, at, actor, action, target, reason, request_id, details)
      values (${orgId}, ${auditId}, muster.muster_clock(), ${actor}, ${action}, ${target}, 'why', 'req_1', ${db.admin.json({ n: 1 })})`;
    return auditId;
  };
  const list = async (query: Partial<AuditQuery> = {}) =>
    (await listAuditEntries({ db: db.database }, caller, { ...everything, ...query })).items.map(
      ({ action }) => action,
    );
  return { orgId, caller, write, list };
}

describe("the audit log", () => {
  test("is listed newest first, of one org alone", async () => {
    const { write, list, caller } = await log();
    await (await log()).write("theirs");
    await write("worker.create");
    await write("worker.drain");
    expect(await list()).toEqual(["worker.drain", "worker.create"]);
    const { items } = await listAuditEntries({ db: db.database }, caller, everything);
    expect(items[0]).toMatchObject({
      actor: "key:me",
      target: "x",
      reason: "why",
      requestId: "req_1",
      details: { n: 1 },
    });
  });

  test("is filtered by who, what, on what and when", async () => {
    const { write, list } = await log();
    await write("job.submit", "key:ci", "job_1");
    const until = new Date(db.nowMs());
    await db.advanceClock(3_600_000);
    const since = new Date(db.nowMs());
    await write("job.cancel", "key:me", "job_1");
    await write("worker.drain", "key:me", "box");
    expect(await list({ actor: "me" })).toEqual(["worker.drain", "job.cancel"]);
    expect(await list({ actor: "key:ci" })).toEqual(["job.submit"]);
    expect(await list({ action: "job." })).toEqual(["job.cancel", "job.submit"]);
    expect(await list({ action: "job" })).toEqual([]);
    expect(await list({ target: "job_1", action: "job.cancel" })).toEqual(["job.cancel"]);
    expect(await list({ since })).toEqual(["worker.drain", "job.cancel"]);
    expect(await list({ until: new Date(until.getTime() + 1_000) })).toEqual(["job.submit"]);
    expect(await list({ target: "\0" })).toEqual([]);
  });

  test("goes on where a page ended, with the same filter alone", async () => {
    const { caller, write } = await log();
    for (const action of ["a.1", "b.1", "a.2", "b.2", "a.3"]) await write(action);
    const query = { ...everything, pageSize: 1, action: "a." };
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await listAuditEntries({ db: db.database }, caller, { ...query, pageToken });
      seen.push(...page.items.map(({ action }) => action));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(["a.3", "a.2", "a.1"]);
    const { nextPageToken } = await listAuditEntries({ db: db.database }, caller, query);
    const other = { ...query, action: "b.", pageToken: nextPageToken };
    await expect(listAuditEntries({ db: db.database }, caller, other)).rejects.toMatchObject({
      reason: "PAGE_TOKEN_INVALID",
    });
  });

  test("ends a page early where matches are rare, and says where to go on", async () => {
    const { orgId, write } = await log();
    const wanted = await write("rare");
    for (let n = 0; n < 30; n++) await write("common");
    const filter = {
      actor: null,
      action: "rare",
      actionPrefix: null,
      target: null,
      since: null,
      until: null,
    };
    const read = (before: string | null) =>
      readOrg(db.database.app, orgId, (tx) =>
        readAuditEntries(tx, orgId, filter, { before, limit: 2, mostExamined: 10 }),
      );
    let pages = 0;
    let page = await read(null);
    while (page.entries.length === 0 && page.next !== null) {
      pages++;
      page = await read(page.next);
    }
    expect(pages).toBeGreaterThan(0);
    expect(page.entries.map(({ auditId }) => auditId)).toEqual([wanted]);
  });

  test("refuses texts that are too long", async () => {
    const { list } = await log();
    await expect(list({ actor: "x".repeat(501), target: "y".repeat(501) })).rejects.toMatchObject({
      violations: [{ field: "actor" }, { field: "target" }],
    });
  });
});
