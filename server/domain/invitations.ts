import { inOrg, type Tx } from "../store/database.ts";
import { insertInvitation, lockInvitation, useInvitation } from "../store/invitations.ts";
import { insertMember, readAccount } from "../store/people.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { alreadyExists, DomainError, invalidArgument, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { KeyContext } from "./keys.ts";
import { requirePerson, requireWholeLogin } from "./logins.ts";
import { hashKey } from "./rules/keys.ts";
import { isRole, normalizeEmail, type Role } from "./rules/people.ts";
import { readInvitation, writeInvitation } from "./rules/person-tokens.ts";

/** How long an invitation can be used, unless told. */
export const invitationTtlMs = 7 * 86_400_000;

/** Whom to invite. */
export interface InvitationRequest {
  /** Empty: whoever has the code. */
  readonly email: string;
  readonly role: Role;
  /** 1 minute to 90 days; null: `invitationTtlMs`. */
  readonly ttlMs: number | null;
}

/**
 * Invites somebody to the org.
 *
 * @returns the code: here alone, and used once.
 */
export async function createInvitation(
  c: KeyContext,
  caller: Caller,
  request: InvitationRequest,
): Promise<{ readonly code: string; readonly expiresAt: Date }> {
  const violations: Violation[] = [];
  const email = request.email === "" ? "" : normalizeEmail(request.email);
  const ttlMs = request.ttlMs ?? invitationTtlMs;
  if (email === null) violations.push({ field: "email", message: "must be an e-mail, or empty" });
  if (ttlMs < 60_000 || ttlMs > 90 * 86_400_000) {
    violations.push({ field: "ttl", message: "must be 1 minute to 90 days" });
  }
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const invitationId = c.newId();
  const code = writeInvitation(orgId, invitationId, c.config.keyPrefix);
  const expiresAt = await inOrg(c.db.app, orgId, async (tx) => {
    const { role } = request;
    const hash = hashKey(c.pepper, code);
    const ends = await insertInvitation(tx, { orgId, invitationId, hash, email: email ?? "", role, ttlMs });
    await audit(tx, c, caller, {
      action: "invitation.create",
      target: invitationId,
      details: { email, role, expireTime: ends.toISOString() },
    });
    return ends;
  });
  return { code, expiresAt };
}

/** Uses an invitation within a transaction of its org; CODE_NOT_FOUND when it is not good, or not for this e-mail. */
export async function spendInvitation(
  c: KeyContext,
  tx: Tx,
  { code, email }: { readonly code: string; readonly email: string },
): Promise<{ readonly role: Role; readonly email: string }> {
  const which = readInvitation(code);
  const found = which === null ? null : await lockInvitation(tx, which.orgId, which.invitationId);
  const hashes = [c.pepper, ...c.olderPeppers].map((pepper) => hashKey(pepper, code));
  const isRight = found !== null && hashes.some((hash) => hash.equals(found.hash));
  const isTheirs = found !== null && (found.email === "" || found.email === email);
  if (which === null || !isRight || !isTheirs || !isRole(found.role)) throw new DomainError("CODE_NOT_FOUND");
  await useInvitation(tx, which.orgId, which.invitationId);
  return { role: found.role, email: found.email };
}

/** Makes the person who calls a member of the org that has invited them. */
export async function acceptInvitation(
  c: KeyContext,
  caller: Caller,
  code: string,
): Promise<{ readonly orgId: string; readonly role: Role }> {
  const { personId, login } = requirePerson(caller);
  requireWholeLogin(login);
  const { homeOrgId, email } = login;
  return c.people.brake.attempt([{ name: `code ${personId}`, free: 10 }], async () => {
    const which = readInvitation(code);
    if (which === null) throw new DomainError("CODE_NOT_FOUND");
    const { orgId } = which;
    const account = await inOrg(c.db.app, homeOrgId, (tx) => readAccount(tx, homeOrgId, personId));
    return inOrg(c.db.app, orgId, async (tx) => {
      const { role } = await spendInvitation(c, tx, { code, email });
      const row = { orgId, personId, homeOrgId, email, name: account?.name ?? "", role };
      if (!(await insertMember(tx, row))) throw alreadyExists("MEMBER_ALREADY", { email });
      await audit(
        tx,
        c,
        { ...caller, orgId },
        {
          action: "invitation.accept",
          target: encodeId("person", personId),
          details: { email, role, invitationId: which.invitationId },
        },
      );
      return { orgId, role };
    });
  });
}
