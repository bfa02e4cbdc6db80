import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, eq, gt, isNull, lt, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { deviceLogins } from "./schema-people.ts";
import { names, param, setOrg, statement } from "./statement.ts";

const d = names(deviceLogins);

/** Until somebody approves it, the login of a machine is of no org: all of these statements name the nil id. */
export const noOrg = nilUuid;

/** Keeps a login that waits; answers with when it ends. Null when the user code is taken, or too many wait. */
export async function insertDeviceLogin(
  tx: Tx,
  row: {
    readonly deviceHash: Uint8Array;
    readonly userCode: string;
    readonly intervalMs: number;
    readonly ttlMs: number;
    readonly most: number;
  },
): Promise<Date | null> {
  const { ttlMs, most, ...kept } = row;
  await tx.delete(deviceLogins).where(and(eq(deviceLogins.orgId, noOrg), lt(deviceLogins.expiresAt, now)));
  const [waiting] = await tx
    .select({ count: sql<number>`count(*)::int` })
    .from(deviceLogins)
    .where(eq(deviceLogins.orgId, noOrg));
  if ((waiting?.count ?? 0) >= most) return null;
  const expiresAt = sql`${now} + ${ttlMs}::float8 * interval '1 millisecond'`;
  const [made] = await tx
    .insert(deviceLogins)
    .values({ orgId: noOrg, ...kept, expiresAt })
    .onConflictDoNothing()
    .returning({ expiresAt: deviceLogins.expiresAt });
  return made?.expiresAt ?? null;
}

/** A login that waits, locked until the transaction ends; null when there is none or it has run out. */
export async function lockDeviceLogin(tx: Tx, deviceHash: Uint8Array) {
  const [row] = await tx
    .select({
      intervalMs: deviceLogins.intervalMs,
      personId: deviceLogins.personId,
      homeOrgId: deviceLogins.homeOrgId,
      onlyOrgId: deviceLogins.onlyOrgId,
      /** Since it was last asked for; null: it never was. */
      sincePollMs: sql<number | null>`(extract(epoch from ${now} - ${deviceLogins.polledAt}) * 1000)::float8`,
    })
    .from(deviceLogins)
    .where(
      and(
        eq(deviceLogins.orgId, noOrg),
        sql`${deviceLogins.deviceHash} = ${deviceHash}`,
        gt(deviceLogins.expiresAt, now),
      ),
    )
    .for("update");
  return row ?? null;
}

/** Keeps that a login was asked for, and how long to wait from now on. */
export async function noteDevicePoll(tx: Tx, deviceHash: Uint8Array, intervalMs: number): Promise<void> {
  await tx
    .update(deviceLogins)
    .set({ polledAt: now, intervalMs })
    .where(and(eq(deviceLogins.orgId, noOrg), sql`${deviceLogins.deviceHash} = ${deviceHash}`));
}

/** Approves a login that waits. False when there is none, or it was approved. */
export async function approveDeviceRow(
  tx: Tx,
  userCode: string,
  by: { readonly personId: string; readonly homeOrgId: string; readonly onlyOrgId: string | null },
): Promise<boolean> {
  const approved = await tx
    .update(deviceLogins)
    .set(by)
    .where(
      and(
        eq(deviceLogins.orgId, noOrg),
        eq(deviceLogins.userCode, userCode),
        isNull(deviceLogins.personId),
        gt(deviceLogins.expiresAt, now),
      ),
    )
    .returning({ userCode: deviceLogins.userCode });
  return approved.length > 0;
}

/** Forgets a login: it was handed out. */
export async function deleteDeviceLogin(tx: Tx, deviceHash: Uint8Array): Promise<void> {
  await tx
    .delete(deviceLogins)
    .where(and(eq(deviceLogins.orgId, noOrg), sql`${deviceLogins.deviceHash} = ${deviceHash}`));
}

/** Drops logins that nobody waits for any more. Parameters: org (`noOrg`), limit. */
export const dropDeviceLogins = statement(sql`
  delete from ${deviceLogins} x where x.${d.orgId} = ${param("org")}::uuid and x.${d.deviceHash} = any(array(
    select o.${d.deviceHash} from ${deviceLogins} o where o.${d.orgId} = ${param("org")}::uuid and o.${d.expiresAt} < ${now}
    limit ${param("limit")}::int))
  returning 1 as dropped`);

/** From here on the transaction is of this org: what was done of no org is to be audited where it belongs. */
export async function goOnInOrg(tx: Tx, orgId: string): Promise<void> {
  await tx.execute(sql.raw(setOrg(orgId)));
}
