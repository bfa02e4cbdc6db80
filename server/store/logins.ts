import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, eq, gt, isNull, ne, sql } from "./drizzle.ts";
import { logins, people } from "./schema-people.ts";
import { names, param, statement } from "./statement.ts";

const l = names(logins);

/** A new login. */
export interface NewLogin {
  /** The org of the account. */
  readonly orgId: string;
  readonly loginId: string;
  readonly personId: string;
  readonly method: string;
  readonly seed: Uint8Array;
  readonly onlyOrgId: string | null;
  /** For how long its refresh token is good. */
  readonly ttlMs: number;
}

/** Keeps a login; answers with when its refresh token ends. What ended long ago of the same person goes. */
export async function insertLogin(tx: Tx, { ttlMs, ...row }: NewLogin): Promise<Date> {
  await tx
    .delete(logins)
    .where(
      and(
        eq(logins.orgId, row.orgId),
        eq(logins.personId, row.personId),
        sql`${logins.expiresAt} < ${now} - interval '7 days'`,
      ),
    );
  const [made] = await tx
    .insert(logins)
    .values({ ...row, expiresAt: ahead(ttlMs) })
    .returning({ expiresAt: logins.expiresAt });
  if (made === undefined) throw new Error("a login was not kept");
  return made.expiresAt;
}

/** A login as it is found. */
export interface FoundLogin {
  readonly personId: string;
  readonly email: string;
  readonly seed: Uint8Array;
  readonly generation: number;
  /** Since its last refresh, by the database's clock. */
  readonly sinceRotationMs: number;
  readonly expiresAt: Date;
  readonly onlyOrgId: string | null;
  /** Neither ended nor run out. */
  readonly isLive: boolean;
}

/** A login of the org of the account; null when there is none. `isLocked`: until the transaction ends. */
export async function readLogin(
  tx: Tx,
  homeOrgId: string,
  loginId: string,
  { isLocked = false }: { readonly isLocked?: boolean } = {},
): Promise<FoundLogin | null> {
  const query = tx
    .select({
      personId: logins.personId,
      email: people.email,
      seed: logins.seed,
      generation: logins.generation,
      sinceRotationMs: sql<number>`(extract(epoch from ${now} - ${logins.rotatedAt}) * 1000)::float8`,
      expiresAt: logins.expiresAt,
      onlyOrgId: logins.onlyOrgId,
      isLive: sql<boolean>`${logins.endedAt} is null and ${logins.expiresAt} > ${now}`,
    })
    .from(logins)
    .innerJoin(people, and(eq(people.orgId, homeOrgId), eq(people.personId, logins.personId)))
    .where(and(eq(logins.orgId, homeOrgId), eq(logins.loginId, loginId)));
  const [row] = await (isLocked ? query.for("update") : query);
  return row ?? null;
}

/** Raises the generation of a login; answers with when its refresh token now ends. */
export async function rotateLogin(
  tx: Tx,
  homeOrgId: string,
  loginId: string,
  ttlMs: number,
): Promise<Date | null> {
  const [row] = await tx
    .update(logins)
    .set({ generation: sql`${logins.generation} + 1`, rotatedAt: now, expiresAt: ahead(ttlMs) })
    .where(and(eq(logins.orgId, homeOrgId), eq(logins.loginId, loginId), isNull(logins.endedAt)))
    .returning({ expiresAt: logins.expiresAt });
  return row?.expiresAt ?? null;
}

/** Which logins of a person end. */
export type EndedLogins =
  | { readonly loginId: string }
  | { readonly personId: string; readonly except?: string };

/** Ends logins; answers with the ids of those that were live. */
export async function endLogins(tx: Tx, homeOrgId: string, which: EndedLogins): Promise<string[]> {
  const condition =
    "loginId" in which
      ? [eq(logins.loginId, which.loginId)]
      : [
          eq(logins.personId, which.personId),
          which.except === undefined ? undefined : ne(logins.loginId, which.except),
        ];
  const rows = await tx
    .update(logins)
    .set({ endedAt: now })
    .where(and(eq(logins.orgId, homeOrgId), ...condition, isNull(logins.endedAt), gt(logins.expiresAt, now)))
    .returning({ loginId: logins.loginId });
  return rows.map(({ loginId }) => loginId);
}

/**
 * Drops logins whose refresh token ended `keep` milliseconds ago or earlier, so many at a time: one that was ended
 * before goes then too. Parameters: org, keep, limit.
 */
export const dropLogins = statement(sql`
  delete from ${logins} x where x.${l.orgId} = ${param("org")}::uuid and x.${l.loginId} = any(array(
    select o.${l.loginId} from ${logins} o where o.${l.orgId} = ${param("org")}::uuid
      and o.${l.expiresAt} < ${now} - ${param("keep")}::bigint * interval '1 millisecond'
    limit ${param("limit")}::int))
  returning 1 as dropped`);

/** A login that holds a stream open. */
export interface HeldLogin {
  readonly homeOrgId: string;
  readonly loginId: string;
  readonly orgId: string;
  readonly role: string;
}

function ahead(ms: number) {
  return sql`${now} + ${ms}::float8 * interval '1 millisecond'`;
}
