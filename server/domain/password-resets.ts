import { inOrg } from "../store/database.ts";
import { readClock } from "../store/explain.ts";
import { endLogins } from "../store/logins.ts";
import { readAccount, readMember, setPasswordHash } from "../store/people.ts";
import type { Stranger } from "./accounts.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { DomainError, failedPrecondition, invalidArgument } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { distrustKeys, type KeyContext } from "./keys.ts";
import { personCaller } from "./logins.ts";
import { type MemberAct, notFoundPerson, readNamed } from "./people.ts";
import { passwordViolations } from "./rules/passwords.ts";
import { isResetCode, readResetCode, writeResetCode } from "./rules/person-tokens.ts";

/** How long a code can be used, unless told. */
export const passwordResetTtlMs = 86_400_000;

/**
 * Makes a code by which a member sets a password. ACCOUNT_ELSEWHERE for one whose account is another org's: who
 * is an admin of one org must not get into the others of its members.
 *
 * @param request `ttlMs`: 1 minute to 7 days; null: `passwordResetTtlMs`.
 * @returns the code: here alone, and good until the password is another.
 */
export async function createPasswordReset(
  c: KeyContext,
  caller: Caller,
  { person, reason, ttlMs: asked }: MemberAct & { readonly ttlMs: number | null },
): Promise<{ readonly code: string; readonly expiresAt: Date }> {
  const ttlMs = asked ?? passwordResetTtlMs;
  if (ttlMs < 60_000 || ttlMs > 7 * 86_400_000) {
    throw invalidArgument([{ field: "ttl", message: "must be 1 minute to 7 days" }]);
  }
  const named = readNamed(person);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const member = await readMember(tx, orgId, named);
    if (member === null) throw notFoundPerson(named);
    const { personId, homeOrgId, email } = member;
    const account = homeOrgId === orgId ? await readAccount(tx, homeOrgId, personId) : null;
    if (account === null) throw failedPrecondition("ACCOUNT_ELSEWHERE", { email });
    const endsAtSeconds = Math.floor(((await readClock(tx)).getTime() + ttlMs) / 1_000);
    const expiresAt = new Date(endsAtSeconds * 1_000);
    await audit(tx, c, caller, {
      action: "password.reset-code",
      target: encodeId("person", personId),
      reason,
      details: { email, expireTime: expiresAt.toISOString() },
    });
    const parts = { homeOrgId, personId, endsAtSeconds };
    return {
      code: writeResetCode(c.pepper, account.passwordHash ?? "", parts, c.config.keyPrefix),
      expiresAt,
    };
  });
}

/**
 * Sets a password by a code, and ends all logins of the person. CODE_NOT_FOUND for a code that was used, has ended or
 * was forged. Slowed by address.
 *
 * @returns how many logins ended.
 */
export async function resetPassword(
  c: KeyContext,
  { code, newPassword }: { readonly code: string; readonly newPassword: string },
  { requestId, address }: Stranger,
): Promise<number> {
  const names = address === "" ? [] : [{ name: `reset ${address}`, free: 10 }];
  return c.people.brake.attempt(names, async () => {
    const parts = readResetCode(code);
    if (parts === null) throw new DomainError("CODE_NOT_FOUND");
    const { homeOrgId, personId } = parts;
    const account = await inOrg(c.db.app, homeOrgId, async (tx) => {
      const isOver = (await readClock(tx)).getTime() >= parts.endsAtSeconds * 1_000;
      return isOver ? null : readAccount(tx, homeOrgId, personId);
    });
    const before = account?.passwordHash ?? null;
    const isRight = isResetCode([c.pepper, ...c.olderPeppers], before ?? "", code);
    if (account === null || !isRight) throw new DomainError("CODE_NOT_FOUND");
    const violations = passwordViolations("newPassword", newPassword, account.email);
    if (violations.length > 0) throw invalidArgument(violations);
    const passwordHash = await c.people.passwords.hash(newPassword);
    const ended = await inOrg(c.db.app, homeOrgId, async (tx) => {
      // Of two who use it at once, one finds another password.
      if (!(await setPasswordHash(tx, homeOrgId, personId, { before, passwordHash }))) {
        throw new DomainError("CODE_NOT_FOUND");
      }
      const ids = await endLogins(tx, homeOrgId, { personId });
      await audit(tx, c, personCaller(account, "", requestId), {
        action: "password.reset",
        target: encodeId("person", personId),
        details: { endedLogins: ids.length, address },
      });
      return ids;
    });
    distrustKeys(c, ended);
    return ended.length;
  });
}
