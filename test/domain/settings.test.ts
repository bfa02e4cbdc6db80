import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  createSettingsCache,
  getSettings,
  loadSettings,
  putSettings,
  type SettingsScope,
} from "../../server/domain/settings.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";

const org: SettingsScope = { scope: "org" };
const queue: SettingsScope = { scope: "queue", name: "slow" };
const kind: SettingsScope = { scope: "kind", name: "shell.run" };
const of = { queue: "slow", kind: "shell.run", job: {} };

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

function context() {
  let now = 0;
  const c = testCoordinator(db);
  const settings = createSettingsCache(c, () => now);
  const advance = (ms: number) => {
    now += ms;
  };
  return { ...c, settings, advance };
}

describe("the settings of a scope", () => {
  test("are what was put last, each scope for itself", async () => {
    const c = context();
    const caller = testCaller(await db.orgId());
    expect(await getSettings(c, caller, org)).toEqual({});
    const all = {
      reclaimAfterMs: 60_000,
      maxAttempts: 5,
      backoffInitialMs: 0,
      backoffMaxMs: 604_800_000,
      backoffFactor: 1.5,
      leaseTtlMs: 604_800_000,
    };
    expect(await putSettings(c, caller, org, all)).toEqual(all);
    expect(await putSettings(c, caller, queue, { maxAttempts: 7 })).toEqual({ maxAttempts: 7 });
    expect(await putSettings(c, caller, org, { leaseTtlMs: 1_000 })).toEqual({ leaseTtlMs: 1_000 });
    expect(await getSettings(c, caller, org)).toEqual({ leaseTtlMs: 1_000 });
    expect(await getSettings(c, caller, queue)).toEqual({ maxAttempts: 7 });
    expect(await getSettings(c, caller, { scope: "kind", name: "slow" })).toEqual({});
    expect(await getSettings(c, testCaller(await db.orgId()), queue)).toEqual({});
  });

  test("are audited with what was before", async () => {
    const c = context();
    const caller = testCaller(await db.orgId());
    await putSettings(c, caller, queue, { maxAttempts: 7 });
    await putSettings(c, caller, queue, { maxAttempts: 8 });
    const audit = await db.admin`
      select action, target, details from muster.audit_log where org_id = ${caller.orgId} order by audit_id`;
    expect(audit).toEqual([
      { action: "settings.put", target: "queue:slow", details: { before: {}, after: { maxAttempts: 7 } } },
      {
        action: "settings.put",
        target: "queue:slow",
        details: { before: { maxAttempts: 7 }, after: { maxAttempts: 8 } },
      },
    ]);
  });

  test("name every field that is wrong, as the caller wrote it", async () => {
    const c = context();
    const caller = testCaller(await db.orgId());
    const error = await putSettings(c, caller, org, {
      reclaimAfterMs: 9_999,
      maxAttempts: 0,
      backoffInitialMs: -1,
      backoffFactor: Number.NaN,
      leaseTtlMs: 999,
    }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({
      code: "invalid_argument",
      violations: [
        { field: "settings.retry.maxAttempts" },
        { field: "settings.retry.backoffInitial" },
        { field: "settings.retry.backoffFactor" },
        { field: "settings.leaseTtl" },
        { field: "settings.reclaimAfter", message: "must be at least two heartbeats (10000ms)" },
      ],
    });
    expect(await getSettings(c, caller, org)).toEqual({});
  });

  test.each(["", "UPPER", "a b", "a\0", "x".repeat(101)])("refuse the name %j", async (name) => {
    const c = context();
    const caller = testCaller(await db.orgId());
    const wrong = { code: "invalid_argument", violations: [{ field: "scope.queue" }] };
    await expect(putSettings(c, caller, { scope: "queue", name }, {})).rejects.toMatchObject(wrong);
    await expect(getSettings(c, caller, { scope: "queue", name })).rejects.toMatchObject(wrong);
  });
});

describe("the settings in force for a job", () => {
  test("come from server < org < queue < kind < job", async () => {
    const c = context();
    const caller = testCaller(await db.orgId());
    const resolve = async (job = {}) => (await c.settings.resolve(caller.orgId, { ...of, job })).maxAttempts;
    expect(await resolve()).toBe(3);
    await putSettings(c, caller, org, { maxAttempts: 4 });
    expect(await resolve()).toBe(4);
    await putSettings(c, caller, queue, { maxAttempts: 5 });
    expect(await resolve()).toBe(5);
    await putSettings(c, caller, kind, { maxAttempts: 6 });
    expect(await resolve()).toBe(6);
    expect(await resolve({ maxAttempts: 7 })).toBe(7);
    expect((await c.settings.resolve(caller.orgId, { ...of, kind: "other" })).maxAttempts).toBe(5);
    expect(
      (await c.settings.resolve(caller.orgId, { ...of, kind: "other", queue: "other" })).maxAttempts,
    ).toBe(4);
    expect((await c.settings.resolve(await db.orgId(), of)).maxAttempts).toBe(3);
  });

  test("are at most a second behind what another coordinator put", async () => {
    const c = context();
    const other = context();
    const caller = testCaller(await db.orgId());
    await c.settings.resolve(caller.orgId, of);
    await putSettings(other, caller, org, { maxAttempts: 9 });
    c.advance(999);
    expect((await c.settings.resolve(caller.orgId, of)).maxAttempts).toBe(3);
    c.advance(1);
    expect((await c.settings.resolve(caller.orgId, of)).maxAttempts).toBe(9);
  });

  test("are read as one table", async () => {
    const c = context();
    const caller = testCaller(await db.orgId());
    await putSettings(c, caller, queue, { leaseTtlMs: 5_000 });
    expect(await loadSettings(db.database.app, caller.orgId)).toEqual({
      org: undefined,
      queues: new Map([["slow", { leaseTtlMs: 5_000 }]]),
      kinds: new Map(),
    });
  });
});
