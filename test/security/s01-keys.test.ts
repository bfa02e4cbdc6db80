import { toJson, toJsonString } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { createMusterClient } from "@muster/client/node";
import {
  CreateKeyResponseSchema,
  GetKeyResponseSchema,
  KeyService,
  ListKeysResponseSchema,
  WhoAmIResponseSchema,
} from "@muster/client/v1/key_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createApiKey, revokeKey } from "../../server/domain/api-keys.ts";
import { authenticate, createKeyContext, derivePepper } from "../../server/domain/keys.ts";
import { generateKey } from "../../server/domain/rules/keys.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db?.close());

/** A coordinator that knows keys by these secrets, newest first; its clock stands still unless it is given. */
function knowing([secret = "one", ...older]: readonly string[] = [], nowMs = () => 0, badKeysPerMinute = 60) {
  return createKeyContext(testCoordinator(db, { config: { badKeysPerMinute } }), {
    pepper: derivePepper(secret),
    olderPeppers: older.map(derivePepper),
    nowMs,
  });
}

async function reasonOf(call: Promise<unknown>): Promise<string> {
  const { detail } = readErrorOf(
    await call.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
  return detail;
}

function readErrorOf(error: unknown): { readonly detail: string } {
  const reason = typeof error === "object" && error !== null ? Reflect.get(error, "reason") : undefined;
  return { detail: typeof reason === "string" ? reason : "none" };
}

describe("S1 malformed keys are refused without a query", () => {
  test("100,000 mutated keys cost none", async () => {
    const c = knowing();
    const { text } = await createApiKey(c, testCaller(await db.orgId()), {
      name: "x",
      scopes: ["read"],
      expiresAt: null,
    });
    const letters = "abcXYZ019_ -é";
    const before = db.database.uses();
    let refused = 0;
    for (let n = 0; n < 100_000; n++) {
      const at = n % text.length;
      const other = letters[Math.floor(n / text.length) % letters.length] ?? "";
      const mutant =
        n % 3 === 0
          ? text.slice(0, at) + text.slice(at + 1)
          : n % 3 === 1
            ? text.slice(0, at) + other + text.slice(at)
            : text.slice(0, at) + other + text.slice(at + 1);
      if (mutant === text) continue;
      if ((await reasonOf(authenticate(c, mutant, "r", "192.0.2.1"))) === "KEY_INVALID") refused++;
      else throw new Error(`not refused: ${mutant}`);
    }
    expect(refused).toBeGreaterThan(99_000);
    expect(db.database.uses()).toBe(before);
  }, 120_000);
});

describe("S2 only hashes of secrets are kept, and compared in constant time", () => {
  test("no table has a secret", async () => {
    const c = knowing();
    const caller = testCaller(await db.orgId());
    const { text } = await createApiKey(c, caller, { name: "x", scopes: ["read"], expiresAt: null });
    await authenticate(c, text, "r");
    const secret = text.split("_")[3] ?? "";
    const tables = await db.admin`select relname as name from pg_class
      where relnamespace = 'muster'::regnamespace and relkind in ('r', 'p')`;
    for (const { name } of tables) {
      const [found] = await db.admin`select count(*)::int as rows from muster.${db.admin(name)} t
        where t::text like ${`%${secret}%`} or t::text like ${`%${Buffer.from(secret).toString("hex")}%`}`;
      expect([name, found?.["rows"]]).toEqual([name, 0]);
    }
    expect(tables.length).toBeGreaterThan(20);
  });

  test("a key under an older secret still works, and is hashed anew at its next use", async () => {
    const caller = testCaller(await db.orgId());
    const { text, key } = await createApiKey(knowing(["old"]), caller, {
      name: "x",
      scopes: ["read"],
      expiresAt: null,
    });
    const version = async () =>
      (await db.admin`select pepper, hash from muster.api_keys where key_id = ${key.keyId}`)[0];
    const before = await version();
    expect(await authenticate(knowing(["new", "old"]), text, "r")).toMatchObject({ keyId: key.keyId });
    const after = await version();
    expect(after?.["pepper"]).not.toBe(before?.["pepper"]);
    expect(after?.["hash"]).not.toEqual(before?.["hash"]);
    // The old secret is not needed any more.
    expect(await authenticate(knowing(["new"]), text, "r")).toMatchObject({ keyId: key.keyId });
    expect(await reasonOf(authenticate(knowing(["old"]), text, "r"))).toBe("KEY_INVALID");
  });

  test("an unknown key takes about as long as a right one", async () => {
    let now = 0;
    const c = knowing(["one"], () => (now += 2_000), 1_000_000);
    const { text } = await createApiKey(c, testCaller(await db.orgId()), {
      name: "x",
      scopes: ["read"],
      expiresAt: null,
    });
    const took = { hit: [] as number[], miss: [] as number[] };
    for (let n = 0; n < 60; n++) {
      for (const sort of ["hit", "miss"] as const) {
        const given = sort === "hit" ? text : generateKey("api").text;
        const startedMs = performance.now();
        await authenticate(c, given, "r").catch(() => {});
        took[sort].push(performance.now() - startedMs);
      }
    }
    const median = (all: readonly number[]) => all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0;
    const ratio = median(took.hit) / median(took.miss);
    expect(ratio).toBeGreaterThan(0.4);
    expect(ratio).toBeLessThan(2.5);
  }, 60_000);
});

describe("over the API", () => {
  let muster: TestServer;
  beforeAll(async () => {
    muster = await startTestServer();
  });
  afterAll(() => muster?.close());

  describe("S3 a secret is shown once", () => {
    test("after it was made, only its prefix and its last four characters are", async () => {
      const keys = muster.client(KeyService);
      const made = await keys.createKey({ name: "once", scopes: ["read"] });
      const { text, key } = made;
      const secret = text.split("_")[3] ?? "";
      expect(toJsonString(CreateKeyResponseSchema, made)).toContain(secret);
      const own = createMusterClient(KeyService, { address: muster.server.apiAddress, key: text });
      const shown = [
        toJsonString(GetKeyResponseSchema, await keys.getKey({ keyId: key?.keyId ?? "" })),
        toJsonString(ListKeysResponseSchema, await keys.listKeys({ all: true })),
        toJsonString(WhoAmIResponseSchema, await own.whoAmI({})),
        JSON.stringify(await muster.database.admin`select * from muster.audit_log`),
      ];
      for (const one of shown) expect(one).not.toContain(secret);
      expect(toJson(GetKeyResponseSchema, await keys.getKey({ keyId: key?.keyId ?? "" }))).toMatchObject({
        key: { prefix: "mk", lastFour: text.slice(-4) },
      });
    });
  });

  describe("S4 unknown, revoked and expired keys have one answer", () => {
    test("the same body; why is in the audit log alone, once a minute", async () => {
      const keys = muster.client(KeyService);
      const revoked = await keys.createKey({ name: "revoked", scopes: ["read"] });
      await keys.revokeKey({ keyId: revoked.key?.keyId ?? "" });
      const expired = await keys.createKey({ name: "expired", scopes: ["read"] });
      await muster.database
        .admin`update muster.api_keys set expires_at = now() - interval '1 h' where key_id = ${expired.key?.keyId ?? ""}`;
      const bodies = new Set<string>();
      for (const text of [generateKey("api").text, revoked.text, expired.text, revoked.text, expired.text]) {
        const answer = await fetch(`${muster.server.apiAddress}/muster.v1.KeyService/WhoAmI`, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            authorization: `Bearer ${text}`,
            "x-request-id": "same",
          },
          body: "{}",
        });
        bodies.add(`${answer.status} ${await answer.text()}`);
      }
      expect([...bodies]).toEqual([expect.stringMatching(/^401 .*KEY_INVALID/)]);
      const causes = async () =>
        muster.database
          .admin`select target, reason from muster.audit_log where action = 'key.refuse' order by reason`;
      await expect.poll(async () => (await causes()).length, { timeout: 10_000 }).toBe(2);
      expect(await causes()).toEqual([
        { target: expired.key?.keyId, reason: "expired" },
        { target: revoked.key?.keyId, reason: "revoked" },
      ]);
    });
  });

  test("the limit of guesses reaches the caller as RESOURCE_EXHAUSTED with a delay", async () => {
    const call = () =>
      createMusterClient(KeyService, { address: muster.server.apiAddress, key: generateKey("api").text })
        .whoAmI({})
        .catch((error: unknown) => readError(error));
    const answers = await Promise.all(Array.from({ length: 100 }, call));
    const refused = answers.filter((one) => "code" in one && one.code === Code.ResourceExhausted);
    expect(refused.length).toBeGreaterThan(30);
    expect(refused[0]).toMatchObject({ detail: { reason: "RATE_LIMITED" } });
    // Who is known is not in the way of it.
    await muster.client(KeyService).whoAmI({});
  });
});

describe("S5 guesses are limited before the database is asked", () => {
  test("1,000 bad keys at once cost no more queries than the burst, and a limit is no refusal of the key", async () => {
    const c = knowing();
    const before = db.database.uses();
    const reasons = await Promise.all(
      Array.from({ length: 1_000 }, () =>
        reasonOf(authenticate(c, generateKey("api").text, "r", "192.0.2.7")),
      ),
    );
    expect(reasons.filter((reason) => reason === "KEY_INVALID")).toHaveLength(60);
    expect(reasons.filter((reason) => reason === "RATE_LIMITED")).toHaveLength(940);
    expect(db.database.uses() - before).toBeLessThanOrEqual(60);
    await expect(authenticate(c, generateKey("api").text, "r", "192.0.2.7")).rejects.toMatchObject({
      code: "resource_exhausted",
      retryAfterMs: 1_000,
    });
  });

  test("who comes with valid keys is not limited, however many they are at once", async () => {
    const c = knowing();
    const caller = testCaller(await db.orgId());
    const texts: string[] = [];
    for (let n = 0; n < 150; n++) {
      texts.push((await createApiKey(c, caller, { name: `k${n}`, scopes: ["read"], expiresAt: null })).text);
    }
    const callers = await Promise.all(texts.map((text) => authenticate(c, text, "r", "192.0.2.8")));
    expect(new Set(callers.map(({ keyId }) => keyId)).size).toBe(150);
  });

  test("a key that was valid before is looked up whatever others guess; one that ended is limited", async () => {
    let now = 0;
    const c = { ...testCoordinator(db), ...knowing(["one"], () => now) };
    const caller = testCaller(await db.orgId());
    const { text, key } = await createApiKey(c, caller, { name: "x", scopes: ["read"], expiresAt: null });
    await authenticate(c, text, "r", "192.0.2.9");
    const guess = () => reasonOf(authenticate(c, generateKey("api").text, "r", "192.0.2.9"));
    for (let n = 0; n < 61; n++) await guess();
    expect(await guess()).toBe("RATE_LIMITED");
    now += 100;
    c.verifiedKeys.forgetAll("");
    expect(await authenticate(c, text, "r", "192.0.2.9")).toMatchObject({ keyId: key.keyId });
    await revokeKey(c, caller, { keyId: key.keyId, reason: "" });
    expect(await reasonOf(authenticate(c, text, "r", "192.0.2.9"))).toBe("KEY_INVALID");
    expect(await reasonOf(authenticate(c, text, "r", "192.0.2.9"))).toBe("RATE_LIMITED");
  });

  test("however many addresses guess, memory has a bound", async () => {
    const { BadKeys } = await import("../../server/domain/bad-keys.ts");
    const limits = new BadKeys({ perMinute: 2, nowMs: () => 0, maxEntries: 100 });
    for (let n = 0; n < 1_000; n++) await limits.lookUp(`d${n}`, [`address ${n}`], async () => n);
    expect(limits.size).toBeLessThanOrEqual(100);
  });
});
