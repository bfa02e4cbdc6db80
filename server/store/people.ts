import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { now } from "./columns.ts";
import { inOrg, type Tx } from "./database.ts";
import { and, asc, eq, gt, inArray, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { orgs } from "./schema-fleet.ts";
import { members, people } from "./schema-people.ts";

/** An account as it is found by its e-mail. */
export interface Account {
  /** Its home. */
  readonly orgId: string;
  readonly personId: string;
  readonly email: string;
  readonly name: string;
  readonly passwordHash: string | null;
  readonly vouchedAt: Date | null;
}

const account = {
  orgId: people.orgId,
  personId: people.personId,
  email: people.email,
  name: people.name,
  passwordHash: people.passwordHash,
  vouchedAt: people.vouchedAt,
};

/** Looks an account up by its e-mail, before its org is known: the policy `by_email` lets no other row be seen. */
export function findAccount(db: PostgresJsDatabase, email: string): Promise<Account | null> {
  return inOrg(db, nilUuid, async (tx) => {
    await tx.execute(sql.raw(`set local muster.email = '${Buffer.from(email).toString("hex")}'`));
    const [row] = await tx.select(account).from(people).where(eq(people.email, email)).limit(1);
    return row ?? null;
  });
}

/** An account of its home. */
export async function readAccount(tx: Tx, homeOrgId: string, personId: string): Promise<Account | null> {
  const [row] = await tx
    .select(account)
    .from(people)
    .where(and(eq(people.orgId, homeOrgId), eq(people.personId, personId)));
  return row ?? null;
}

/** Makes an account. False when its e-mail has one, in whatever org: then nothing changed. */
export async function insertAccount(
  tx: Tx,
  { isVouched, ...row }: Omit<Account, "vouchedAt"> & { readonly isVouched: boolean },
): Promise<boolean> {
  const inserted = await tx
    .insert(people)
    .values({ ...row, vouchedAt: isVouched ? now : null })
    .onConflictDoNothing()
    .returning({ personId: people.personId });
  return inserted.length > 0;
}

/** Keeps another password; with `before`, only if that is still the present one. False when it is not. */
export async function setPasswordHash(
  tx: Tx,
  homeOrgId: string,
  personId: string,
  { before, passwordHash }: { readonly before?: string | null; readonly passwordHash: string | null },
): Promise<boolean> {
  const changed = await tx
    .update(people)
    .set({ passwordHash })
    .where(
      and(
        eq(people.orgId, homeOrgId),
        eq(people.personId, personId),
        before === undefined ? undefined : sql`${people.passwordHash} is not distinct from ${before}`,
      ),
    )
    .returning({ personId: people.personId });
  return changed.length > 0;
}

/** Keeps that somebody who knows has said whose e-mail it is. */
export async function vouchForAccount(tx: Tx, homeOrgId: string, personId: string): Promise<void> {
  await tx
    .update(people)
    .set({ vouchedAt: sql`coalesce(${people.vouchedAt}, ${now})` })
    .where(and(eq(people.orgId, homeOrgId), eq(people.personId, personId)));
}

/** A member of an org. */
export interface MemberRow {
  readonly orgId: string;
  readonly personId: string;
  readonly homeOrgId: string;
  readonly email: string;
  readonly name: string;
  readonly role: string;
  readonly disabledAt: Date | null;
  readonly createdAt: Date;
}

/** Makes a member. False when they are one: then nothing changed. */
export async function insertMember(
  tx: Tx,
  row: Omit<MemberRow, "disabledAt" | "createdAt">,
): Promise<boolean> {
  const inserted = await tx
    .insert(members)
    .values(row)
    .onConflictDoNothing()
    .returning({ personId: members.personId });
  return inserted.length > 0;
}

/** Where a person is a member, whatever org: by the policy `by_person`. Those who are disabled there, too. */
export function readMemberships(db: PostgresJsDatabase, personId: string): Promise<MemberRow[]> {
  return inOrg(db, nilUuid, async (tx) => {
    await tx.execute(sql.raw(`set local muster.person = '${checkedPerson(personId)}'`));
    return tx
      .select()
      .from(members)
      .where(eq(members.personId, personId))
      .orderBy(asc(members.orgId))
      .limit(1_000);
  });
}

/** A member of the org, by id or e-mail; null when there is none. `isLocked`: until the transaction ends. */
export async function readMember(
  tx: Tx,
  orgId: string,
  person: { readonly personId: string } | { readonly email: string },
  { isLocked = false }: { readonly isLocked?: boolean } = {},
): Promise<MemberRow | null> {
  const condition =
    "personId" in person ? eq(members.personId, person.personId) : eq(members.email, person.email);
  const query = tx
    .select()
    .from(members)
    .where(and(eq(members.orgId, orgId), condition))
    .limit(1);
  const [row] = await (isLocked ? query.for("update") : query);
  return row ?? null;
}

/** Members of the org by e-mail, after one. */
export function readMembers(
  tx: Tx,
  orgId: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<MemberRow[]> {
  return tx
    .select()
    .from(members)
    .where(and(eq(members.orgId, orgId), gt(members.email, after)))
    .orderBy(asc(members.email))
    .limit(limit);
}

/** The admins of the org who may act, locked, so that who removes one waits for who removes another. */
export async function lockAdmins(tx: Tx, orgId: string): Promise<string[]> {
  const rows = await tx
    .select({ personId: members.personId })
    .from(members)
    .where(and(eq(members.orgId, orgId), eq(members.role, "admin"), sql`${members.disabledAt} is null`))
    .orderBy(asc(members.personId))
    .for("update");
  return rows.map(({ personId }) => personId);
}

/** Changes a member. */
export async function updateMember(
  tx: Tx,
  orgId: string,
  personId: string,
  change: { readonly role: string } | { readonly isDisabled: boolean },
): Promise<void> {
  const set =
    "role" in change
      ? { role: change.role }
      : { disabledAt: change.isDisabled ? sql`coalesce(${members.disabledAt}, ${now})` : null };
  await tx
    .update(members)
    .set(set)
    .where(and(eq(members.orgId, orgId), eq(members.personId, personId)));
}

/** Takes a member out. */
export async function deleteMember(tx: Tx, orgId: string, personId: string): Promise<void> {
  await tx.delete(members).where(and(eq(members.orgId, orgId), eq(members.personId, personId)));
}

/** The names of orgs. For those whom a person is a member of: no other role may see them. */
export function readOrgNames(
  sweep: PostgresJsDatabase,
  orgIds: readonly string[],
): Promise<{ readonly orgId: string; readonly name: string }[]> {
  if (orgIds.length === 0) return Promise.resolve([]);
  return sweep
    .select({ orgId: orgs.orgId, name: orgs.name })
    .from(orgs)
    .where(inArray(orgs.orgId, [...orgIds]));
}

/** The id of the org of a name; null when there is none. Only sweeps may look. */
export async function findOrgByName(sweep: PostgresJsDatabase, name: string): Promise<string | null> {
  const [row] = await sweep.select({ orgId: orgs.orgId }).from(orgs).where(eq(orgs.name, name));
  return row?.orgId ?? null;
}

function checkedPerson(text: string): string {
  if (!/^[0-9a-f-]{36}$/.test(text)) throw new Error("not the id of a person");
  return text;
}
