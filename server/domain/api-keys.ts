import { inOrg, type Tx } from "../store/database.ts";
import { detachLinkRow, readLeasesToEnd } from "../store/disabled-workers.ts";
import {
  hasValidKey,
  isAhead,
  lockAdminKeys,
  lockKey,
  ownScheme,
  readKeys,
  readOrgName,
  revokeKeyRow,
  type ShownKey,
} from "../store/keys.ts";
import { readOrg } from "../store/snapshot.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator, KeyLimits } from "./context.ts";
import { failedPrecondition, invalidArgument, notFound, scopeMissing, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { createKey, distrustKeys, type KeyContext, type KeyScope, keyScopes } from "./keys.ts";
import { endLeases } from "./leases.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { nearestWord } from "./rules/spelling.ts";
import { textViolations } from "./rules/texts.ts";

/** A key as it is shown: never its secret, nor its hash. `scheme` is empty for keys that were made here. */
export type KeyView = Omit<ShownKey, "createdMicros">;

/** Who calls. */
export interface CallerView {
  readonly orgId: string;
  readonly org: string;
  readonly actor: string;
  /** Null: a person calls. */
  readonly key: KeyView | null;
  readonly scopes: readonly string[];
}

/** Tells who calls. */
export async function whoAmI(
  c: KeyContext,
  { orgId, keyOrgId = orgId, actor, keyId, personId, scopes }: Caller,
): Promise<CallerView> {
  const org = await readOrg(c.db.app, orgId, (tx) => readOrgName(tx, orgId));
  if (org === null) throw notFound("ORG_NOT_FOUND", encodeId("org", orgId));
  const key =
    personId === undefined ? await readOrg(c.db.app, keyOrgId, (tx) => readKey(tx, keyOrgId, keyId)) : null;
  return { orgId, org, actor, key, scopes };
}

/** What is asked of a new API key. */
export interface KeyRequest {
  readonly name: string;
  readonly scopes: readonly string[];
  /** Null: it never ends by itself. */
  readonly expiresAt: Date | null;
  /** Absent: none. */
  readonly limits?: KeyLimits;
}

/**
 * Makes an API key that allows nothing that the caller's own does not.
 *
 * @returns the key, and its text: here alone.
 */
export async function createApiKey(
  c: KeyContext,
  caller: Caller,
  { name, scopes: asked, expiresAt, limits = noLimits }: KeyRequest,
): Promise<{ readonly key: KeyView; readonly text: string }> {
  const violations: Violation[] = textViolations("name", name, { min: 1, max: 100 });
  const scopes = readScopes(violations, asked);
  checkLimits(violations, limits);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    await checkExpiry(tx, violations, expiresAt);
    requireScopes(caller, scopes);
    const given = { orgId, type: "api" as const, name, scopes, limits };
    const key = await createKey(c, tx, { ...given, ...(expiresAt === null ? {} : { expiresAt }) });
    const details = { name, scopes, expireTime: expiresAt?.toISOString() ?? null, ...shownLimits(limits) };
    await audit(tx, c, caller, { action: "key.create", target: key.id, details });
    return { key: await readKey(tx, orgId, key.id), text: key.text };
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

/** Reads a key. */
export async function getKey(c: KeyContext, { orgId }: Caller, keyId: string): Promise<KeyView> {
  refuseViolations(keyIdViolations(keyId));
  return readOrg(c.db.app, orgId, (tx) => readKey(tx, orgId, keyId));
}

/** How a key is revoked. */
export interface Revocation {
  readonly keyId: string;
  readonly reason: string;
  /** Whether the leases of its worker stand until the reclaim time has passed. Default: they end at once. */
  readonly keepsLeases?: boolean;
}

/**
 * Revokes a key for ever: from this answer on it is refused here, and within 1 s by the other coordinators; its streams
 * end here at once, and elsewhere within 2 s. One that is revoked stays as it is. The last valid key with the scope
 * admin is refused: nobody could make another.
 *
 * When it was the last valid key of a worker, its leases end as those of a disabled one: at once, and blame nobody;
 * those of jobs that run alone `reclaim_after` after its last heartbeat.
 */
export async function revokeKey(
  c: KeyContext & Coordinator,
  caller: Caller,
  { keyId, reason, keepsLeases = false }: Revocation,
): Promise<KeyView> {
  refuseViolations([...keyIdViolations(keyId), ...reasonViolations(reason)]);
  const { orgId } = caller;
  const { view, leases } = await inOrg(c.db.app, orgId, async (tx) => {
    const admins = await lockAdminKeys(tx, orgId);
    if (admins.length === 1 && admins[0] === keyId) throw failedPrecondition("LAST_ADMIN_KEY", { keyId });
    const { name, type, scopes, workerName } = await readKey(tx, orgId, keyId);
    const locked = await lockKey(tx, orgId, keyId);
    if (!(await revokeKeyRow(tx, orgId, keyId))) return { view: await readKey(tx, orgId, keyId), leases: [] };
    const workerId = locked?.workerId ?? null;
    const isLast = workerId !== null && !keepsLeases && !(await hasValidKey(tx, orgId, workerId));
    if (isLast) await detachLinkRow(tx, orgId, workerId);
    const held = isLast ? await readLeasesToEnd(tx, orgId, workerId) : [];
    const details = { name, type, scopes, worker: workerName, leases: held.length };
    await audit(tx, c, caller, { action: "key.revoke", target: keyId, reason, details });
    return { view: await readKey(tx, orgId, keyId), leases: held };
  });
  distrustKeys(c, [keyId]);
  const ends = leases
    .filter((lease) => !lease.isExclusive)
    .map((fence) => ({
      fence,
      reason: "the key of its worker was revoked",
      event: { type: "lost" as const, isFleetEvent: true },
    }));
  if (ends.length > 0) await endLeases(c, orgId, ends);
  return view;
}

/** Refuses what the caller's own key does not allow. */
export function requireScopes(caller: Caller, scopes: readonly string[]): void {
  const isHeld = (scope: string) =>
    // A key of another org that acts for others would be nobody's.
    scope === "platform"
      ? caller.scopes.includes(scope) && caller.keyOrgId === undefined
      : caller.scopes.includes("admin") || caller.scopes.includes(scope);
  const missing = scopes.find((scope) => !isHeld(scope));
  if (missing !== undefined) throw scopeMissing(missing);
}

/** What is wrong with the id of a key. It is not echoed: it may be the whole text of one. */
export function keyIdViolations(keyId: string): Violation[] {
  if (keyIdForm.test(keyId)) return [];
  const message = keyId === "" ? "is required" : "must be the 12 characters of a key's id";
  return [{ field: "keyId", message }];
}

/** What is wrong with a reason. */
export function reasonViolations(reason: string): Violation[] {
  return textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
}

/** Refuses a request with all that is wrong with it. */
export function refuseViolations(violations: readonly Violation[]): void {
  if (violations.length > 0) throw invalidArgument(violations);
}

/** Refuses an expiry that is not ahead, and with it all that is wrong besides. */
export async function checkExpiry(tx: Tx, violations: Violation[], expiresAt: Date | null): Promise<void> {
  if (expiresAt !== null && !(await isAhead(tx, expiresAt))) {
    violations.push({ field: "expireTime", message: "must be ahead" });
  }
  refuseViolations(violations);
}

/** Adds what is wrong with limits. */
export function checkLimits(violations: Violation[], limits: KeyLimits): void {
  for (const name of ["callsPerMinute", "jobsPerDay"] as const) {
    const limit = limits[name];
    if (limit === null || (Number.isInteger(limit) && limit >= 1 && limit <= 1_000_000_000)) continue;
    violations.push({ field: `limits.${name}`, message: "must be 1 to 1,000,000,000, or 0 for no limit" });
  }
}

/** Limits for the audit log: those that there are. */
export function shownLimits(limits: KeyLimits): Record<string, number> {
  return Object.fromEntries(
    Object.entries(limits).flatMap(([name, limit]) => (limit === null ? [] : [[name, limit]])),
  );
}

const noLimits: KeyLimits = { callsPerMinute: null, jobsPerDay: null };
const keyIdForm = /^[0-9A-Za-z]{12}$/;

/** The scopes that are asked for, in their order; adds what is wrong with them. */
export function readScopes(violations: Violation[], asked: readonly string[]): KeyScope[] {
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

/** A key of the org as it is shown. */
export async function readKey(tx: Tx, orgId: string, keyId: string): Promise<KeyView> {
  const [row] = await readKeys(tx, orgId, { keyId });
  if (row === undefined) throw notFound("KEY_NOT_FOUND", keyId);
  return viewOf(row);
}

function viewOf({ createdMicros: _, scheme, ...view }: ShownKey): KeyView {
  return { ...view, scheme: scheme === ownScheme ? "" : scheme };
}
