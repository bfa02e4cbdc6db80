import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { inOrg, type Tx } from "./database.ts";
import { and, eq, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { identities } from "./schema-people.ts";

/** An account elsewhere that stands for a person. */
export interface IdentityRow {
  /** The org of the person's account. */
  readonly orgId: string;
  readonly personId: string;
  readonly provider: string;
  readonly subject: string;
  readonly login: string;
}

/** Looks a person up by an account elsewhere: the policy `by_subject` lets no other row be seen. */
export function findIdentity(
  db: PostgresJsDatabase,
  provider: string,
  subject: string,
): Promise<IdentityRow | null> {
  return inOrg(db, nilUuid, async (tx) => {
    const hex = Buffer.from(`${provider} ${subject}`).toString("hex");
    await tx.execute(sql.raw(`set local muster.subject = '${hex}'`));
    const [row] = await tx
      .select({
        orgId: identities.orgId,
        personId: identities.personId,
        provider: identities.provider,
        subject: identities.subject,
        login: identities.login,
      })
      .from(identities)
      .where(and(eq(identities.provider, provider), eq(identities.subject, subject)))
      .limit(1);
    return row ?? null;
  });
}

/** The name of a person at a provider; null when none is linked. */
export async function readIdentity(
  tx: Tx,
  homeOrgId: string,
  personId: string,
  provider: string,
): Promise<{ readonly subject: string; readonly login: string } | null> {
  const [row] = await tx
    .select({ subject: identities.subject, login: identities.login })
    .from(identities)
    .where(
      and(
        eq(identities.orgId, homeOrgId),
        eq(identities.personId, personId),
        eq(identities.provider, provider),
      ),
    );
  return row ?? null;
}

/** Links an account, in place of the one before. False when it stands for somebody else: then nothing changed. */
export async function linkIdentity(tx: Tx, row: IdentityRow): Promise<boolean> {
  await deleteIdentity(tx, row.orgId, row.personId, row.provider);
  const inserted = await tx
    .insert(identities)
    .values(row)
    .onConflictDoNothing()
    .returning({ personId: identities.personId });
  return inserted.length > 0;
}

/** Unlinks an account. False when there was none. */
export async function deleteIdentity(
  tx: Tx,
  homeOrgId: string,
  personId: string,
  provider: string,
): Promise<boolean> {
  const deleted = await tx
    .delete(identities)
    .where(
      and(
        eq(identities.orgId, homeOrgId),
        eq(identities.personId, personId),
        eq(identities.provider, provider),
      ),
    )
    .returning({ personId: identities.personId });
  return deleted.length > 0;
}
