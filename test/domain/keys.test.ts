import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  authenticate,
  bootstrap,
  createKey,
  createKeyContext,
  derivePepper,
  type KeyContext,
  keyScopes,
  verifiedKeyMs,
} from "../../server/domain/keys.ts";
import { generateKey } from "../../server/domain/rules/keys.ts";
import { inOrg, openDatabase } from "../../server/store/database.ts";
import { listOrgs } from "../../server/store/orgs.ts";
import {
  type CoordinatorOverrides,
  createTestDatabase,
  type TestDatabase,
  testCoordinator,
} from "../support/database.ts";

const pepper = derivePepper("test-secret");
const refusal = { code: "unauthenticated", reason: "KEY_INVALID" };

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

/** A context whose cache has a clock of its own. */
function keyContext(overrides: CoordinatorOverrides = {}): KeyContext & { advance(ms: number): void } {
  let now = 0;
  const c = createKeyContext(testCoordinator(db, overrides), { pepper, nowMs: () => now });
  const advance = (ms: number) => {
    now += ms;
  };
  return { ...c, advance };
}

async function newKey(c: KeyContext, orgId: string, given: { expiresAt?: Date; workerId?: string } = {}) {
  const type = given.workerId === undefined ? "api" : "worker";
  const key = await inOrg(db.database.app, orgId, (tx) =>
    createKey(c, tx, { orgId, type, name: "a key", scopes: ["read"], ...given }),
  );
  return key;
}

/** How often the database was asked, and a database that counts. */
function counting() {
  let queries = 0;
  const pool = db.database.appClient;
  const appClient = new Proxy(pool, {
    get(_, name) {
      if (name === "use") queries++;
      const member = Reflect.get(pool, name, pool);
      return typeof member === "function" ? member.bind(pool) : member;
    },
  });
  return { db: { ...db.database, appClient }, queries: () => queries };
}

describe("authenticating", () => {
  test("tells whose key it is", async () => {
    const c = keyContext();
    const orgId = await db.orgId();
    const key = await newKey(c, orgId);
    expect(await authenticate(c, key.text, "req_1")).toEqual({
      orgId,
      actor: `key:${key.id}`,
      type: "api",
      keyId: key.id,
      workerId: null,
      scopes: ["read"],
      requestId: "req_1",
    });
  });

  test("tells whose worker it is", async () => {
    const c = keyContext();
    const orgId = await db.orgId();
    const workerId = db.newId();
    await db.admin`insert into muster.workers (org_id, worker_id, name) values (${orgId}, ${workerId}, 'box-1')`;
    const key = await newKey(c, orgId, { workerId });
    expect(await authenticate(c, key.text, "req_1")).toMatchObject({
      workerId,
      actor: "worker:box-1",
      type: "worker",
    });
  });

  test("refuses malformed keys without asking the database", async () => {
    const { db: counted, queries } = counting();
    const c = keyContext({ db: counted });
    const { text } = generateKey("api");
    const wrong = [
      "",
      "mk_api",
      `${text} `,
      `${text.slice(0, -1)}!`,
      text.replace("mk_api", "mk_worker"),
      "x".repeat(1e6),
    ];
    for (const token of wrong) await expect(authenticate(c, token, "req_1")).rejects.toMatchObject(refusal);
    expect(queries()).toBe(0);
  });

  test("refuses unknown, wrong, revoked and expired keys in the same words", async () => {
    const c = keyContext();
    const orgId = await db.orgId();
    const revoked = await newKey(c, orgId);
    await db.admin`update muster.api_keys set revoked_at = now() where key_id = ${revoked.id}`;
    const expired = await newKey(c, orgId, { expiresAt: new Date(db.nowMs() + 60_000) });
    await expect(authenticate(c, expired.text, "req_1")).resolves.toMatchObject({ orgId });
    await db.advanceClock(60_000);
    c.advance(verifiedKeyMs);
    const known = await newKey(c, orgId);
    await db.admin`update muster.api_keys set hash = '\\x00' where key_id = ${known.id}`;
    const answers = new Set<string>();
    for (const { text } of [generateKey("api"), known, revoked, expired]) {
      const error = await authenticate(c, text, "req_1").catch((cause: unknown) => cause);
      expect(error).toMatchObject(refusal);
      answers.add(JSON.stringify({ ...Object(error), message: String(error) }));
    }
    expect(answers.size).toBe(1);
  });

  test("refuses the key of a disabled worker, and says so", async () => {
    const c = keyContext();
    const orgId = await db.orgId();
    const workerId = db.newId();
    await db.admin`insert into muster.workers (org_id, worker_id, name, disabled_at)
      values (${orgId}, ${workerId}, 'box-1', now())`;
    const key = await newKey(c, orgId, { workerId });
    const answer = authenticate(c, key.text, "req_1");
    await expect(answer).rejects.toMatchObject({ reason: "WORKER_DISABLED", details: { worker: "box-1" } });
  });

  test("refuses the key of a worker that is gone", async () => {
    const c = keyContext();
    const key = await newKey(c, await db.orgId(), { workerId: db.newId() });
    await expect(authenticate(c, key.text, "req_1")).rejects.toMatchObject(refusal);
  });

  test("asks ahead, twice a second at most, one time for many at once, and trusts no answer for longer", async () => {
    const { db: counted, queries } = counting();
    const c = keyContext({ db: counted });
    const orgId = await db.orgId();
    const key = await newKey(c, orgId);
    const callers = await Promise.all([1, 2, 3].map((n) => authenticate(c, key.text, `req_${n}`)));
    expect(callers.map((caller) => caller.requestId)).toEqual(["req_1", "req_2", "req_3"]);
    c.advance(verifiedKeyMs / 2 - 1);
    await authenticate(c, key.text, "req_4");
    expect(queries()).toBe(1);
    c.advance(1);
    await Promise.all([authenticate(c, key.text, "req_5"), authenticate(c, key.text, "req_6")]);
    expect(queries()).toBe(2);
    await db.admin`update muster.api_keys set revoked_at = now() where key_id = ${key.id}`;
    c.advance(verifiedKeyMs);
    await expect(authenticate(c, key.text, "req_7")).rejects.toMatchObject(refusal);
  });

  test("passes on that the database is away, rather than refuse a key", async () => {
    const away = openDatabase({
      urls: {
        muster_app: "postgres://127.0.0.1:1/x",
        muster_hot: "postgres://127.0.0.1:1/x",
        muster_sweep: "postgres://127.0.0.1:1/x",
      },
      appConnections: 1,
      hotConnections: 1,
    });
    const c = keyContext({ db: away });
    await expect(authenticate(c, generateKey("api").text, "req_1")).rejects.not.toMatchObject(refusal);
    await away.close();
  });

  test("leaves nothing of a secret in the database", async () => {
    const c = keyContext();
    const key = await newKey(c, await db.orgId());
    const [row] =
      await db.admin`select k.*, encode(hash, 'hex') as hex from muster.api_keys k where key_id = ${key.id}`;
    const hex = Buffer.from(key.secret).toString("hex");
    expect(JSON.stringify(row)).not.toContain(key.secret);
    expect(String(row?.["hex"])).not.toContain(hex.slice(0, 16));
    expect(row?.["hex"]).toHaveLength(64);
  });
});

describe("the first start", () => {
  let own: TestDatabase;
  beforeAll(async () => {
    own = await createTestDatabase();
  });
  afterAll(() => own.close());
  const contextOn = (adminKey?: string) =>
    createKeyContext(testCoordinator(own, { config: { adminKey } }), { pepper });

  test("makes one org and one admin key, however many coordinators start at once", async () => {
    const starts = await Promise.all([1, 2, 3, 4].map(() => bootstrap(contextOn())));
    const [orgId, ...others] = new Set(starts.map((start) => start.orgId));
    expect(others).toEqual([]);
    const keys = starts.flatMap(({ adminKey }) => (adminKey === null ? [] : [adminKey]));
    expect(keys).toHaveLength(1);
    expect(await listOrgs(own.database.sweep)).toEqual([{ orgId, name: "default" }]);
    const caller = await authenticate(contextOn(), keys[0] ?? "", "req_1");
    expect(caller).toMatchObject({ orgId, scopes: [...keyScopes], type: "api", workerId: null });
    const audit = await own.admin`select actor, action, details from muster.audit_log`;
    expect(audit).toEqual([
      { actor: "system", action: "org.create", details: { org: "default", keyId: caller.keyId } },
    ]);
  });

  test("is over at the second: it shows no key", async () => {
    const [org] = await listOrgs(own.database.sweep);
    expect(await bootstrap(contextOn())).toEqual({ orgId: org?.orgId, adminKey: null });
  });

  test("registers a configured admin key once, and shows it to nobody", async () => {
    const { text, id } = generateKey("api");
    const starts = await Promise.all([1, 2, 3].map(() => bootstrap(contextOn(text))));
    expect(starts.map((start) => start.adminKey)).toEqual([null, null, null]);
    expect(await authenticate(contextOn(), text, "req_1")).toMatchObject({
      keyId: id,
      scopes: [...keyScopes],
    });
    const audit = await own.admin`select target from muster.audit_log where action = 'key.create'`;
    expect(audit).toEqual([{ target: id }]);
  });

  test("does not bring back a configured admin key that was revoked", async () => {
    const { text, id } = generateKey("api");
    await bootstrap(contextOn(text));
    await own.admin`update muster.api_keys set revoked_at = now() where key_id = ${id}`;
    await bootstrap(contextOn(text));
    await expect(authenticate(contextOn(), text, "req_1")).rejects.toMatchObject(refusal);
  });

  test("refuses an admin key that is none", async () => {
    for (const text of ["x".repeat(40), generateKey("worker").text]) {
      const error = await bootstrap(contextOn(text)).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ violations: [{ field: "adminKey" }] });
      expect(String(error)).not.toContain(text);
    }
  });

  test("refuses an admin key that was registered under another secret", async () => {
    const { text } = generateKey("api");
    await bootstrap(contextOn(text));
    const other = createKeyContext(testCoordinator(own, { config: { adminKey: text } }), {
      pepper: derivePepper("another"),
    });
    await expect(bootstrap(other)).rejects.toThrow(/belongs to another key/);
  });
});
