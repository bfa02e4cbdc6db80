import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, isNull, sql } from "./drizzle.ts";
import { invitations } from "./schema-people.ts";
import { names, param, statement } from "./statement.ts";

const i = names(invitations);

/** A new invitation. */
export interface NewInvitation {
  readonly orgId: string;
  readonly invitationId: string;
  readonly hash: Uint8Array;
  readonly email: string;
  readonly role: string;
  readonly ttlMs: number;
}

/** Keeps an invitation; answers with when it ends. */
export async function insertInvitation(tx: Tx, { ttlMs, ...row }: NewInvitation): Promise<Date> {
  const expiresAt = sql`${now} + ${ttlMs}::float8 * interval '1 millisecond'`;
  const [made] = await tx
    .insert(invitations)
    .values({ ...row, expiresAt })
    .returning({ expiresAt: invitations.expiresAt });
  if (made === undefined) throw new Error("an invitation was not kept");
  return made.expiresAt;
}

/** An invitation that can be used, locked until the transaction ends; null when there is none. */
export async function lockInvitation(tx: Tx, orgId: string, invitationId: string) {
  const [row] = await tx
    .select({ hash: invitations.hash, email: invitations.email, role: invitations.role })
    .from(invitations)
    .where(
      and(
        eq(invitations.orgId, orgId),
        eq(invitations.invitationId, invitationId),
        isNull(invitations.usedAt),
        gt(invitations.expiresAt, now),
      ),
    )
    .for("update");
  return row ?? null;
}

const isUsable = and(isNull(invitations.usedAt), gt(invitations.expiresAt, now));

/** Invitations that can be used, by id, which is by age, after one. */
export function readInvitations(
  tx: Tx,
  orgId: string,
  { after, limit }: { readonly after: string; readonly limit: number },
) {
  const { invitationId, email, role, createdAt, expiresAt } = invitations;
  return tx
    .select({ invitationId, email, role, createdAt, expiresAt })
    .from(invitations)
    .where(and(eq(invitations.orgId, orgId), isUsable, gt(invitationId, after)))
    .orderBy(asc(invitationId))
    .limit(limit);
}

/** Takes an invitation away that can be used; null when there is none. */
export async function deleteInvitation(tx: Tx, orgId: string, invitationId: string) {
  const [gone] = await tx
    .delete(invitations)
    .where(and(eq(invitations.orgId, orgId), eq(invitations.invitationId, invitationId), isUsable))
    .returning({ email: invitations.email, role: invitations.role });
  return gone ?? null;
}

/** Keeps that an invitation was used. */
export async function useInvitation(tx: Tx, orgId: string, invitationId: string): Promise<void> {
  await tx
    .update(invitations)
    .set({ usedAt: now })
    .where(and(eq(invitations.orgId, orgId), eq(invitations.invitationId, invitationId)));
}

/** Drops invitations whose time ended `keep` milliseconds ago or earlier, used or not. Parameters: org, keep, limit. */
export const dropInvitations = statement(sql`
  delete from ${invitations} x where x.${i.orgId} = ${param("org")}::uuid and x.${i.invitationId} = any(array(
    select o.${i.invitationId} from ${invitations} o where o.${i.orgId} = ${param("org")}::uuid
      and o.${i.expiresAt} < ${now} - ${param("keep")}::bigint * interval '1 millisecond'
    limit ${param("limit")}::int))
  returning 1 as dropped`);
