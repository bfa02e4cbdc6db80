import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encodeId } from "../../server/domain/ids.ts";
import { authenticate, createKeyContext, derivePepper, type KeyContext } from "../../server/domain/keys.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { WorkerState } from "../../server/domain/rules/worker-states.ts";
import { listWorkers } from "../../server/domain/worker-lists.ts";
import { createWorker, getWorker } from "../../server/domain/workers.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertJob, insertWorkerRow } from "../support/rows.ts";

const firstPage = { pageSize: 0, pageToken: "", isOnline: false, text: "", field: "filterText" };

let db: TestDatabase;
let c: TestCoordinator;
let keys: KeyContext;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
  keys = createKeyContext(c, { pepper: derivePepper("test-secret") });
});
afterAll(() => db.close());

describe("creating a worker", () => {
  test("makes it, its key and an audit row", async () => {
    const caller = testCaller(await db.orgId());
    const { worker, key } = await createWorker(keys, caller, { name: "box 1 ☃" });
    expect(worker).toMatchObject({
      name: "box 1 ☃",
      state: WorkerState.offline,
      leases: 0,
      pointsUsed: 0,
      seenAt: null,
      linkEpoch: null,
      transport: null,
    });
    const principal = await authenticate(keys, key, "req_1");
    expect(principal).toMatchObject({ workerId: worker.workerId, scopes: ["work"], actor: "worker:box 1 ☃" });
    const [audit] = await db.admin`
      select actor, action, target, request_id, details from muster.audit_log where org_id = ${caller.orgId}`;
    expect(audit).toEqual({
      actor: caller.actor,
      action: "worker.create",
      target: encodeId("worker", worker.workerId),
      request_id: caller.requestId,
      details: { name: "box 1 ☃", keyId: principal.keyId },
    });
    expect(JSON.stringify(audit)).not.toContain(key.split("_")[3]);
  });

  test.each([
    ["", "must not be empty"],
    ["  ", "must not be empty"],
    ["x".repeat(101), "must have 1 to 100 characters"],
    ["a\nb", "must not have control characters"],
    ["a\0b", "must not have control characters"],
    ["\u009b31m", "must not have control characters"],
    ["\ud800", "must be well-formed Unicode"],
  ])("refuses the name %j", async (name, message) => {
    const caller = testCaller(await db.orgId());
    const answer = createWorker(keys, caller, { name });
    await expect(answer).rejects.toMatchObject({
      code: "invalid_argument",
      violations: [{ field: "name", message }],
    });
  });

  test("takes 100 characters that need more than one unit each", async () => {
    const caller = testCaller(await db.orgId());
    await expect(createWorker(keys, caller, { name: "𝄞".repeat(100) })).resolves.toBeDefined();
    await expect(createWorker(keys, caller, { name: "𝄞".repeat(101) })).rejects.toThrow();
  });

  test("refuses a name that the org has, and leaves nothing behind", async () => {
    const caller = testCaller(await db.orgId());
    await createWorker(keys, caller, { name: "box" });
    const again = createWorker(keys, caller, { name: "box" });
    await expect(again).rejects.toMatchObject({ reason: "NAME_TAKEN", details: { name: "box" } });
    const rows = await db.admin`select 1 from muster.api_keys where org_id = ${caller.orgId}`;
    expect(rows).toHaveLength(1);
    await expect(createWorker(keys, testCaller(await db.orgId()), { name: "box" })).resolves.toBeDefined();
  });
});

describe("the state of a worker", () => {
  test.each([
    ["offline without a link", {}, WorkerState.offline],
    ["idle", { link: {} }, WorkerState.idle],
    ["offline after its link was closed", { link: { isAttached: false } }, WorkerState.offline],
    ["draining", { link: { isDraining: true } }, WorkerState.draining],
    ["stale by the configured time", { link: { silentMs: 15_050 } }, WorkerState.stale],
    ["not stale before it", { link: { silentMs: 10_000 } }, WorkerState.idle],
    ["stale rather than draining", { link: { silentMs: 60_000, isDraining: true } }, WorkerState.stale],
    ["draining before its worker knows", { link: {}, isDrainRequested: true }, WorkerState.draining],
    ["offline rather than quarantined", { isQuarantined: true }, WorkerState.offline],
    [
      "quarantined rather than draining",
      { link: { isDraining: true }, isQuarantined: true },
      WorkerState.quarantined,
    ],
    ["disabled whatever its link", { isDisabled: true, link: {} }, WorkerState.disabled],
  ])("is %s", async (_, rows, state) => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box", ...rows });
    expect(await getWorker(c, testCaller(orgId), { workerId, name: null })).toMatchObject({ state });
  });

  test("is busy while it holds leases, and they are counted with their points", async () => {
    const orgId = await db.orgId();
    const workerId = await insertWorkerRow(db, orgId, { name: "box", link: {} });
    const other = await insertWorkerRow(db, orgId, { name: "other", link: {} });
    await insertJob(db, orgId, { state: JobState.running, worker: { workerId }, points: 3 });
    await insertJob(db, orgId, { state: JobState.offered, worker: { workerId } });
    await insertJob(db, orgId, { state: JobState.running, worker: { workerId: other } });
    await insertJob(db, orgId, {});
    const worker = await getWorker(c, testCaller(orgId), { workerId: null, name: "box" });
    expect(worker).toMatchObject({
      workerId,
      state: WorkerState.busy,
      leases: 2,
      pointsUsed: 4,
      linkEpoch: 7,
    });
  });

  test("is judged by the database's clock", async () => {
    const own = await createTestDatabase();
    const orgId = await own.orgId();
    const workerId = await insertWorkerRow(own, orgId, { name: "box", link: {} });
    await own.advanceClock(16_000);
    const worker = await getWorker(testCoordinator(own), testCaller(orgId), { workerId, name: null });
    expect(worker.state).toBe(WorkerState.stale);
    await own.close();
  });
});

describe("reading a worker", () => {
  test("asks for its id or its name, and not for both", async () => {
    const caller = testCaller(await db.orgId());
    for (const which of [
      { workerId: null, name: null },
      { workerId: db.newId(), name: "box" },
    ]) {
      await expect(getWorker(c, caller, which)).rejects.toMatchObject({
        violations: [{ field: "workerId" }],
      });
    }
  });

  test("answers alike for a worker of another org and for none", async () => {
    const theirs = await insertWorkerRow(db, await db.orgId(), { name: "theirs" });
    const caller = testCaller(await db.orgId());
    const [foreign, missing] = await Promise.all(
      [theirs, db.newId()].map((workerId) =>
        getWorker(c, caller, { workerId, name: null }).catch((e: unknown) => e),
      ),
    );
    expect(foreign).toMatchObject({
      reason: "WORKER_NOT_FOUND",
      details: { id: encodeId("worker", theirs) },
    });
    expect(missing).toMatchObject({ reason: "WORKER_NOT_FOUND" });
    for (const name of ["theirs", "a\0b", ""]) {
      const answer = getWorker(c, caller, { workerId: null, name });
      await expect(answer).rejects.toMatchObject({ reason: "WORKER_NOT_FOUND" });
    }
  });
});

describe("listing workers", () => {
  test("goes by name, page by page", async () => {
    const orgId = await db.orgId();
    await insertWorkerRow(db, await db.orgId(), { name: "theirs" });
    for (const name of ["c", "a", "e", "b", "d"]) await insertWorkerRow(db, orgId, { name });
    const names: string[] = [];
    let pageToken = "";
    do {
      const page = await listWorkers(c, testCaller(orgId), { ...firstPage, pageSize: 2, pageToken });
      expect(page.items.length).toBeLessThanOrEqual(2);
      names.push(...page.items.map((worker) => worker.name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(names).toEqual(["a", "b", "c", "d", "e"]);
  });

  test("shows on demand only those that are attached", async () => {
    const orgId = await db.orgId();
    await insertWorkerRow(db, orgId, { name: "never" });
    await insertWorkerRow(db, orgId, { name: "gone", link: { isAttached: false } });
    await insertWorkerRow(db, orgId, { name: "here", link: {} });
    await insertWorkerRow(db, orgId, { name: "late", link: { silentMs: 60_000 } });
    await insertWorkerRow(db, orgId, { name: "off", link: {}, isDisabled: true });
    const page = await listWorkers(c, testCaller(orgId), { ...firstPage, isOnline: true });
    expect(page.items.map((worker) => worker.name)).toEqual(["here", "late"]);
    expect(page.nextPageToken).toBe("");
  });

  test("refuses a page token of another list, org or filter", async () => {
    const orgId = await db.orgId();
    for (const name of ["a", "b"]) await insertWorkerRow(db, orgId, { name });
    const { nextPageToken: pageToken } = await listWorkers(c, testCaller(orgId), {
      ...firstPage,
      pageSize: 1,
    });
    expect(pageToken).not.toBe("");
    const asked = { ...firstPage, pageSize: 1, pageToken };
    const other = testCaller(await db.orgId());
    for (const list of [
      () => listWorkers(c, other, asked),
      () => listWorkers(c, testCaller(orgId), { ...asked, isOnline: true }),
      () => listWorkers(c, testCaller(orgId), { ...asked, pageToken: "nonsense" }),
    ]) {
      await expect(list()).rejects.toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
    }
  });
});
