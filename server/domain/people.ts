import { inOrg, type Tx } from "../store/database.ts";
import { readIdentity } from "../store/identities.ts";
import { lockAdminKeys } from "../store/keys.ts";
import {
  type Account,
  deleteMember,
  insertAccount,
  insertMember,
  lockAdmins,
  type MemberRow,
  readMember,
  readMembers,
  updateMember,
} from "../store/people.ts";
import { readOrg } from "../store/snapshot.ts";
import { reasonViolations, refuseViolations } from "./api-keys.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { alreadyExists, failedPrecondition, invalidArgument, notFound, type Violation } from "./errors.ts";
import { decodeId, encodeId } from "./ids.ts";
import type { KeyContext } from "./keys.ts";
import { requirePerson } from "./logins.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { passwordViolations } from "./rules/passwords.ts";
import { normalizeEmail, type Role } from "./rules/people.ts";
import { textViolations } from "./rules/texts.ts";

/** A member as they are shown. */
export type PersonView = Omit<MemberRow, "orgId" | "homeOrgId">;

/** A person who may be in no org: then since when is not known. */
export type SelfView = Omit<PersonView, "createdAt"> & { readonly createdAt: Date | null };

/** What is asked of an account that an admin makes. */
export interface PersonRequest {
  readonly email: string;
  readonly name: string;
  readonly role: Role;
  /** Empty: no password logs in. */
  readonly password: string;
}

/** Makes an account that is a member of the org. EMAIL_TAKEN when the e-mail has one, in whatever org. */
export async function createPerson(c: KeyContext, caller: Caller, given: PersonRequest): Promise<PersonView> {
  const violations: Violation[] = [];
  const email = readNewPerson(violations, given);
  if (given.password !== "") violations.push(...passwordViolations("password", given.password, email));
  if (violations.length > 0) throw invalidArgument(violations);
  const passwordHash = given.password === "" ? null : await c.people.passwords.hash(given.password);
  const { orgId } = caller;
  const personId = c.newId();
  return inOrg(c.db.app, orgId, async (tx) => {
    const { name, role } = given;
    await addAccount(tx, { orgId, personId, email, name, passwordHash, isVouched: true }, role);
    await audit(tx, c, caller, {
      action: "person.create",
      target: encodeId("person", personId),
      details: { email, name, role, hasPassword: passwordHash !== null },
    });
    return readPerson(tx, orgId, { personId });
  });
}

/** Reads a member, by id or e-mail. */
export function getPerson(c: KeyContext, { orgId }: Caller, person: string): Promise<PersonView> {
  const named = readNamed(person);
  return readOrg(c.db.app, orgId, (tx) => readPerson(tx, orgId, named));
}

/** Lists the members of the org, by e-mail. */
export async function listPeople(
  c: KeyContext,
  { orgId }: Caller,
  page: PageRequest,
): Promise<Page<PersonView>> {
  const identity: ListIdentity = { list: "people", orgId };
  const limit = pageRows(page);
  const [after = ""] = readPageToken(identity, page, [/^.{1,254}$/u]) ?? [];
  const rows = await readOrg(c.db.app, orgId, (tx) => readMembers(tx, orgId, { after, limit: limit + 1 }));
  return pageOf(rows, limit, identity, ({ email }) => [email], viewOf);
}

/** Which member, and why. */
export interface MemberAct {
  /** Id or e-mail. */
  readonly person: string;
  readonly reason: string;
}

/** Gives a member another role. LAST_ADMIN when nobody could be given a role after that. */
export function setRole(
  c: KeyContext,
  caller: Caller,
  { role, ...act }: MemberAct & { readonly role: Role },
): Promise<PersonView> {
  return changeMember(c, caller, act, async (tx, member) => {
    if (member.role === role) return null;
    if (role !== "admin") await keepAnAdmin(tx, member);
    await updateMember(tx, member.orgId, member.personId, { role });
    return { action: "person.role", details: { email: member.email, before: member.role, after: role } };
  });
}

/** Keeps a member from doing anything in the org, or lets them again. LAST_ADMIN as with `setRole`. */
export function setDisabled(
  c: KeyContext,
  caller: Caller,
  { isDisabled, ...act }: MemberAct & { readonly isDisabled: boolean },
): Promise<PersonView> {
  return changeMember(c, caller, act, async (tx, member) => {
    if ((member.disabledAt !== null) === isDisabled) return null;
    if (isDisabled) await keepAnAdmin(tx, member);
    await updateMember(tx, member.orgId, member.personId, { isDisabled });
    return {
      action: isDisabled ? "person.disable" : "person.enable",
      details: { email: member.email, role: member.role },
    };
  });
}

/** Takes a member out of the org; the account stays. LAST_ADMIN as with `setRole`. */
export async function removePerson(c: KeyContext, caller: Caller, act: MemberAct): Promise<void> {
  await changeMember(c, caller, act, async (tx, member) => {
    await keepAnAdmin(tx, member);
    await deleteMember(tx, member.orgId, member.personId);
    return { action: "person.remove", details: { email: member.email, role: member.role } };
  });
}

/** A member of the org as they are shown; PERSON_NOT_FOUND. */
export async function readPerson(tx: Tx, orgId: string, named: NamedPerson): Promise<PersonView> {
  const row = await readMember(tx, orgId, named);
  if (row === null) throw notFoundPerson(named);
  return viewOf(row);
}

/** The person who calls, as they themselves may see it: also in no org, then without a role. */
export async function readSelf(
  c: KeyContext,
  caller: Caller,
): Promise<{ readonly person: SelfView; readonly githubLogin: string }> {
  const { personId, login } = requirePerson(caller);
  const { homeOrgId, email, role } = login;
  const githubLogin = await readOrg(c.db.app, homeOrgId, async (tx) => {
    return (await readIdentity(tx, homeOrgId, personId, "github"))?.login ?? "";
  });
  const member =
    role === null
      ? null
      : await readOrg(c.db.app, caller.orgId, (tx) => readMember(tx, caller.orgId, { personId }));
  const none = { personId, email, name: "", role: "", disabledAt: null, createdAt: null };
  return { person: member === null ? none : viewOf(member), githubLogin };
}

/** What is wrong with an e-mail and a name; and the e-mail as it is kept. */
export function readNewPerson(
  violations: Violation[],
  given: { readonly email: string; readonly name: string },
): string {
  const email = normalizeEmail(given.email);
  if (email === null) violations.push({ field: "email", message: "must be an e-mail" });
  violations.push(...textViolations("name", given.name, { min: 0, max: 100 }));
  return email ?? "";
}

/** Keeps an account and makes it a member of its home; EMAIL_TAKEN. */
export async function addAccount(
  tx: Tx,
  account: Omit<Account, "vouchedAt"> & { readonly isVouched: boolean },
  role: string,
): Promise<void> {
  const { orgId, personId, email, name } = account;
  const isNew = await insertAccount(tx, account);
  if (!isNew || !(await insertMember(tx, { orgId, personId, homeOrgId: orgId, email, name, role }))) {
    throw alreadyExists("EMAIL_TAKEN", { email });
  }
}

/** How a member is named: by id or e-mail. */
export type NamedPerson = { readonly personId: string } | { readonly email: string };

/** The member that a text names. VALIDATION_FAILED when it is neither an id nor an e-mail. */
export function readNamed(person: string): NamedPerson {
  const email = normalizeEmail(person);
  if (email !== null) return { email };
  if (person.startsWith("psn_")) return { personId: decodeId("person", person, "person") };
  const message = person === "" ? "is required" : "must be an e-mail, or an id like psn_…";
  throw invalidArgument([{ field: "person", message }]);
}

/** The error for a member who is not there. */
export function notFoundPerson(named: NamedPerson) {
  return notFound("PERSON_NOT_FOUND", "email" in named ? named.email : encodeId("person", named.personId));
}

/** Changes a member, with the audit row that `change` answers with; null: there was nothing to change. */
async function changeMember(
  c: KeyContext,
  caller: Caller,
  { person, reason }: MemberAct,
  change: (
    tx: Tx,
    member: MemberRow,
  ) => Promise<{ readonly action: string; readonly details: Record<string, unknown> } | null>,
): Promise<PersonView> {
  refuseViolations(reasonViolations(reason));
  const named = readNamed(person);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    // Admins first, in one order for all: two who remove each other wait for one another.
    await lockAdmins(tx, orgId);
    const member = await readMember(tx, orgId, named, { isLocked: true });
    if (member === null) throw notFoundPerson(named);
    const done = await change(tx, member);
    if (done === null) return viewOf(member);
    await audit(tx, c, caller, { ...done, reason, target: encodeId("person", member.personId) });
    return viewOf((await readMember(tx, orgId, { personId: member.personId })) ?? member);
  });
}

async function keepAnAdmin(tx: Tx, { orgId, personId, email }: MemberRow): Promise<void> {
  const admins = await lockAdmins(tx, orgId);
  if (admins.length !== 1 || admins[0] !== personId) return;
  if ((await lockAdminKeys(tx, orgId)).length === 0) throw failedPrecondition("LAST_ADMIN", { email });
}

function viewOf({ orgId: _, homeOrgId: __, ...view }: MemberRow): PersonView {
  return view;
}
