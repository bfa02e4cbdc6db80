import { inOrg } from "../store/database.ts";
import { readLogin } from "../store/logins.ts";
import { type MemberRow, readMemberships, readOrgNames } from "../store/people.ts";
import type { AccessClaims } from "./access-tokens.ts";
import { DomainError, notFound, unauthenticated } from "./errors.ts";
import { decodeId } from "./ids.ts";
import type { KeyContext, Principal } from "./keys.ts";
import { isRole, roleScopes } from "./rules/people.ts";

/**
 * Tells for whom an access token calls, in the org that is named, or the one that they are in. Without a choice, in
 * several or in none, the person may do what needs no org: they have no scopes. KEY_INVALID when the login has ended;
 * ORG_NOT_FOUND for an org that they are not in, whether it exists or not.
 */
export async function readPersonHolder(
  c: Pick<KeyContext, "db">,
  { personId, loginId, homeOrgId }: AccessClaims,
  orgText: string,
): Promise<Principal> {
  const login = await inOrg(c.db.app, homeOrgId, (tx) => readLogin(tx, homeOrgId, loginId));
  if (login === null || !login.isLive || login.personId !== personId) throw unauthenticated();
  const { email, onlyOrgId } = login;
  const all = await readMemberships(c.db.app, personId);
  const usable = all.filter(
    ({ disabledAt, orgId }) => disabledAt === null && (onlyOrgId === null || orgId === onlyOrgId),
  );
  const member = orgText === "" ? onlyOne(usable) : await namedOne(c, usable, orgText);
  const role = member !== null && isRole(member.role) ? member.role : null;
  return {
    orgId: member?.orgId ?? homeOrgId,
    actor: `person:${email}`,
    type: "api",
    keyId: loginId,
    workerId: null,
    scopes: role === null ? [] : roleScopes[role],
    personId,
    login: { loginId, homeOrgId, email, role, onlyOrgId },
  };
}

function onlyOne(members: readonly MemberRow[]): MemberRow | null {
  const [only, ...others] = members;
  return only !== undefined && others.length === 0 ? only : null;
}

async function namedOne(
  c: Pick<KeyContext, "db">,
  members: readonly MemberRow[],
  orgText: string,
): Promise<MemberRow> {
  const id = idOf(orgText);
  const names =
    id === null
      ? await readOrgNames(
          c.db.sweep,
          members.map(({ orgId }) => orgId),
        )
      : [];
  const wanted = id ?? names.find(({ name }) => name === orgText)?.orgId;
  const found = members.find(({ orgId }) => orgId === wanted);
  if (found === undefined) throw notFound("ORG_NOT_FOUND", orgText);
  return found;
}

function idOf(text: string): string | null {
  if (!text.startsWith("org_")) return null;
  try {
    return decodeId("org", text);
  } catch (error) {
    if (error instanceof DomainError) return null;
    throw error;
  }
}
