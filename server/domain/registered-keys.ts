import { inOrg } from "../store/database.ts";
import { insertKey } from "../store/keys.ts";
import type { KeyView } from "./api-keys.ts";
import { checkExpiry, checkLimits, readKey, readScopes, requireScopes, shownLimits } from "./api-keys.ts";
import { audit } from "./audit.ts";
import type { Caller, KeyLimits } from "./context.ts";
import { DomainError, type Violation } from "./errors.ts";
import type { KeyContext } from "./keys.ts";
import { beginsLikeKey, generateKey } from "./rules/keys.ts";
import { type RegisteredScheme, readForeignHash, registeredSchemes } from "./rules/registered-keys.ts";
import { textViolations } from "./rules/texts.ts";

/** A key that another system has made. */
export interface ForeignKey {
  readonly name: string;
  readonly scheme: string;
  /** As that system stores it. */
  readonly hash: string;
  readonly prefix: string;
  readonly lastFour: string;
  readonly scopes: readonly string[];
  readonly expiresAt: Date | null;
  readonly limits: KeyLimits;
}

/**
 * Registers an API key that another system has made, by its hash: it allows nothing that the caller's own does not.
 * That it has at least 128 bits of entropy is the caller's word. A hash that is registered already, in whatever org, is
 * KEY_REGISTERED: that says no more than that the key cannot be used twice.
 */
export async function registerForeignKey(
  c: KeyContext,
  caller: Caller,
  { name, scheme, hash, prefix, lastFour, scopes: asked, expiresAt, limits }: ForeignKey,
): Promise<KeyView> {
  const violations: Violation[] = textViolations("name", name, { min: 1, max: 100 });
  if (!isScheme(scheme)) {
    violations.push({ field: "scheme", message: `must be one of ${registeredSchemes.join(", ")}` });
  }
  const bytes = readForeignHash(hash);
  if (bytes === null) {
    const message = "must be the 32 bytes of a hash as base64url without padding, base64 or hex";
    violations.push({ field: "hash", message });
  }
  if (!/^[A-Za-z0-9_-]{0,32}$/.test(prefix)) {
    violations.push({ field: "prefix", message: "must be at most 32 characters of a-z A-Z 0-9 _ -" });
  } else if (beginsLikeKey(prefix)) {
    violations.push({ field: "prefix", message: "must not be that of keys that are made here" });
  }
  if (!/^[\x21-\x7e]{0,4}$/.test(lastFour)) {
    violations.push({ field: "lastFour", message: "must be at most 4 characters" });
  }
  const scopes = readScopes(violations, asked);
  checkLimits(violations, limits);
  const { orgId } = caller;
  const view = await inOrg(c.db.app, orgId, async (tx) => {
    await checkExpiry(tx, violations, expiresAt);
    if (bytes === null) throw new Error("a hash without violations was read");
    requireScopes(caller, scopes);
    if (scheme === "hmac" && c.config.keyHmacSecret === undefined) throw new DomainError("KEY_SCHEME_OFF");
    const { id: keyId } = generateKey("api");
    const { callsPerMinute, jobsPerDay } = limits;
    const row = { orgId, keyId, type: "api", name, scopes, hash: bytes, workerId: null, expiresAt };
    const shown = { scheme, pepper: "", prefix, lastFour, callsPerMinute, jobsPerDay };
    if (!(await insertKey(tx, { ...row, ...shown }))) throw new DomainError("KEY_REGISTERED");
    const details = { name, scheme, prefix, scopes, expireTime: expiresAt?.toISOString() ?? null };
    const limited = shownLimits(limits);
    await audit(tx, c, caller, {
      action: "key.register",
      target: keyId,
      details: { ...details, ...limited },
    });
    return readKey(tx, orgId, keyId);
  });
  c.registeredPrefixes.forget("");
  return view;
}

function isScheme(text: string): text is RegisteredScheme {
  return registeredSchemes.some((scheme) => scheme === text);
}
