import { inOrg, type Tx } from "../store/database.ts";
import { isAhead, lockAdminKeys, readKeys, readOrgName, revokeKeyRow, type ShownKey } from "../store/keys.ts";
import { readOrg } from "../store/snapshot.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { failedPrecondition, invalidArgument, notFound, scopeMissing, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { createKey, distrustKeys, type KeyContext, type KeyScope, keyScopes } from "./keys.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { nearestWord } from "./rules/spelling.ts";
import { textViolations } from "./rules/texts.ts";

/** A key as it is shown: never its secret, nor its hash. */
export type KeyView = Omit<ShownKey, "createdMicros">;

/** Who calls. */
export interface CallerView {
  readonly orgId: string;
  readonly org: string;
  readonly actor: string;
  readonly key: KeyView;
}

/** Tells who calls. */
export function whoAmI(c: KeyContext, { orgId, actor, keyId }: Caller): Promise<CallerView> {
  return readOrg(c.db.app, orgId, async (tx) => {
    const org = await readOrgName(tx, orgId);
    if (org === null) throw notFound("ORG_NOT_FOUND", encodeId("org", orgId));
    return { orgId, org, actor, key: await readOne(tx, orgId, keyId) };
  });
}

/** What is asked of a new API key. */
export interface KeyRequest {
  readonly name: string;
  readonly scopes: readonly string[];
  /** Null: it never ends by itself. */
  readonly expiresAt: Date | null;
}

/**
 * Makes an API key that allows nothing that the caller's own does not.
 *
 * @returns the key, and its text: here alone.
 */
export async function createApiKey(
  c: KeyContext,
  caller: Caller,
  { name, scopes: asked, expiresAt }: KeyRequest,
): Promise<{ readonly key: KeyView; readonly text: string }> {
  const violations: Violation[] = textViolations("name", name, { min: 1, max: 100 });
  const scopes = readScopes(violations, asked);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    if (expiresAt !== null && !(await isAhead(tx, expiresAt))) {
      violations.push({ field: "expireTime", message: "must be ahead" });
    }
    if (violations.length > 0) throw invalidArgument(violations);
    const missing = scopes.find(
      (scope) => !caller.scopes.includes("admin") && !caller.scopes.includes(scope),
    );
    if (missing !== undefined) throw scopeMissing(missing);
    const given = { orgId, type: "api" as const, name, scopes };
    const key = await createKey(c, tx, { ...given, ...(expiresAt === null ? {} : { expiresAt }) });
    const details = { name, scopes, expireTime: expiresAt?.toISOString() ?? null };
    await audit(tx, c, caller, { action: "key.create", target: key.id, details });
    return { key: await readOne(tx, orgId, key.id), text: key.text };
  });
}

/** Lists keys of all types, newest first: those that are valid, or all. */
export async function listKeys(
  c: KeyContext,
  { orgId }: Caller,
  { isWithEnded, ...page }: PageRequest & { readonly isWithEnded: boolean },
): Promise<Page<KeyView>> {
  const identity: ListIdentity = { list: "keys", orgId, filter: isWithEnded };
  const limit = pageRows(page);
  const [createdMicros, keyId = ""] = readPageToken(identity, page, [/^\d{1,18}$/, keyIdForm]) ?? [];
  const after = createdMicros === undefined ? null : { createdMicros, keyId };
  const rows = await readOrg(c.db.app, orgId, (tx) =>
    readKeys(tx, orgId, { isWithEnded, after, limit: limit + 1 }),
  );
  return pageOf(rows, limit, identity, (row) => [row.createdMicros, row.keyId], viewOf);
}

/**
 * Revokes a key for ever: from this answer on it is refused here, and within 1 s by the other coordinators. One that
 * is revoked stays as it is. The last valid key with the scope admin is refused: nobody could make another.
 */
export async function revokeKey(
  c: KeyContext,
  caller: Caller,
  { keyId, reason }: { readonly keyId: string; readonly reason: string },
): Promise<KeyView> {
  const violations: Violation[] = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  // Not echoed: it may be the whole text of a key.
  if (!keyIdForm.test(keyId)) {
    const message = keyId === "" ? "is required" : "must be the 12 characters of a key's id";
    violations.unshift({ field: "keyId", message });
  }
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const view = await inOrg(c.db.app, orgId, async (tx) => {
    const admins = await lockAdminKeys(tx, orgId);
    if (admins.length === 1 && admins[0] === keyId) throw failedPrecondition("LAST_ADMIN_KEY", { keyId });
    const { name, type, scopes, workerName } = await readOne(tx, orgId, keyId);
    if (await revokeKeyRow(tx, orgId, keyId)) {
      const details = { name, type, scopes, worker: workerName };
      await audit(tx, c, caller, { action: "key.revoke", target: keyId, reason, details });
    }
    return readOne(tx, orgId, keyId);
  });
  distrustKeys(c, [keyId]);
  return view;
}

const keyIdForm = /^[0-9A-Za-z]{12}$/;

function readScopes(violations: Violation[], asked: readonly string[]): KeyScope[] {
  if (asked.length === 0) violations.push({ field: "scopes", message: "must name at least one" });
  asked.slice(0, 100).forEach((scope, index) => {
    if (isScope(scope)) return;
    const near = nearestWord(scope, keyScopes);
    const meant = near === undefined ? "" : `; did you mean ${near}?`;
    violations.push({ field: `scopes[${index}]`, message: `must be one of ${keyScopes.join(", ")}${meant}` });
  });
  return keyScopes.filter((scope) => asked.includes(scope));
}

function isScope(text: string): text is KeyScope {
  return keyScopes.some((scope) => scope === text);
}

async function readOne(tx: Tx, orgId: string, keyId: string): Promise<KeyView> {
  const [row] = await readKeys(tx, orgId, { keyId });
  if (row === undefined) throw notFound("KEY_NOT_FOUND", keyId);
  return viewOf(row);
}

function viewOf({ createdMicros: _, ...view }: ShownKey): KeyView {
  return view;
}
