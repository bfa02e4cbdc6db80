import { inOrg, type Tx } from "../store/database.ts";
import {
  deleteInvitation,
  insertInvitation,
  lockInvitation,
  readInvitations,
  useInvitation,
} from "../store/invitations.ts";
import { nilUuid } from "../store/names.ts";
import { insertMember, readAccount } from "../store/people.ts";
import { readOrg } from "../store/snapshot.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { alreadyExists, DomainError, invalidArgument, notFound, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { KeyContext } from "./keys.ts";
import { requirePerson, requireWholeLogin } from "./logins.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
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
      target: encodeId("invitation", invitationId),
      details: { email, role, expireTime: ends.toISOString() },
    });
    return ends;
  });
  return { code, expiresAt };
}

/** An invitation that can be used. */
export interface InvitationView {
  readonly invitationId: string;
  /** Empty: whoever has the code. */
  readonly email: string;
  readonly role: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** Lists the invitations of the org that can be used, oldest first. */
export async function listInvitations(
  c: KeyContext,
  { orgId }: Caller,
  page: PageRequest,
): Promise<Page<InvitationView>> {
  const identity: ListIdentity = { list: "invitations", orgId };
  const limit = pageRows(page);
  const [after = nilUuid] = readPageToken(identity, page, [uuidForm]) ?? [];
  const rows = await readOrg(c.db.app, orgId, (tx) =>
    readInvitations(tx, orgId, { after, limit: limit + 1 }),
  );
  return pageOf(
    rows,
    limit,
    identity,
    ({ invitationId }) => [invitationId],
    (row) => row,
  );
}

/** Takes an invitation back; INVITATION_NOT_FOUND when it can no longer be used. */
export async function revokeInvitation(
  c: KeyContext,
  caller: Caller,
  { invitationId, reason }: { readonly invitationId: string; readonly reason: string },
): Promise<void> {
  const { orgId } = caller;
  const target = encodeId("invitation", invitationId);
  await inOrg(c.db.app, orgId, async (tx) => {
    const gone = await deleteInvitation(tx, orgId, invitationId);
    if (gone === null) throw notFound("INVITATION_NOT_FOUND", target);
    await audit(tx, c, caller, { action: "invitation.revoke", target, reason, details: gone });
  });
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
          details: { email, role, invitationId: encodeId("invitation", which.invitationId) },
        },
      );
      return { orgId, role };
    });
  });
}
