import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, inArray, isNotNull, sql } from "./drizzle.ts";
import { alertChannels, alertDeliveries, alertRules } from "./schema-alerts.ts";
import { names } from "./statement.ts";

const [c, d] = [names(alertChannels), names(alertDeliveries)];

const columns = {
  name: alertChannels.name,
  type: alertChannels.type,
  target: alertChannels.target,
  secret: alertChannels.secret,
  secretHint: alertChannels.secretHint,
  isDisabled: alertChannels.isDisabled,
  failures: alertChannels.failures,
  failingSince: alertChannels.failingSince,
  lastError: alertChannels.lastError,
  lastSentAt: alertChannels.lastSentAt,
  createdAt: alertChannels.createdAt,
  updatedAt: alertChannels.updatedAt,
  pending: sql<number>`(select count(*)::int from ${alertDeliveries} d where d.${d.orgId} = ${alertChannels}.${c.orgId}
    and d.${d.channel} = ${alertChannels}.${c.name} and d.${d.state} = 'pending')`,
};

/** A channel; null when the org has none of that name. */
export async function readAlertChannel(
  tx: Tx,
  orgId: string,
  name: string,
  { isLocked }: { readonly isLocked: boolean },
) {
  const read = tx
    .select(columns)
    .from(alertChannels)
    .where(and(eq(alertChannels.orgId, orgId), eq(alertChannels.name, name)));
  const [row] = isLocked ? await read.for("update") : await read;
  return row ?? null;
}

/** A channel as it is read; its secret is sealed. */
export type AlertChannelRow = NonNullable<Awaited<ReturnType<typeof readAlertChannel>>>;

/** Channels by name, after one. */
export function readAlertChannels(
  tx: Tx,
  orgId: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<AlertChannelRow[]> {
  return tx
    .select(columns)
    .from(alertChannels)
    .where(and(eq(alertChannels.orgId, orgId), gt(alertChannels.name, after)))
    .orderBy(asc(alertChannels.name))
    .limit(limit);
}

/** How many channels an org has. */
export async function countAlertChannels(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ number: sql<number>`count(*)::int` })
    .from(alertChannels)
    .where(eq(alertChannels.orgId, orgId));
  return row?.number ?? 0;
}

/** Those of some names that are there, kept from being deleted until the transaction ends. */
export async function holdAlertChannels(
  tx: Tx,
  orgId: string,
  names: readonly string[],
): Promise<ReadonlySet<string>> {
  if (names.length === 0) return new Set();
  const rows = await tx
    .select({ name: alertChannels.name })
    .from(alertChannels)
    .where(and(eq(alertChannels.orgId, orgId), inArray(alertChannels.name, [...names])))
    .orderBy(asc(alertChannels.name))
    .for("key share");
  return new Set(rows.map(({ name }) => name));
}

/** What of a channel a person sets. */
export type NewAlertChannel = Pick<
  typeof alertChannels.$inferInsert,
  "name" | "type" | "target" | "secret" | "secretHint" | "isDisabled"
>;

/** Makes or replaces a channel; what failed before is forgotten. */
export async function upsertAlertChannel(tx: Tx, orgId: string, row: NewAlertChannel): Promise<void> {
  await tx
    .insert(alertChannels)
    .values({ orgId, ...row })
    .onConflictDoUpdate({
      target: [alertChannels.orgId, alertChannels.name],
      set: { ...row, failures: 0, failingSince: null, lastError: "", updatedAt: now },
    });
}

/** Deletes a channel that is locked, with what waits for it. */
export async function deleteAlertChannelRow(tx: Tx, orgId: string, name: string): Promise<void> {
  await tx
    .delete(alertDeliveries)
    .where(
      and(
        eq(alertDeliveries.orgId, orgId),
        eq(alertDeliveries.channel, name),
        eq(alertDeliveries.state, "pending"),
      ),
    );
  await tx.delete(alertChannels).where(and(eq(alertChannels.orgId, orgId), eq(alertChannels.name, name)));
}

/** Names of the rules that send to a channel: the first ten. */
export async function rulesOfChannel(tx: Tx, orgId: string, channel: string): Promise<string[]> {
  const rows = await tx
    .select({ name: alertRules.name })
    .from(alertRules)
    .where(and(eq(alertRules.orgId, orgId), sql`${alertRules.definition} -> 'channels' ? ${channel}`))
    .orderBy(asc(alertRules.name))
    .limit(10);
  return rows.map(({ name }) => name);
}

/** Channels whose messages do not get through, the longest first. */
export function readFailingChannels(tx: Tx, orgId: string, limit: number) {
  return tx
    .select({
      name: alertChannels.name,
      type: alertChannels.type,
      failingSince: sql<Date>`${alertChannels.failingSince}`.mapWith(alertChannels.failingSince),
      lastError: alertChannels.lastError,
      failures: alertChannels.failures,
    })
    .from(alertChannels)
    .where(
      and(
        eq(alertChannels.orgId, orgId),
        isNotNull(alertChannels.failingSince),
        eq(alertChannels.isDisabled, false),
      ),
    )
    .orderBy(asc(alertChannels.failingSince))
    .limit(limit);
}
