import { inOrg } from "../store/database.ts";
import { findOrg, type OrgState, readOrgState } from "../store/orgs.ts";
import type { Caller } from "./context.ts";
import { notFound, scopeMissing, unauthenticated } from "./errors.ts";
import { decodeId, encodeId, idPrefixes } from "./ids.ts";
import { defaultOrgName, type KeyContext } from "./keys.ts";

/**
 * The caller as it acts for an org, named by name or id; empty: the key's own. Another one than that takes the scope
 * `platform`: without it every other name has the same answer, whether there is such an org or not. An org that is
 * being deleted has no keys any more. Whether an org may do anything is known here after at most 1 s.
 */
export async function actFor(c: KeyContext, caller: Caller, named: string): Promise<Caller> {
  const own = await stateOf(c, caller.orgId);
  if (own === null || own.deletedAt !== null) throw unauthenticated();
  if (named === "" || named === own.name || named === encodeId("org", own.orgId)) return under(own, caller);
  if (!caller.scopes.includes("platform")) throw scopeMissing("platform");
  const other = await namedState(c, named);
  if (other === null || other.deletedAt !== null) throw notFound("ORG_NOT_FOUND", named);
  const { orgId: keyOrgId, keyId } = caller;
  return under(other, { ...caller, orgId: other.orgId, keyOrgId, actor: `platform:${keyId}` });
}

/** What is known of an org is old: the next call asks for it. */
export function forgetOrg(
  c: Pick<KeyContext, "orgStates">,
  { orgId, name }: Pick<OrgState, "orgId" | "name">,
): void {
  c.orgStates.forget(orgId);
  c.orgStates.forget(`name ${name}`);
  c.orgStates.forget(`id ${orgId}`);
}

/** What a text may mean: the id of an org, or its name; null: neither. */
export function readOrgText(text: string): { readonly orgId: string } | { readonly name: string } {
  if (!text.startsWith(`${idPrefixes.org}_`)) return { name: text };
  try {
    return { orgId: decodeId("org", text, "org") };
  } catch {
    return { name: text };
  }
}

function under(org: OrgState, caller: Caller): Caller {
  const known = org.name === defaultOrgName ? caller : { ...caller, isTenant: true as const };
  return org.suspendedAt === null ? known : { ...known, suspension: org.suspendReason };
}

function stateOf(c: KeyContext, orgId: string): Promise<OrgState | null> {
  return c.orgStates.get(orgId, () => inOrg(c.db.app, orgId, (tx) => readOrgState(tx, orgId)));
}

function namedState(c: KeyContext, text: string): Promise<OrgState | null> {
  if (text.length > 100) return Promise.resolve(null);
  const of = readOrgText(text);
  const key = "orgId" in of ? `id ${of.orgId}` : `name ${of.name}`;
  return c.orgStates.get(key, () => findOrg(c.db.sweep, of));
}
