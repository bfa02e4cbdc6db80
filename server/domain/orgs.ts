import { inBothOrgs, inNewOrg, inOrg } from "../store/database.ts";
import {
  findOrg,
  insertOrg,
  lockOrg,
  markOrgDeleted,
  type OrgState,
  readOrgState,
  readOrgs,
  suspendOrgRow,
} from "../store/orgs.ts";
import { type KeyView, readKey, reasonViolations, refuseViolations } from "./api-keys.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { alreadyExists, failedPrecondition, notFound, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { createKey, type KeyContext, orgScopes } from "./keys.ts";
import { forgetOrg, readOrgText } from "./org-states.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
import { nameViolations, textViolations } from "./rules/texts.ts";

/** A tenant as it is shown. */
export type OrgView = Omit<OrgState, "deletedBy">;

/** What verbs about orgs work with. */
export type OrgContext = KeyContext & Pick<Coordinator, "wakes">;

/**
 * Makes an org and its first admin key, which can do all within it, and nothing beyond.
 *
 * @returns the org, the key, and its text: here alone.
 */
export async function createOrg(
  c: OrgContext,
  caller: Caller,
  name: string,
): Promise<{ readonly org: OrgView; readonly key: KeyView; readonly text: string }> {
  refuseViolations(nameViolations("name", name, orgNameRule));
  const orgId = c.newId();
  const made = await inNewOrg(c.db.app, {
    find: async () => ({ orgId }),
    body: async (tx) => {
      if (!(await insertOrg(tx, { orgId, name }))) throw alreadyExists("NAME_TAKEN", { name });
      const key = await createKey(c, tx, { orgId, type: "api", name: "first admin key", scopes: orgScopes });
      const details = { name, keyId: key.id };
      await audit(tx, c, platformCaller(caller, orgId), {
        action: "org.create",
        target: orgOf(orgId),
        details,
      });
      const org = await readOrgState(tx, orgId);
      if (org === null) throw new Error("a new org is not there");
      return { org, key: await readKey(tx, orgId, key.id), text: key.text };
    },
  });
  // Somebody may have asked for it before there was one.
  forgetOrg(c, made.org);
  return made;
}

/** Reads the org of a name or an id. */
export async function getOrg(c: Pick<KeyContext, "db">, named: string): Promise<OrgView> {
  return orgNamed(c, named);
}

/** Lists orgs, oldest first. */
export async function listAllOrgs(
  c: Pick<KeyContext, "db">,
  { orgId }: Caller,
  page: PageRequest,
): Promise<Page<OrgView>> {
  const identity: ListIdentity = { list: "orgs", orgId };
  const limit = pageRows(page);
  const [after = null] = readPageToken(identity, page, [uuidForm]) ?? [];
  const rows = await readOrgs(c.db.sweep, { after, limit: limit + 1 });
  return pageOf(
    rows,
    limit,
    identity,
    (row) => [row.orgId],
    (row) => row,
  );
}

/**
 * Suspends an org. From this answer on its calls are refused here, and within 1 s by the other coordinators; its
 * streams end, here at once and elsewhere within 2 s; no more of its jobs are offered. Links of workers stay, and what
 * runs goes on: its results are taken. One that is suspended gets the new reason.
 */
export async function suspendOrg(
  c: OrgContext,
  caller: Caller,
  { org: named, reason }: { readonly org: string; readonly reason: string },
): Promise<OrgView> {
  refuseViolations(requiredReason(reason));
  const org = await changeOrg(c, caller, named, async (tx, before) => {
    await suspendOrgRow(tx, before.orgId, reason);
    const details = { name: before.name, before: shownState(before), after: { isSuspended: true, reason } };
    return { action: "org.suspend", reason, details };
  });
  c.streams.endStreamsOf({ orgId: org.orgId });
  c.wakes.gates(org.orgId);
  return org;
}

/** Lets a suspended org go on where it was. One that is not suspended stays as it is. */
export async function resumeOrg(
  c: OrgContext,
  caller: Caller,
  { org: named, reason }: { readonly org: string; readonly reason: string },
): Promise<OrgView> {
  refuseViolations(reasonViolations(reason));
  const org = await changeOrg(c, caller, named, async (tx, before) => {
    if (before.suspendedAt === null) return null;
    await suspendOrgRow(tx, before.orgId, null);
    const details = { name: before.name, before: shownState(before), after: { isSuspended: false } };
    return { action: "org.resume", reason, details };
  });
  c.wakes.gates(org.orgId);
  c.wakes.ready(org.orgId);
  return org;
}

/**
 * Deletes a suspended org: its keys are refused from now on, and a sweep removes all that it has. The audit row is in
 * the log of the caller's own org, since that of the org goes, too.
 */
export async function deleteOrg(
  c: OrgContext,
  caller: Caller,
  asked: { readonly org: string; readonly confirmName: string; readonly reason: string },
): Promise<OrgView> {
  const { org: named, confirmName, reason } = asked;
  refuseViolations(requiredReason(reason));
  const { orgId, name } = await orgNamed(c, named);
  if (confirmName !== name) {
    refuseViolations([{ field: "confirmName", message: `must be the name of the org: ${name}` }]);
  }
  const home = caller.keyOrgId ?? caller.orgId;
  if (orgId === home) throw failedPrecondition("OWN_ORG", { org: name });
  const deleted = await inBothOrgs(c.db.app, [orgId, home], {
    first: async (tx) => {
      const before = await lockOrg(tx, orgId);
      if (before === null) throw notFound("ORG_NOT_FOUND", named);
      if (before.suspendedAt === null) throw failedPrecondition("ORG_NOT_SUSPENDED", { org: name });
      if (before.deletedAt !== null) return { org: before, isNews: false };
      await markOrgDeleted(tx, orgId, home);
      return { org: (await readOrgState(tx, orgId)) ?? before, isNews: true };
    },
    second: async (tx, { org, isNews }) => {
      if (!isNews) return org;
      const details = { name, suspendReason: org.suspendReason };
      const own = { ...caller, orgId: home };
      await audit(tx, c, own, { action: "org.delete", target: orgOf(orgId), reason, details });
      return org;
    },
  });
  forgetOrg(c, deleted);
  c.streams.endStreamsOf({ orgId, withWorkers: true });
  return deleted;
}

/** Names of orgs. */
export const orgNameRule = {
  form: /^[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?$/,
  words: "1 to 60 characters of a-z 0-9 -, with a letter or digit at both ends",
};

interface Change {
  readonly action: string;
  readonly reason: string;
  readonly details: Record<string, unknown>;
}

// The row and its audit are one commit, in the org that is changed.
async function changeOrg(
  c: OrgContext,
  caller: Caller,
  named: string,
  change: (tx: Parameters<typeof lockOrg>[0], before: OrgState) => Promise<Change | null>,
): Promise<OrgView> {
  const { orgId, name } = await orgNamed(c, named);
  if (orgId === (caller.keyOrgId ?? caller.orgId)) throw failedPrecondition("OWN_ORG", { org: name });
  const changed = await inOrg(c.db.app, orgId, async (tx) => {
    const before = await lockOrg(tx, orgId);
    if (before === null) throw notFound("ORG_NOT_FOUND", named);
    if (before.deletedAt !== null) throw failedPrecondition("ORG_DELETED", { org: name });
    const done = await change(tx, before);
    if (done !== null) await audit(tx, c, platformCaller(caller, orgId), { target: orgOf(orgId), ...done });
    return (await readOrgState(tx, orgId)) ?? before;
  });
  forgetOrg(c, changed);
  return changed;
}

async function orgNamed(c: Pick<KeyContext, "db">, named: string): Promise<OrgState> {
  const found =
    named === "" || named.length > 100 || named.includes("\0")
      ? null
      : await findOrg(c.db.sweep, readOrgText(named));
  if (named === "") refuseViolations([{ field: "org", message: "is required" }]);
  if (found === null) throw notFound("ORG_NOT_FOUND", named);
  return found;
}

// Whoever looks at the log of the org sees that it was done from outside.
function platformCaller(caller: Caller, orgId: string): Caller {
  const home = caller.keyOrgId ?? caller.orgId;
  return { ...caller, orgId, keyOrgId: home, actor: `platform:${caller.keyId}` };
}

function shownState({ suspendedAt, suspendReason }: OrgState): Record<string, unknown> {
  return suspendedAt === null ? { isSuspended: false } : { isSuspended: true, reason: suspendReason };
}

function requiredReason(reason: string): Violation[] {
  return textViolations("reason", reason, { min: 1, max: 500, isMultiline: true });
}

function orgOf(orgId: string): string {
  return encodeId("org", orgId);
}
