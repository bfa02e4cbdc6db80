import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { authenticate, createKeyContext } from "../../server/domain/keys.ts";
import { registerOwnWorker } from "../../server/domain/own-workers.ts";
import { createWorker } from "../../server/domain/workers.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";

const open: TestDatabase[] = [];
let db: TestDatabase;
beforeEach(async () => {
  db = await createTestDatabase();
  open.push(db);
});
afterAll(() => Promise.all(open.map((one) => one.close())));

const keysOf = (of: TestDatabase) =>
  createKeyContext(testCoordinator(of), { pepper: Buffer.alloc(32, 1), nowMs: () => 0 });
const isGood = (key: string) =>
  authenticate(createKeyContext(testCoordinator(db), { pepper: Buffer.alloc(32, 1) }), key, "r").then(
    (caller) => caller,
    () => null,
  );

describe("the worker of a coordinator", () => {
  test("has a key that may work, read and retry, and an audit row", async () => {
    const own = await registerOwnWorker(keysOf(db));
    expect(own.name).toBe("coordinator");
    expect(await isGood(own.key)).toMatchObject({
      actor: "worker:coordinator",
      scopes: ["work", "read", "operate"],
    });
    const audit = await db.admin`select actor, action, details ->> 'name' as name from muster.audit_log
      where action = 'worker.create'`;
    expect(audit).toEqual([{ actor: "system", action: "worker.create", name: "coordinator" }]);
  });

  test("takes the next name beside another coordinator, and the first one after its end", async () => {
    const [one, two] = await Promise.all([registerOwnWorker(keysOf(db)), registerOwnWorker(keysOf(db))]);
    expect([one.name, two.name].sort()).toEqual(["coordinator", "coordinator-2"]);
    const first = one.name === "coordinator" ? one : two;
    await first.release();
    expect(await isGood(first.key)).toBeNull();
    const three = await registerOwnWorker(keysOf(db));
    expect(three.name).toBe("coordinator");
    expect(await isGood(three.key)).not.toBeNull();
    const workers = await db.admin`select name from muster.workers order by name`;
    expect(workers.map((row) => row["name"])).toEqual(["coordinator", "coordinator-2"]);
  });

  test("takes the name of one that crashed, 30 s later, and revokes its key", async () => {
    const crashed = await registerOwnWorker(keysOf(db));
    expect((await registerOwnWorker(keysOf(db))).name).toBe("coordinator-2");
    await db.advanceClock(31_000);
    expect((await registerOwnWorker(keysOf(db))).name).toBe("coordinator");
    expect(await isGood(crashed.key)).toBeNull();
  });

  test("leaves a worker of that name alone that somebody else registered", async () => {
    const own = await registerOwnWorker(keysOf(db));
    await own.release();
    const [org] = await db.admin`select org_id from muster.orgs where name = 'default'`;
    await db.admin`delete from muster.api_keys`;
    await db.admin`delete from muster.workers`;
    const caller = testCaller(String(org?.["org_id"]));
    const { key } = await createWorker(keysOf(db), caller, { name: "coordinator" });
    await db.advanceClock(60_000);
    expect((await registerOwnWorker(keysOf(db))).name).toBe("coordinator-2");
    expect(await isGood(key)).not.toBeNull();
  });

  test("is registered in the org that is asked for, one at a time, and not where it may do nothing", async () => {
    const org = await db.orgId();
    const both = await Promise.all([registerOwnWorker(keysOf(db), org), registerOwnWorker(keysOf(db), org)]);
    expect(both.map(({ name }) => name).sort()).toEqual(["coordinator", "coordinator-2"]);
    expect(both.map(({ orgId }) => orgId)).toEqual([org, org]);
    expect(await isGood(both[0].key)).toMatchObject({ orgId: org });
    await db.admin`update muster.orgs set suspended_at = now() where org_id = ${org}`;
    await expect(registerOwnWorker(keysOf(db), org)).rejects.toMatchObject({ reason: "ORG_SUSPENDED" });
    await expect(registerOwnWorker(keysOf(db), db.newId())).rejects.toMatchObject({
      reason: "ORG_NOT_FOUND",
    });
  });

  test("is not registered where somebody disabled one, and leaves no key behind", async () => {
    const org = await db.orgId();
    await (await registerOwnWorker(keysOf(db), org)).release();
    await db.admin`update muster.workers set disabled_at = now() where org_id = ${org}`;
    const count = () => db.admin`select count(*)::int as count from muster.api_keys where org_id = ${org}`;
    const before = await count();
    await expect(registerOwnWorker(keysOf(db), org)).rejects.toMatchObject({ reason: "WORKER_DISABLED" });
    expect(await count()).toEqual(before);
  });
});
