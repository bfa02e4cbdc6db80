import { inOrg } from "../store/database.ts";
import { endLogins } from "../store/logins.ts";
import { type Account, findAccount, findOrgByName, readAccount, setPasswordHash } from "../store/people.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { DomainError, invalidArgument, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { spendInvitation } from "./invitations.ts";
import { defaultOrgName, distrustKeys, type KeyContext } from "./keys.ts";
import {
  beginLogin,
  logIn,
  type PersonTokens,
  personCaller,
  requirePerson,
  requireWholeLogin,
  tokensOf,
} from "./logins.ts";
import { addAccount, type PersonView, readNewPerson, readPerson } from "./people.ts";
import { passwordViolations } from "./rules/passwords.ts";
import { normalizeEmail } from "./rules/people.ts";
import { readInvitation } from "./rules/person-tokens.ts";

/** Where a call came from, before anybody is known. */
export interface Stranger {
  readonly requestId: string;
  /** Empty: it is not known. */
  readonly address: string;
}

/** What is asked of a new account. */
export interface AccountRequest {
  readonly email: string;
  readonly password: string;
  readonly name: string;
  /** Empty: none. */
  readonly invitation: string;
}

/**
 * Makes an account, a member of the org of the invitation or, where registration is open, of the org `default`; and logs
 * it in. REGISTRATION_OFF where the setting does not allow it; EMAIL_TAKEN; CODE_NOT_FOUND for an invitation that is no
 * longer good, or is for another e-mail. Slowed by address.
 */
export async function register(
  c: KeyContext,
  { invitation, ...given }: AccountRequest,
  stranger: Stranger,
): Promise<{ readonly person: PersonView; readonly tokens: PersonTokens }> {
  const { registration, registrationRole } = c.config;
  if (registration === "off" || (registration === "invited" && invitation === "")) {
    throw new DomainError("REGISTRATION_OFF");
  }
  const violations: Violation[] = [];
  const email = readNewPerson(violations, given);
  violations.push(...passwordViolations("password", given.password, email));
  if (violations.length > 0) throw invalidArgument(violations);
  const which = readInvitation(invitation);
  if (invitation !== "" && which === null) throw new DomainError("CODE_NOT_FOUND");
  const names = stranger.address === "" ? [] : [{ name: `register ${stranger.address}`, free: 10 }];
  return c.people.brake.attempt(names, async () => {
    const orgId = which?.orgId ?? (await findOrgByName(c.db.sweep, defaultOrgName));
    if (orgId === null) throw new DomainError("REGISTRATION_OFF");
    const passwordHash = await c.people.passwords.hash(given.password);
    const personId = c.newId();
    const begun = await inOrg(c.db.app, orgId, async (tx) => {
      const asked = which === null ? null : await spendInvitation(c, tx, { code: invitation, email });
      const role = asked?.role ?? registrationRole;
      const account = { orgId, personId, email, name: given.name, passwordHash };
      // Whoever has a code that was made for this e-mail was vouched for by whoever made it.
      const isVouched = asked !== null && asked.email === email;
      await addAccount(tx, { ...account, isVouched }, role);
      await audit(tx, c, personCaller(account, "", stranger.requestId), {
        action: "person.register",
        target: encodeId("person", personId),
        details: { email, role, isInvited: asked !== null, address: stranger.address },
      });
      const login = await beginLogin(c, tx, { account, method: "password", ...stranger });
      return { login, person: await readPerson(tx, orgId, { personId }) };
    });
    return { person: begun.person, tokens: await tokensOf(c, begun.login) };
  });
}

/**
 * Logs in by e-mail and password. LOGIN_INVALID has one text and takes one time, whether the e-mail, the password or
 * both are wrong. RATE_LIMITED after too many tries; RESOURCE_EXHAUSTED when too many passwords wait to be hashed.
 */
export async function logInByPassword(
  c: KeyContext,
  given: { readonly email: string; readonly password: string },
  stranger: Stranger,
): Promise<PersonTokens> {
  const email = normalizeEmail(given.email);
  // No password that is longer is anybody's: hashing it would be work for nothing.
  if (email === null || given.password.length > 4_096) throw new DomainError("LOGIN_INVALID");
  return c.people.brake.login({ account: email, address: stranger.address }, async () => {
    const account = await findAccount(c.db.app, email);
    const isRight = await c.people.passwords.verify(given.password, account?.passwordHash ?? null);
    if (account === null || !isRight || account.passwordHash === null) throw new DomainError("LOGIN_INVALID");
    if (c.people.passwords.isDated(account.passwordHash)) await rehash(c, account, given.password);
    return logIn(c, { account, method: "password", ...stranger });
  });
}

// One that cannot be written now is written at the next login.
async function rehash(c: KeyContext, account: Account, password: string): Promise<void> {
  const { orgId, personId, passwordHash: before } = account;
  await (async () => {
    const passwordHash = await c.people.passwords.hash(password);
    await inOrg(c.db.app, orgId, (tx) => setPasswordHash(tx, orgId, personId, { before, passwordHash }));
  })().catch((error: unknown) => c.log.warn({ err: error, personId }, "a password could not be hashed anew"));
}

/** Changes the password of the person who calls, and ends their other logins. Answers with how many. */
export async function changePassword(
  c: KeyContext,
  caller: Caller,
  { password, newPassword }: { readonly password: string; readonly newPassword: string },
): Promise<number> {
  const { personId, login } = requirePerson(caller);
  requireWholeLogin(login);
  const { homeOrgId, loginId, email } = login;
  const violations = passwordViolations("newPassword", newPassword, email);
  if (password === newPassword && violations.length === 0) {
    violations.push({ field: "newPassword", message: "must not be the present one" });
  }
  if (violations.length > 0) throw invalidArgument(violations);
  const account = await inOrg(c.db.app, homeOrgId, (tx) => readAccount(tx, homeOrgId, personId));
  const before = account?.passwordHash ?? null;
  if (before !== null) {
    // Whoever has found a terminal that is logged in must not guess faster than from outside.
    await c.people.brake.attempt([{ name: `password ${personId}`, free: 5 }], async () => {
      const isRight = password.length <= 4_096 && (await c.people.passwords.verify(password, before));
      if (!isRight) throw new DomainError("LOGIN_INVALID", { message: "The present password is wrong" });
    });
  }
  const passwordHash = await c.people.passwords.hash(newPassword);
  const ended = await inOrg(c.db.app, homeOrgId, async (tx) => {
    if (!(await setPasswordHash(tx, homeOrgId, personId, { before, passwordHash }))) {
      throw new DomainError("ETAG_MISMATCH");
    }
    const ids = await endLogins(tx, homeOrgId, { personId, except: loginId });
    await audit(
      tx,
      c,
      { ...caller, orgId: homeOrgId },
      {
        action: "password.change",
        target: encodeId("person", personId),
        details: { endedLogins: ids.length, hadPassword: before !== null },
      },
    );
    return ids;
  });
  distrustKeys(c, ended);
  return ended.length;
}
