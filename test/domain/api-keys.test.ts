import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createApiKey, listKeys, revokeKey, whoAmI } from "../../server/domain/api-keys.ts";
import type { Coordinator } from "../../server/domain/context.ts";
import {
  authenticate,
  createKeyContext,
  derivePepper,
  type KeyContext,
  orgScopes,
} from "../../server/domain/keys.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { insertWorkerRow } from "../support/rows.ts";

const pepper = derivePepper("test-secret");
const firstPage = { pageSize: 0, pageToken: "", isWithEnded: false };

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

/** A context whose cache never ages: what is forgotten was forgotten on purpose. */
function keyContext(): KeyContext & Coordinator {
  return createKeyContext(testCoordinator(db), { pepper, nowMs: () => 0 });
}

async function org() {
  const orgId = await db.orgId();
  const c = keyContext();
  const caller = testCaller(orgId);
  const create = (name: string, scopes: readonly string[] = ["read"], expiresAt: Date | null = null) =>
    createApiKey(c, caller, { name, scopes, expiresAt });
  const audited = () =>
    db.admin`select action, target, reason, details from muster.audit_log where org_id = ${orgId} order by audit_id`;
  return { orgId, c, caller, create, audited };
}

describe("making a key", () => {
  test("answers with a text that is valid, and audits all but that", async () => {
    const { c, create, audited, orgId } = await org();
    const { key, text } = await create("ci", ["submit", "read", "read"]);
    expect(key).toMatchObject({ name: "ci", type: "api", scopes: ["read", "submit"], revokedAt: null });
    expect(await authenticate(c, text, "req_1")).toMatchObject({
      orgId,
      keyId: key.keyId,
      scopes: key.scopes,
    });
    const rows = await audited();
    expect(rows).toEqual([
      expect.objectContaining({
        action: "key.create",
        target: key.keyId,
        details: { name: "ci", scopes: ["read", "submit"], expireTime: null },
      }),
    ]);
    expect(JSON.stringify(rows)).not.toContain(text.split("_")[3]);
  });

  test("refuses all that is wrong at once", async () => {
    const { create } = await org();
    const error = create("", ["red", "read"], new Date(db.nowMs() - 1_000));
    await expect(error).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
      violations: [
        { field: "name" },
        { field: "scopes[0]", message: expect.stringContaining("did you mean read?") },
        { field: "expireTime", message: "must be ahead" },
      ],
    });
    await expect(create("x", [])).rejects.toMatchObject({ violations: [{ field: "scopes" }] });
  });

  test("gives nothing that the caller does not have", async () => {
    const { c, orgId, audited } = await org();
    const caller = testCaller(orgId, { scopes: ["read", "operate"] });
    const asked = { name: "more", scopes: ["read", "submit"], expiresAt: null };
    await expect(createApiKey(c, caller, asked)).rejects.toMatchObject({
      reason: "SCOPE_MISSING",
      details: { scope: "submit" },
    });
    expect(await audited()).toEqual([]);
  });
});

describe("revoking a key", () => {
  test("ends it here at once, with a reason in the audit log, once", async () => {
    const { c, caller, create, audited } = await org();
    await create("other", ["admin"]);
    const { key, text } = await create("leaked", orgScopes);
    await authenticate(c, text, "req_1");
    const revoked = await revokeKey(c, caller, { keyId: key.keyId, reason: "in a log" });
    expect(revoked.revokedAt).toBeInstanceOf(Date);
    await expect(authenticate(c, text, "req_2")).rejects.toMatchObject({ reason: "KEY_INVALID" });
    const again = await revokeKey(c, caller, { keyId: key.keyId, reason: "again" });
    expect(again.revokedAt).toEqual(revoked.revokedAt);
    expect((await audited()).filter(({ action }) => action === "key.revoke")).toEqual([
      expect.objectContaining({
        target: key.keyId,
        reason: "in a log",
        details: expect.objectContaining({ name: "leaked" }),
      }),
    ]);
  });

  test("refuses the last valid one with the scope admin, also for two that revoke each other", async () => {
    const { c, caller, create } = await org();
    const { key: only } = await create("only", ["admin"]);
    await create("short", ["admin"], new Date(db.nowMs() + 60_000));
    await db.advanceClock(61_000);
    await create("reader");
    const revoke = (keyId: string) => revokeKey(c, caller, { keyId, reason: "" });
    await expect(revoke(only.keyId)).rejects.toMatchObject({
      code: "failed_precondition",
      reason: "LAST_ADMIN_KEY",
    });
    const { key: second } = await create("second", ["admin"]);
    const both = await Promise.allSettled([revoke(only.keyId), revoke(second.keyId)]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
  });

  test("of another org is not found; a whole key instead of an id is not echoed", async () => {
    const { c, caller } = await org();
    const { key, text } = await (await org()).create("theirs");
    await expect(revokeKey(c, caller, { keyId: key.keyId, reason: "" })).rejects.toMatchObject({
      reason: "KEY_NOT_FOUND",
    });
    const error = await revokeKey(c, caller, { keyId: text, reason: "" }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ violations: [{ field: "keyId" }] });
    expect(JSON.stringify(error) + String(error)).not.toContain(text.slice(-40));
  });
});

test("lists keys newest first, page by page, those that ended only when asked", async () => {
  const { c, caller, create, orgId } = await org();
  const workerId = await insertWorkerRow(db, orgId, { name: "box" });
  const made = [];
  for (const name of ["a", "b", "c"]) made.push((await create(name)).key.keyId);
  await revokeKey(c, caller, { keyId: made[1] ?? "", reason: "" });
  await db.admin`update muster.api_keys set worker_id = ${workerId} where key_id = ${made[0] ?? ""}`;
  const valid = await listKeys(c, caller, firstPage);
  expect(valid.items.map(({ name, workerName }) => [name, workerName])).toEqual([
    ["c", ""],
    ["a", "box"],
  ]);
  expect(valid.items[0]).not.toHaveProperty("hash");
  const names: string[] = [];
  let pageToken = "";
  do {
    const page = await listKeys(c, caller, { pageSize: 1, pageToken, isWithEnded: true });
    names.push(...page.items.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect(names).toEqual(["c", "b", "a"]);
  await expect(listKeys(c, caller, { ...firstPage, pageToken: "x" })).rejects.toMatchObject({
    reason: "PAGE_TOKEN_INVALID",
  });
});

test("tells who calls", async () => {
  const { c, caller, create, orgId } = await org();
  const { key } = await create("me");
  const me = { ...caller, keyId: key.keyId, actor: `key:${key.keyId}` };
  expect(await whoAmI(c, me)).toMatchObject({ orgId, org: `org ${orgId}`, actor: me.actor, key });
});
