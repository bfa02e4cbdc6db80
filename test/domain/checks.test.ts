import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CheckContext, createChecker } from "../../server/domain/checks.ts";
import { createSystemReader } from "../../server/domain/system.ts";
import type { ArtifactStore } from "../../server/outbound/artifact-store.ts";
import { openFileArtifacts } from "../../server/outbound/file-artifacts.ts";
import { openDatabase } from "../../server/store/database.ts";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../support/database.ts";

let db: TestDatabase;
let folder: string;
let artifacts: ArtifactStore;
beforeAll(async () => {
  db = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "muster-checks-"));
  const signer = { key: Buffer.alloc(32), baseUrl: () => "http://x", nowMs: () => 0 };
  artifacts = await openFileArtifacts({ directory: folder, signer });
});
afterAll(async () => {
  await db?.close();
  await rm(folder, { recursive: true, force: true });
});

function context(overrides: Partial<CheckContext> = {}): CheckContext {
  const facts = { memoryLimitBytes: 1_000, heapBytes: 1, heapLimitBytes: 1_000, loopDelayMs: 1, watches: 0 };
  return {
    ...testCoordinator(db),
    ownerUrl: db.url,
    appUrl: db.urls.muster_app,
    host: { read: () => ({ nodeVersion: "24.21.0", rssBytes: 1, ...facts }), certificateEndsAt: () => null },
    artifacts,
    ...overrides,
  };
}

async function check(c: CheckContext, orgId?: string) {
  const checks = await createChecker(c).checkServer({ orgId: orgId ?? (await db.orgId()) });
  return new Map(checks.map((one) => [one.id, one]));
}

describe("checking the server", () => {
  test("looks at everything, in an order that stays", async () => {
    const checks = await check(context());
    expect([...checks.keys()]).toEqual([
      "database.reachable",
      "database.version",
      "database.durability",
      "database.clock",
      "database.connections",
      "database.oldest-transaction",
      "schema.migrations",
      "schema.partitions",
      "notify.round-trip",
      "feed.age",
      "coordinators",
      "artifacts.store",
      "artifacts.shared",
      "memory",
      "loop.delay",
      "node.version",
      "tls.expiry",
      "listener.loopback-without-tls",
    ]);
    for (const id of ["database.reachable", "schema.migrations", "schema.partitions", "notify.round-trip"]) {
      expect(checks.get(id)).toMatchObject({ level: "ok", fix: "" });
    }
    expect(checks.get("artifacts.store")).toMatchObject({ level: "ok", detail: "put, got and deleted" });
    expect(checks.get("tls.expiry")?.level).toBe("skip");
  });

  test("skips what needs the database when it is out of reach", async () => {
    const away = { muster_app: "postgres://a:b@127.0.0.1:1/x", muster_hot: "", muster_sweep: "" };
    const database = openDatabase({
      urls: { ...away, muster_hot: away.muster_app, muster_sweep: away.muster_app },
      appConnections: 1,
      hotConnections: 1,
      timeoutMs: 1_000,
    });
    const checks = await check(context({ db: database }));
    expect(checks.get("database.reachable")).toMatchObject({
      level: "fail",
      detail: expect.stringContaining("("),
    });
    expect(checks.get("feed.age")).toMatchObject({ level: "skip" });
    expect(checks.get("artifacts.store")?.level).toBe("ok");
    await database.close();
  });

  test("says what fails without what the cause says", async () => {
    const broken = { ...artifacts, put: () => Promise.reject(new Error("secret path")) };
    const failed = (await check(context({ artifacts: broken }))).get("artifacts.store");
    expect(failed).toMatchObject({ level: "fail", detail: "failed" });
    const other = { ...artifacts, get: async () => null };
    expect((await check(context({ artifacts: other }))).get("artifacts.store")?.level).toBe("fail");
  });

  test("sees news that the feed cannot tell yet", async () => {
    const orgId = await db.orgId();
    await db.admin`insert into muster.changes (org_id, xid, n, at, job_ids, states, attempts, worker_ids)
      values (${orgId}, '9000000000'::xid8, 0, muster.muster_clock() - interval '20 seconds', '{}', '{}', '{}', '{}')`;
    const checks = await check(context(), orgId);
    expect(checks.get("feed.age")).toMatchObject({ level: "warn", detail: expect.stringContaining("20 s") });
  });

  test("is done once for all who ask at the same time", async () => {
    let puts = 0;
    const counted: ArtifactStore = {
      ...artifacts,
      async put(...args) {
        puts++;
        await artifacts.put(...args);
      },
    };
    const checker = createChecker(context({ artifacts: counted }), () => 0);
    const orgId = await db.orgId();
    const [one, other] = await Promise.all([checker.checkServer({ orgId }), checker.checkServer({ orgId })]);
    expect(one).toBe(other);
    expect(puts).toBe(1);
  });
});

test("the system is read with its coordinators, its database and the process that answers", async () => {
  await db.admin`insert into muster.coordinators (coordinator_id, api_address, version, links)
    values (${db.newId()}, 'http://one', '0.1.0', 7)`;
  const c = context();
  const view = await createSystemReader(c).readSystem({ orgId: await db.orgId() });
  expect(view).toMatchObject({
    coordinatorId: c.coordinatorId,
    coordinators: [{ apiAddress: "http://one", links: 7 }],
    process: { rssBytes: 1, watches: 0 },
  });
  const { database } = view;
  expect(database.version).toMatch(/^\d+(\.\d+)?$/);
  expect(Number(database.schema)).toBeGreaterThanOrEqual(4);
  expect(database.sizeBytes).toBeGreaterThan(100_000);
  expect(database.connections).toBeGreaterThan(0);
  expect(Math.abs(database.clockAheadMs)).toBeLessThan(60_000);
});
