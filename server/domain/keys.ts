import { createHmac } from "node:crypto";
import type { Tx } from "../store/database.ts";
import { type FoundKey, findKey, insertKey, readKeyHash } from "../store/keys.ts";
import { inNamedOrg } from "../store/orgs.ts";
import { audit } from "./audit.ts";
import { type Cache, createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, invalidArgument, unauthenticated } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type GeneratedKey, generateKey, hashKey, type KeyType, parseKey, verifyKey } from "./rules/keys.ts";

/** What a key may allow. `admin` includes all others. */
export const keyScopes = ["read", "submit", "work", "operate", "admin"] as const;

/** One of `keyScopes`. */
export type KeyScope = (typeof keyScopes)[number];

/** The parts of a coordinator that verbs about keys need. */
type CoordinatorParts = Pick<Coordinator, "db" | "config" | "newId" | "log">;

/** What verbs about keys work with. */
export interface KeyContext extends CoordinatorParts {
  /** What secrets are hashed under; never in the database. */
  readonly pepper: Buffer;
  /** Keys that were verified within the last second. */
  readonly verifiedKeys: Cache<Principal>;
}

/** Whose key it is: a caller without the call. */
export type Principal = Omit<Caller, "requestId">;

/** How long a verified key is believed without asking the database: so long a revoked one may still pass. */
export const verifiedKeyMs = 1_000;

/** What keys are hashed under, derived from the coordinator's secret. */
export function derivePepper(secret: string): Buffer {
  return createHmac("sha256", secret).update("muster key pepper").digest();
}

/** Makes the context of a coordinator. `nowMs` is a clock that never goes back. */
export function createKeyContext<C extends CoordinatorParts>(
  c: C,
  { pepper, nowMs = () => performance.now() }: { readonly pepper: Buffer; readonly nowMs?: () => number },
): C & KeyContext {
  const verifiedKeys = createCache<Principal>({ maxAgeMs: verifiedKeyMs, maxEntries: 20_000, nowMs });
  return { ...c, pepper, verifiedKeys };
}

/**
 * Tells who calls by the key of the call. A malformed one costs no query. A missing, malformed, unknown,
 * wrong, expired and revoked key have the same answer: KEY_INVALID. The key of a disabled worker is
 * WORKER_DISABLED.
 */
export async function authenticate(c: KeyContext, token: string, requestId: string): Promise<Caller> {
  const parts = parseKey(token);
  if (parts === null) throw unauthenticated();
  // The whole text is hashed, so that what is kept in memory is no key.
  const digest = hashKey(c.pepper, token).toString("base64");
  const principal = await c.verifiedKeys.get(`${parts.id} ${digest}`, async () => {
    const found = await findKey(c.db.appClient, parts.id);
    const isRight = verifyKey(c.pepper, parts.secret, found?.hash ?? null);
    if (found === null || !isRight || found.type !== parts.type) throw refused(c, parts.id, "unknown");
    if (found.isRevoked || found.isExpired) throw refused(c, parts.id, "revoked or expired");
    return principalOf(c, found, parts.type);
  });
  return { ...principal, requestId };
}

/** Believes these keys no longer on this coordinator without asking the database; others follow within `verifiedKeyMs`. */
export function distrustKeys(c: Pick<KeyContext, "verifiedKeys">, keyIds: readonly string[]): void {
  for (const keyId of keyIds) c.verifiedKeys.forgetAll(`${keyId} `);
}

/** What a new key is for. */
export interface NewKey {
  readonly orgId: string;
  readonly type: KeyType;
  /** For people. */
  readonly name: string;
  readonly scopes: readonly KeyScope[];
  readonly workerId?: string;
  readonly expiresAt?: Date;
}

/**
 * Makes a key within the transaction of the verb that needs it; the verb writes the audit row. The text
 * of the key is in the answer alone: only a hash of its secret is kept.
 */
export async function createKey(c: KeyContext, tx: Tx, given: NewKey): Promise<GeneratedKey> {
  const key = generateKey(given.type);
  const isKept = await insertKey(tx, {
    orgId: given.orgId,
    keyId: key.id,
    type: given.type,
    name: given.name,
    scopes: [...given.scopes],
    hash: hashKey(c.pepper, key.secret),
    workerId: given.workerId ?? null,
    expiresAt: given.expiresAt ?? null,
  });
  // 71 random bits are taken already: a broken source of randomness must not go unnoticed.
  if (!isKept) throw new Error("a new key has the id of another one");
  return key;
}

/** The org that exists from the first start. */
export const defaultOrgName = "default";

/**
 * Makes the org `default` and its first admin key, once, however many coordinators start at the same time.
 * With a configured admin key it is exactly that one that is registered, at any start, if it is absent.
 *
 * @returns the new admin key when one was made up: it can be shown now and never again.
 */
export async function bootstrap(
  c: KeyContext,
): Promise<{ readonly orgId: string; readonly adminKey: string | null }> {
  const given = readAdminKey(c.config.adminKey);
  return inNamedOrg(c.db, defaultOrgName, c.newId, async (tx, { orgId, isNew }) => {
    const name = "first admin key";
    let adminKey: GeneratedKey | null = null;
    let isRegistered = false;
    if (given !== null) isRegistered = await registerKey(c, tx, { orgId, name, key: given });
    else if (isNew) adminKey = await createKey(c, tx, { orgId, name, type: "api", scopes: keyScopes });
    if (isNew || isRegistered) {
      await audit(tx, c, systemCaller(orgId), {
        action: isNew ? "org.create" : "key.create",
        target: isNew ? encodeId("org", orgId) : (given?.id ?? ""),
        details: { org: defaultOrgName, keyId: given?.id ?? adminKey?.id ?? null },
      });
    }
    return { orgId, adminKey: adminKey?.text ?? null };
  });
}

/** The coordinator itself as a caller, for the audit log. */
export function systemCaller(orgId: string): Caller {
  return {
    orgId,
    actor: "system",
    type: "api",
    keyId: "",
    workerId: null,
    scopes: keyScopes,
    requestId: "",
  };
}

interface GivenKey {
  readonly id: string;
  readonly secret: string;
}

function readAdminKey(text: string | undefined): GivenKey | null {
  if (text === undefined) return null;
  const parts = parseKey(text);
  if (parts?.type === "api") return parts;
  throw invalidArgument([
    { field: "adminKey", message: "must be a whole key of the form mk_api_<id>_<secret>_<crc>" },
  ]);
}

async function registerKey(
  c: KeyContext,
  tx: Tx,
  { orgId, name, key }: { readonly orgId: string; readonly name: string; readonly key: GivenKey },
): Promise<boolean> {
  const hash = hashKey(c.pepper, key.secret);
  const isKept = await insertKey(tx, {
    orgId,
    keyId: key.id,
    type: "api",
    name,
    scopes: [...keyScopes],
    hash,
    workerId: null,
    expiresAt: null,
  });
  if (isKept) return true;
  const kept = await readKeyHash(tx, orgId, key.id);
  if (kept !== null && verifyKey(c.pepper, key.secret, kept)) return false;
  throw new DomainError("NAME_TAKEN", {
    message: `The id of the configured admin key belongs to another key: ${key.id}`,
    details: { keyId: key.id },
    suggestion: "Make a new admin key; if the secret of the coordinator was changed, set the old one again.",
  });
}

function principalOf(c: KeyContext, found: FoundKey, type: KeyType): Principal {
  const { orgId, keyId, scopes, workerId, worker } = found;
  if (workerId !== null && worker === null) throw refused(c, keyId, "worker is gone");
  if (worker?.isDisabled) throw new DomainError("WORKER_DISABLED", { details: { worker: worker.name } });
  return {
    orgId,
    actor: worker === null ? `key:${keyId}` : `worker:${worker.name}`,
    type,
    keyId,
    workerId,
    scopes,
  };
}

function refused(c: KeyContext, keyId: string, cause: string): DomainError {
  c.log.debug({ keyId, cause }, "refused a key");
  return unauthenticated();
}
