import { createHmac, randomBytes } from "node:crypto";
import { inOrg, type Tx } from "../store/database.ts";
import {
  type FoundKey,
  findKey,
  findRegisteredKey,
  insertKey,
  type KeyRow,
  ownScheme,
  readKeyHash,
  rehashKey,
  widenKey,
} from "../store/keys.ts";
import { inNamedOrg, type OrgState } from "../store/orgs.ts";
import { readRegisteredPrefixes } from "../store/registered-keys.ts";
import { looksLikeAccessToken } from "./access-tokens.ts";
import { audit } from "./audit.ts";
import { BadKeys } from "./bad-keys.ts";
import { type Cache, createCache } from "./cache.ts";
import type { Caller, Coordinator, KeyLimits } from "./context.ts";
import { DomainError, invalidArgument, unauthenticated } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { readTokenHolder } from "./job-tokens.ts";
import { KeyNotes, type RefusedKey } from "./key-notes.ts";
import { LiveStreams } from "./live-streams.ts";
import { createPeopleParts, type PeopleParts } from "./people-parts.ts";
import { readPersonHolder } from "./person-callers.ts";
import {
  beginsLikeKey,
  digestOf,
  type GeneratedKey,
  generateKey,
  hashKey,
  type KeyParts,
  type KeyType,
  lastFour,
  parseKey,
  pepperVersion,
  verifyKey,
} from "./rules/keys.ts";
import { foreignHashes, schemeHash } from "./rules/registered-keys.ts";

/** What a key may allow within its org. `admin` includes all others. */
export const orgScopes = ["read", "submit", "work", "operate", "admin"] as const;

/** What a key may allow. `platform`, which `admin` does not include: to act for other orgs, and to keep them. */
export const keyScopes = [...orgScopes, "platform"] as const;

/** One of `keyScopes`. */
export type KeyScope = (typeof keyScopes)[number];

/** The parts of a coordinator that verbs about keys need. */
type CoordinatorParts = Pick<Coordinator, "db" | "config" | "newId" | "log" | "nowMs">;

/** What verbs about keys work with. */
export interface KeyContext extends CoordinatorParts {
  /** What secrets are hashed under; never in the database. */
  readonly pepper: Buffer;
  /** What they were hashed under before: keys under one of them are still valid. */
  readonly olderPeppers: readonly Buffer[];
  /** What keys are known by in memory; never leaves it. */
  readonly memorySalt: string;
  /** Keys that were verified within the last second. */
  readonly verifiedKeys: Cache<Principal>;
  /** How orgs stand, by id and by name. */
  readonly orgStates: Cache<OrgState | null>;
  /** What keys that were hashed elsewhere begin with. */
  readonly registeredPrefixes: Cache<readonly string[]>;
  /** Those who guess. */
  readonly badKeys: BadKeys;
  readonly keyNotes: KeyNotes;
  /** The streams that end with their keys. */
  readonly streams: LiveStreams;
  readonly people: PeopleParts;
}

/** Whose key it is: a caller without the call. */
export type Principal = Omit<Caller, "requestId" | "keyOrgId" | "suspension">;

/** How long a verified key is believed without asking the database: so long a revoked one may still pass. */
export const verifiedKeyMs = 1_000;

const aMoment = { maxAgeMs: verifiedKeyMs, renewAfterMs: verifiedKeyMs / 2 };

/** What keys are hashed under, derived from the coordinator's secret. */
export function derivePepper(secret: string): Buffer {
  return createHmac("sha256", secret).update("muster key pepper").digest();
}

/** Makes the context of a coordinator. `nowMs` is a clock that never goes back. */
export function createKeyContext<C extends CoordinatorParts>(
  c: C,
  {
    pepper,
    olderPeppers = [],
    nowMs = () => performance.now(),
  }: {
    readonly pepper: Buffer;
    readonly olderPeppers?: readonly Buffer[];
    readonly nowMs?: () => number;
  },
): C & KeyContext {
  return {
    ...c,
    pepper,
    olderPeppers,
    memorySalt: randomBytes(32).toString("base64"),
    verifiedKeys: createCache<Principal>({ ...aMoment, maxEntries: 20_000, nowMs }),
    orgStates: createCache<OrgState | null>({ ...aMoment, maxEntries: 20_000, nowMs }),
    registeredPrefixes: createCache<readonly string[]>({ maxAgeMs: verifiedKeyMs, maxEntries: 1, nowMs }),
    badKeys: new BadKeys({ perMinute: c.config.badKeysPerMinute, nowMs }),
    keyNotes: new KeyNotes(c, { nowMs }),
    streams: new LiveStreams(nowMs),
    people: createPeopleParts({
      config: c.config,
      secrets: [pepper, ...olderPeppers],
      newId: c.newId,
      nowMs: c.nowMs,
      steadyMs: nowMs,
    }),
  };
}

/**
 * Tells who calls by the key of the call. A malformed one costs no query. A missing, malformed, unknown,
 * wrong, expired and revoked key have the same answer: KEY_INVALID. The key of a disabled worker is
 * WORKER_DISABLED. Where too many keys were not valid, by the address or the key's id, the answer is RATE_LIMITED,
 * which says nothing about the key. The token of a job whose lease has ended is SUPERSEDED. An access token of a person
 * calls for `org`, by name or id: see `readPersonHolder`.
 */
export async function authenticate(
  c: KeyContext,
  token: string,
  requestId: string,
  address = "",
  org = "",
): Promise<Caller> {
  if (looksLikeAccessToken(token)) return authenticatePerson(c, token, requestId, org);
  const parts = parseKey(token);
  if (parts === null && !(await mayBeRegistered(c, token))) throw unauthenticated();
  if (parts?.type === "job") return { ...(await readTokenHolder(c, parts)), requestId };
  const digest = digestOf(c.memorySalt, token);
  const principal = await c.verifiedKeys.get(`${parts?.id ?? ""} ${digest}`, () => {
    const names = [
      ...(address === "" ? [] : [`address ${address}`]),
      ...(parts === null ? [] : [`key ${parts.id}`]),
    ];
    return c.badKeys.lookUp(digest, names, () =>
      parts === null ? verifyRegistered(c, token, address) : verifyOwn(c, parts, address),
    );
  });
  c.keyNotes.used(principal.orgId, principal.keyId);
  return { ...principal, requestId };
}

// What is signed wrong costs no query, so nobody is slowed for it. Forgotten by the login like a key by its id.
async function authenticatePerson(
  c: KeyContext,
  token: string,
  requestId: string,
  org: string,
): Promise<Caller> {
  const claims = await c.people.tokens.read(token);
  const name = `${claims.loginId} ${claims.personId} ${claims.homeOrgId} ${org.slice(0, 300)}`;
  const principal = await c.verifiedKeys.get(name, () => readPersonHolder(c, claims, org));
  return { ...principal, requestId };
}

/**
 * Believes these keys no longer on this coordinator without asking the database, and ends their streams; others follow
 * within `verifiedKeyMs`.
 */
export function distrustKeys(
  c: Pick<KeyContext, "verifiedKeys" | "streams">,
  keyIds: readonly string[],
): void {
  for (const keyId of keyIds) c.verifiedKeys.forgetAll(`${keyId} `);
  // Those that were hashed elsewhere are kept by their hash alone.
  c.verifiedKeys.forgetAll(" ");
  for (const keyId of keyIds) c.streams.endStreamsOf({ keyId });
}

/** What a new key is for. */
export interface NewKey {
  readonly orgId: string;
  readonly type: KeyType;
  /** For people. */
  readonly name: string;
  readonly scopes: readonly string[];
  readonly workerId?: string;
  readonly expiresAt?: Date;
  readonly limits?: KeyLimits;
}

/**
 * Makes a key within the transaction of the verb that needs it; the verb writes the audit row. The text
 * of the key is in the answer alone: only a hash of its secret is kept.
 */
export async function createKey(c: KeyContext, tx: Tx, given: NewKey): Promise<GeneratedKey> {
  const key = generateKey(given.type, c.config.keyPrefix);
  const isKept = await insertKey(tx, rowOf(c, given, key));
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
    let isWidened = false;
    if (given !== null) isRegistered = await registerKey(c, tx, { orgId, name, key: given });
    // One of before there were several orgs.
    if (given !== null && !isRegistered) isWidened = await widenKey(tx, orgId, given.id, "platform");
    else if (isNew) adminKey = await createKey(c, tx, { orgId, name, type: "api", scopes: keyScopes });
    if (isNew || isRegistered) {
      await audit(tx, c, systemCaller(orgId), {
        action: isNew ? "org.create" : "key.create",
        target: isNew ? encodeId("org", orgId) : (given?.id ?? ""),
        details: { org: defaultOrgName, keyId: given?.id ?? adminKey?.id ?? null },
      });
    }
    if (isWidened && given !== null) {
      const details = { added: ["platform"] };
      await audit(tx, c, systemCaller(orgId), { action: "key.update", target: given.id, details });
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

type GivenKey = KeyParts & { readonly text: string };

function readAdminKey(text: string | undefined): GivenKey | null {
  if (text === undefined) return null;
  const parts = parseKey(text);
  if (parts?.type === "api") return { ...parts, text };
  throw invalidArgument([
    { field: "adminKey", message: "must be a whole key of the form mk_api_<id>_<secret>_<crc>" },
  ]);
}

function rowOf(c: KeyContext, given: NewKey, key: GivenKey): KeyRow {
  const { orgId, type, name, scopes, workerId = null, expiresAt = null } = given;
  const { callsPerMinute = null, jobsPerDay = null } = given.limits ?? {};
  return {
    orgId,
    keyId: key.id,
    type,
    name,
    scopes: [...scopes],
    hash: hashKey(c.pepper, key.secret),
    workerId,
    expiresAt,
    scheme: ownScheme,
    pepper: pepperVersion(c.pepper),
    prefix: key.prefix,
    lastFour: lastFour(key.text),
    callsPerMinute,
    jobsPerDay,
  };
}

async function registerKey(
  c: KeyContext,
  tx: Tx,
  { orgId, name, key }: { readonly orgId: string; readonly name: string; readonly key: GivenKey },
): Promise<boolean> {
  if (await insertKey(tx, rowOf(c, { orgId, name, type: "api", scopes: keyScopes }, key))) return true;
  const kept = await readKeyHash(tx, orgId, key.id);
  const peppers = kept === null ? [] : peppersOf(c, kept.pepper);
  if (peppers.some((pepper) => verifyKey(pepper, key.secret, kept?.hash ?? null))) return false;
  throw new DomainError("NAME_TAKEN", {
    message: `The id of the configured admin key belongs to another key: ${key.id}`,
    details: { keyId: key.id },
    suggestion:
      "Make a new admin key; if the secret of the coordinator was changed, give the old one as MUSTER_SECRET_PREVIOUS.",
  });
}

async function verifyOwn(c: KeyContext, parts: KeyParts, address: string): Promise<Principal> {
  const found = await findKey(c.db.appClient, parts.id);
  const peppers = found === null ? [] : peppersOf(c, found.pepper);
  const right = peppers.find((pepper) => verifyKey(pepper, parts.secret, found?.hash ?? null));
  // Takes the same time when there is nothing to compare with.
  if (peppers.length === 0) verifyKey(c.pepper, parts.secret, null);
  if (found === null || found.type !== parts.type || found.scheme !== ownScheme) throw refused(c, null);
  if (right === undefined) {
    const cause = peppers.length === 0 ? "its secret was dropped" : "wrong secret";
    throw refused(c, { orgId: found.orgId, keyId: found.keyId, cause, address });
  }
  const principal = principalOf(c, found, parts.type, address);
  if (pepperVersion(c.pepper) !== found.pepper) await rehash(c, found, parts.secret);
  return principal;
}

async function verifyRegistered(c: KeyContext, token: string, address: string): Promise<Principal> {
  const hashes = foreignHashes(token, c.config.keyHmacSecret);
  const found = await findRegisteredKey(
    c.db.app,
    hashes.map(({ hash }) => hash),
  );
  const right = found && schemeHash(hashes, found.scheme);
  if (found === null || !right || !Buffer.from(found.hash).equals(right)) throw refused(c, null);
  return principalOf(c, found, "api", address);
}

/** The peppers that a row may be hashed under: one, or all where that is not known; none when it was dropped. */
function peppersOf({ pepper, olderPeppers }: KeyContext, version: string): readonly Buffer[] {
  const all = [pepper, ...olderPeppers];
  return version === "" ? all : all.filter((one) => pepperVersion(one) === version);
}

// A key that is in use moves to the present pepper by itself; one that cannot be written now does so at its next use.
async function rehash(c: KeyContext, { orgId, keyId, hash }: FoundKey, secret: string): Promise<void> {
  const next = { before: hash, hash: hashKey(c.pepper, secret), pepper: pepperVersion(c.pepper) };
  await inOrg(c.db.app, orgId, (tx) => rehashKey(tx, orgId, keyId, next)).catch((error: unknown) =>
    c.log.warn({ err: error, keyId }, "a key could not be hashed under the present secret"),
  );
}

/** Whether text may be a key that was hashed elsewhere: it begins like one, and not like one of ours. */
async function mayBeRegistered(c: KeyContext, token: string): Promise<boolean> {
  if (token.length < 16 || token.length > 512 || beginsLikeKey(token)) return false;
  const prefixes = await c.registeredPrefixes.get("", () => readRegisteredPrefixes(c.db.sweep));
  return prefixes.some((prefix) => token.startsWith(prefix));
}

function principalOf(c: KeyContext, found: FoundKey, type: KeyType, address: string): Principal {
  const { orgId, keyId, scopes, workerId, worker, callsPerMinute, jobsPerDay } = found;
  const refusedFor = (cause: RefusedKey["cause"]) => refused(c, { orgId, keyId, cause, address });
  if (found.isRevoked) throw refusedFor("revoked");
  if (found.isExpired) throw refusedFor("expired");
  if (workerId !== null && worker === null) throw refusedFor("its worker is gone");
  if (worker?.isDisabled) throw new DomainError("WORKER_DISABLED", { details: { worker: worker.name } });
  const isLimited = callsPerMinute !== null || jobsPerDay !== null;
  return {
    orgId,
    actor: worker === null ? `key:${keyId}` : `worker:${worker.name}`,
    type,
    keyId,
    workerId,
    scopes,
    ...(isLimited ? { limits: { callsPerMinute, jobsPerDay } } : {}),
  };
}

// The answer is one for all; what was wrong is for the audit log of the org, where there is one.
function refused(c: KeyContext, refusal: RefusedKey | null): DomainError {
  c.log.debug({ keyId: refusal?.keyId, cause: refusal?.cause ?? "unknown" }, "refused a key");
  if (refusal !== null) c.keyNotes.refused(refusal);
  return unauthenticated();
}
