import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, isNull, sql } from "./drizzle.ts";
import { apiKeys, enrolmentPolicies, enrolments, enrolmentUses, workers } from "./schema-fleet.ts";
import { names, param, statement } from "./statement.ts";

const e = names(enrolments);
const u = names(enrolmentUses);

const columns = {
  keyId: enrolments.keyId,
  name: enrolments.name,
  limits: enrolments.limits,
  namePattern: enrolments.namePattern,
  uses: enrolments.uses,
  used: enrolments.used,
  creator: enrolments.creator,
  createdAt: enrolments.createdAt,
  createdMicros: sql<string>`(extract(epoch from ${enrolments.createdAt}) * 1000000)::bigint::text`,
  expiresAt: enrolments.expiresAt,
  isRevoked: sql<boolean>`${enrolments.revokedAt} is not null`,
  isExpired: sql<boolean>`${enrolments.expiresAt} <= ${now}`,
};

/** Keeps an enrolment; its token is a key of the same id. */
export async function insertEnrolment(tx: Tx, row: typeof enrolments.$inferInsert): Promise<void> {
  await tx.insert(enrolments).values(row);
}

/** An enrolment, locked; null when the org has none of that id. */
export async function lockEnrolment(tx: Tx, orgId: string, keyId: string) {
  const [row] = await tx
    .select(columns)
    .from(enrolments)
    .where(and(eq(enrolments.orgId, orgId), eq(enrolments.keyId, keyId)))
    .for("update");
  return row ?? null;
}

/** An enrolment as it is read. */
export type EnrolmentRow = NonNullable<Awaited<ReturnType<typeof lockEnrolment>>>;

/** Enrolments, newest first, after a place: those that can be used, or all. */
export function readEnrolments(
  tx: Tx,
  orgId: string,
  selection: {
    readonly isWithEnded: boolean;
    readonly after: { readonly createdMicros: string; readonly keyId: string } | null;
    readonly limit: number;
  },
): Promise<EnrolmentRow[]> {
  const { isWithEnded, after, limit } = selection;
  const at = sql`to_timestamp(0) + ${after?.createdMicros ?? "0"}::bigint * interval '1 microsecond'`;
  return tx
    .select(columns)
    .from(enrolments)
    .where(
      and(
        eq(enrolments.orgId, orgId),
        isWithEnded
          ? undefined
          : and(
              isNull(enrolments.revokedAt),
              gt(enrolments.expiresAt, now),
              gt(enrolments.uses, enrolments.used),
            ),
        after === null
          ? undefined
          : sql`(${enrolments.createdAt} < ${at}
              or (${enrolments.createdAt} = ${at} and ${enrolments.keyId} > ${after.keyId}))`,
      ),
    )
    .orderBy(desc(enrolments.createdAt), asc(enrolments.keyId))
    .limit(limit);
}

/** Notes that an enrolment may not be used any more. */
export async function revokeEnrolmentRow(tx: Tx, orgId: string, keyId: string): Promise<void> {
  await tx
    .update(enrolments)
    .set({ revokedAt: now })
    .where(and(eq(enrolments.orgId, orgId), eq(enrolments.keyId, keyId)));
}

/** What became of a request under an enrolment, and whether it may be repeated; null: it is new. */
export async function readEnrolmentUse(
  tx: Tx,
  orgId: string,
  {
    keyId,
    requestId,
    repeatMs,
  }: { readonly keyId: string; readonly requestId: string; readonly repeatMs: number },
) {
  const [row] = await tx
    .select({
      machine: enrolmentUses.machine,
      workerId: enrolmentUses.workerId,
      isRepeatable: sql<boolean>`${enrolmentUses.usedAt} > ${now} - ${repeatMs}::float8 * interval '1 millisecond'`,
    })
    .from(enrolmentUses)
    .where(
      and(
        eq(enrolmentUses.orgId, orgId),
        eq(enrolmentUses.keyId, keyId),
        eq(enrolmentUses.requestId, requestId),
      ),
    );
  return row ?? null;
}

/**
 * Counts a use of an enrolment that is locked. With the last one the token ends `repeatMs` later: so long the same
 * request may be repeated.
 */
export async function useEnrolment(
  tx: Tx,
  orgId: string,
  use: {
    readonly keyId: string;
    readonly requestId: string;
    readonly machine: string;
    readonly workerId: string;
    readonly isLast: boolean;
    readonly repeatMs: number;
  },
): Promise<void> {
  const { isLast, repeatMs, ...row } = use;
  await tx.insert(enrolmentUses).values({ orgId, ...row });
  await tx
    .update(enrolments)
    .set({ used: sql`${enrolments.used} + 1` })
    .where(and(eq(enrolments.orgId, orgId), eq(enrolments.keyId, use.keyId)));
  if (!isLast) return;
  const end = sql`${now} + ${repeatMs}::float8 * interval '1 millisecond'`;
  await tx
    .update(apiKeys)
    .set({ expiresAt: sql`least(coalesce(${apiKeys.expiresAt}, ${end}), ${end})` })
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, use.keyId)));
}

/** The policy of an org; null: it has none. With the lock persons are counted one after the other. */
export async function readPolicy(tx: Tx, orgId: string, { isLocked }: { readonly isLocked: boolean }) {
  const read = tx
    .select({
      mode: enrolmentPolicies.mode,
      machinesPerPerson: enrolmentPolicies.machinesPerPerson,
      limits: enrolmentPolicies.limits,
      newcomerLimits: enrolmentPolicies.newcomerLimits,
    })
    .from(enrolmentPolicies)
    .where(eq(enrolmentPolicies.orgId, orgId));
  const [row] = isLocked ? await read.for("update") : await read;
  return row ?? null;
}

/** Who may enrol own machines, as it is kept. */
export type PolicyRow = NonNullable<Awaited<ReturnType<typeof readPolicy>>>;

/** Replaces the policy of an org. */
export async function replacePolicy(tx: Tx, orgId: string, row: PolicyRow): Promise<void> {
  await tx
    .insert(enrolmentPolicies)
    .values({ orgId, ...row })
    .onConflictDoUpdate({ target: enrolmentPolicies.orgId, set: row });
}

/** How many machines a person has. */
export async function countOwnWorkers(tx: Tx, orgId: string, personId: string): Promise<number> {
  const [row] = await tx
    .select({ number: sql<number>`count(*)::int` })
    .from(workers)
    .where(and(eq(workers.orgId, orgId), eq(workers.ownerPersonId, personId)));
  return row?.number ?? 0;
}

/**
 * Drops enrolments whose time ended `keep` milliseconds ago or earlier, with their uses, so many at a time.
 * Parameters: org, keep, limit.
 */
export const dropEnrolments = statement(sql`
  with old as materialized (
    select o.${e.keyId} as key_id from ${enrolments} o where o.${e.orgId} = ${param("org")}::uuid
      and o.${e.expiresAt} < ${now} - ${param("keep")}::bigint * interval '1 millisecond'
    limit ${param("limit")}::int
  ), used as (
    delete from ${enrolmentUses} x where x.${u.orgId} = ${param("org")}::uuid
      and x.${u.keyId} = any(array(select key_id from old))
  )
  delete from ${enrolments} x where x.${e.orgId} = ${param("org")}::uuid and x.${e.keyId} = any(array(select key_id from old))
  returning 1 as dropped`);
