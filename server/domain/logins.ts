import { randomBytes } from "node:crypto";
import { inOrg, type Tx } from "../store/database.ts";
import { endLogins, insertLogin, readLogin, rotateLogin } from "../store/logins.ts";
import type { Account } from "../store/people.ts";
import { audit } from "./audit.ts";
import type { Caller, LoginOfCaller } from "./context.ts";
import { DomainError } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { distrustKeys, type KeyContext } from "./keys.ts";
import {
  isRefreshToken,
  type RefreshParts,
  readRefreshToken,
  writeRefreshToken,
} from "./rules/person-tokens.ts";

/** What a login is used with. */
export interface PersonTokens {
  readonly accessToken: string;
  readonly accessExpiresAt: Date;
  readonly refreshToken: string;
  readonly refreshExpiresAt: Date;
}

/** How somebody came to be logged in. */
export type LoginMethod = "password" | "provider" | "device";

/** How long the refresh token before the present one is taken: two programs of one person may refresh at once. */
export const refreshGraceMs = 30_000;

/** Who is being logged in, and the call that does it. */
export interface LoginRequest {
  readonly account: Pick<Account, "orgId" | "personId" | "email">;
  readonly method: LoginMethod;
  readonly onlyOrgId?: string | null;
  readonly requestId: string;
  /** Where the call came from; empty: it is not known. */
  readonly address: string;
}

/** A login, which its transaction must still commit. */
export interface BegunLogin extends RefreshParts {
  readonly personId: string;
  readonly seed: Uint8Array;
  readonly expiresAt: Date;
}

/** Begins a login within a transaction of the org of the account, with its audit row. */
export async function beginLogin(c: KeyContext, tx: Tx, request: LoginRequest): Promise<BegunLogin> {
  const { account, method, onlyOrgId = null, requestId, address } = request;
  const { orgId: homeOrgId, personId } = account;
  const loginId = c.newId();
  const seed = randomBytes(32);
  const ttlMs = c.config.refreshTokenTtlMs;
  const expiresAt = await insertLogin(tx, {
    orgId: homeOrgId,
    loginId,
    personId,
    method,
    seed,
    onlyOrgId,
    ttlMs,
  });
  await audit(tx, c, personCaller(account, loginId, requestId), {
    action: "login.create",
    target: loginId,
    details: { method, address, ...(onlyOrgId === null ? {} : { onlyOrg: onlyOrgId }) },
  });
  return { homeOrgId, loginId, personId, generation: 1, seed, expiresAt };
}

/** The tokens of a login. */
export async function tokensOf(c: KeyContext, login: BegunLogin): Promise<PersonTokens> {
  const { token, expiresAt } = await c.people.tokens.sign(login);
  return {
    accessToken: token,
    accessExpiresAt: expiresAt,
    refreshToken: writeRefreshToken(c.pepper, login.seed, login, c.config.keyPrefix),
    refreshExpiresAt: login.expiresAt,
  };
}

/** Begins a login in a transaction of its own. */
export async function logIn(c: KeyContext, request: LoginRequest): Promise<PersonTokens> {
  const login = await inOrg(c.db.app, request.account.orgId, (tx) => beginLogin(c, tx, request));
  return tokensOf(c, login);
}

/**
 * Exchanges a refresh token for the next one and an access token. The one before the present one has the same answer for
 * `refreshGraceMs`; an older one, or that one later, ends the login: two have it. LOGIN_ENDED for all that is not good.
 */
export async function refreshLogin(c: KeyContext, text: string, requestId: string): Promise<PersonTokens> {
  const parts = readRefreshToken(text);
  if (parts === null) throw loginEnded();
  const { homeOrgId, loginId, generation } = parts;
  const outcome = await inOrg(c.db.app, homeOrgId, async (tx): Promise<BegunLogin | "reused" | "ended"> => {
    const login = await readLogin(tx, homeOrgId, loginId, { isLocked: true });
    if (login === null || !isRefreshToken([c.pepper, ...c.olderPeppers], login.seed, text)) return "ended";
    if (!login.isLive) return "ended";
    const { personId, email, seed } = login;
    if (generation === login.generation) {
      const expiresAt = await rotateLogin(tx, homeOrgId, loginId, c.config.refreshTokenTtlMs);
      if (expiresAt === null) return "ended";
      return { homeOrgId, loginId, personId, generation: generation + 1, seed, expiresAt };
    }
    if (generation === login.generation - 1 && login.sinceRotationMs <= refreshGraceMs) {
      return {
        homeOrgId,
        loginId,
        personId,
        generation: login.generation,
        seed,
        expiresAt: login.expiresAt,
      };
    }
    await endLogins(tx, homeOrgId, { loginId });
    const caller = personCaller({ orgId: homeOrgId, personId, email }, loginId, requestId);
    await audit(tx, c, caller, {
      action: "login.end",
      target: loginId,
      reason: "a refresh token was used again",
      details: { generation, presentGeneration: login.generation },
    });
    return "reused";
  });
  if (outcome === "reused") distrustKeys(c, [loginId]);
  if (outcome === "reused" || outcome === "ended") throw loginEnded();
  return tokensOf(c, outcome);
}

/** Ends the login of the caller, or all of theirs. Answers with how many were live. */
export async function logOut(
  c: KeyContext,
  caller: Caller,
  { isAll }: { readonly isAll: boolean },
): Promise<number> {
  const { personId, login } = requirePerson(caller);
  if (isAll) requireWholeLogin(login);
  const { homeOrgId, loginId } = login;
  const ended = await inOrg(c.db.app, homeOrgId, async (tx) => {
    const ids = await endLogins(tx, homeOrgId, isAll ? { personId } : { loginId });
    if (ids.length > 0) {
      await audit(
        tx,
        c,
        { ...caller, orgId: homeOrgId },
        {
          action: "login.end",
          target: isAll ? encodeId("person", personId) : loginId,
          details: { logins: ids.length },
        },
      );
    }
    return ids;
  });
  distrustKeys(c, ended);
  return ended.length;
}

/** The person who calls; PERSON_NEEDED for a key. */
export function requirePerson(caller: Caller): { readonly personId: string; readonly login: LoginOfCaller } {
  const { personId, login } = caller;
  if (personId === undefined || login === undefined) throw new DomainError("PERSON_NEEDED");
  return { personId, login };
}

/** Refuses a login that a key has approved: it is of one org, and the account is not. */
export function requireWholeLogin(login: LoginOfCaller): void {
  if (login.onlyOrgId !== null) throw new DomainError("LOGIN_LIMITED");
}

/** A person as the caller of what is done for them before they are logged in. */
export function personCaller(
  { orgId, personId, email }: Pick<Account, "orgId" | "personId" | "email">,
  loginId: string,
  requestId: string,
): Caller {
  const login = { loginId, homeOrgId: orgId, email, role: null, onlyOrgId: null };
  const keyed = { type: "api" as const, keyId: loginId, workerId: null, scopes: [] };
  return { orgId, actor: `person:${email}`, ...keyed, personId, login, requestId };
}

function loginEnded(): DomainError {
  return new DomainError("LOGIN_ENDED");
}
