import { createHash, createHmac, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createApiKey } from "../../server/domain/api-keys.ts";
import { authenticate, createKeyContext, derivePepper } from "../../server/domain/keys.ts";
import { type ForeignKey, registerForeignKey } from "../../server/domain/registered-keys.ts";
import { rotateKey } from "../../server/domain/rotations.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db?.close());

const hmacSecret = "a secret that both of the systems have";

async function org() {
  let now = 0;
  const base = testCoordinator(db, { config: { keyHmacSecret: hmacSecret } });
  const c = createKeyContext(base, { pepper: derivePepper("one"), nowMs: () => now });
  const orgId = await db.orgId();
  const advance = () => {
    now += 2_000;
  };
  return { c, orgId, caller: testCaller(orgId), advance };
}

const unlimited = { callsPerMinute: null, jobsPerDay: null };
const foreign = (given: Partial<ForeignKey>): ForeignKey => ({
  name: "shop",
  scheme: "sha256",
  hash: "",
  prefix: "shop_",
  lastFour: "",
  scopes: ["submit"],
  expiresAt: null,
  limits: unlimited,
  ...given,
});

describe("S2 keys that were hashed elsewhere", () => {
  test.each([
    ["sha256", (text: string) => createHash("sha256").update(text).digest("base64url")],
    ["hmac", (text: string) => createHmac("sha256", hmacSecret).update(text).digest("hex")],
  ] as const)("by %s are found by their whole hash", async (scheme, hashOf) => {
    const { c, orgId, caller } = await org();
    const text = `shop_${randomBytes(32).toString("base64url")}`;
    const key = await registerForeignKey(c, caller, foreign({ scheme, hash: hashOf(text) }));
    expect(key).toMatchObject({ scheme, prefix: "shop_", scopes: ["submit"] });
    expect(await authenticate(c, text, "r")).toMatchObject({ orgId, keyId: key.keyId, scopes: ["submit"] });
    for (const other of [`${text}x`, hashOf(text), `shop_${randomBytes(32).toString("base64url")}`]) {
      await expect(authenticate(c, other, "r")).rejects.toMatchObject({ reason: "KEY_INVALID" });
    }
  });

  test("a hash is registered once, and who has it is not told", async () => {
    const [ours, theirs] = [await org(), await org()];
    const hash = createHash("sha256").update(randomBytes(32)).digest("base64url");
    const { keyId } = await registerForeignKey(theirs.c, theirs.caller, foreign({ hash }));
    const error = await registerForeignKey(ours.c, ours.caller, foreign({ hash })).catch(
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({ reason: "KEY_REGISTERED", details: {} });
    expect(String(error)).not.toContain(keyId);
  });

  test("all that is wrong is said at once", async () => {
    const { c, caller } = await org();
    const wrong = foreign({
      scheme: "md5",
      hash: "x",
      prefix: "mk_api_",
      lastFour: "12345",
      scopes: ["all"],
    });
    await expect(registerForeignKey(c, caller, wrong)).rejects.toMatchObject({
      violations: [
        { field: "scheme" },
        { field: "hash" },
        { field: "prefix" },
        { field: "lastFour" },
        { field: "scopes[0]" },
      ],
    });
  });
});

describe("S2 a key is rotated with overlap", () => {
  test("both are valid until it is over; the new one is like the old one", async () => {
    const { c, caller, advance } = await org();
    const limits = { callsPerMinute: 7, jobsPerDay: null };
    const old = await createApiKey(c, caller, { name: "ci", scopes: ["read"], expiresAt: null, limits });
    const rotation = { keyId: old.key.keyId, overlapMs: 60_000, reason: "yearly" };
    const { key, text, old: before } = await rotateKey(c, caller, rotation);
    expect(key).toMatchObject({ name: "ci", scopes: ["read"], callsPerMinute: 7, expiresAt: null });
    expect(before).toMatchObject({ successor: key.keyId, expiresAt: expect.any(Date) });
    for (const one of [old.text, text]) await authenticate(c, one, "r");
    await db.advanceClock(61_000);
    advance();
    await expect(authenticate(c, old.text, "r")).rejects.toMatchObject({ reason: "KEY_INVALID" });
    await authenticate(c, text, "r");
    await expect(rotateKey(c, caller, rotation)).rejects.toMatchObject({ reason: "KEY_ENDED" });
  });

  test("without an overlap the old one ends at once", async () => {
    const { c, caller } = await org();
    const old = await createApiKey(c, caller, { name: "ci", scopes: ["read"], expiresAt: null });
    await authenticate(c, old.text, "r");
    const { text } = await rotateKey(c, caller, { keyId: old.key.keyId, overlapMs: 0, reason: "" });
    await expect(authenticate(c, old.text, "r")).rejects.toMatchObject({ reason: "KEY_INVALID" });
    await authenticate(c, text, "r");
  });

  test("nobody gets by it what their own key does not allow", async () => {
    const { c, orgId, caller } = await org();
    const old = await createApiKey(c, caller, { name: "boss", scopes: ["admin"], expiresAt: null });
    const weak = testCaller(orgId, { scopes: ["operate"] });
    const rotation = { keyId: old.key.keyId, overlapMs: null, reason: "" };
    await expect(rotateKey(c, weak, rotation)).rejects.toMatchObject({ reason: "SCOPE_MISSING" });
  });
});
