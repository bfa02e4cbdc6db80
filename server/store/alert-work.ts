import type { AlertRuleDefinition } from "../domain/rules/alert-rules.ts";
import { writeIds } from "./arrays.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, inArray, isNull, sql } from "./drizzle.ts";
import {
  alertChannels,
  alertDeliveries,
  alertRules,
  alertSilences,
  alertStates,
  alerts,
} from "./schema-alerts.ts";

/** A rule that somebody looks at: nobody else does until the transaction ends. */
export interface DueRule {
  readonly name: string;
  readonly definition: AlertRuleDefinition;
  readonly cursor: string;
}

/** Takes the rule that is due longest, of those that nobody looks at; null: none is. */
export async function takeDueRule(tx: Tx, orgId: string): Promise<DueRule | null> {
  const [row] = await tx
    .select({ name: alertRules.name, definition: alertRules.definition, cursor: alertRules.cursor })
    .from(alertRules)
    .where(
      and(eq(alertRules.orgId, orgId), eq(alertRules.isDisabled, false), sql`${alertRules.dueAt} <= ${now}`),
    )
    .orderBy(asc(alertRules.dueAt))
    .limit(1)
    .for("update", { skipLocked: true });
  return row ?? null;
}

/** Says when a rule is due again, up to where it counted, and whether it began to fire. */
export async function finishRule(
  tx: Tx,
  orgId: string,
  {
    name,
    cursor,
    inMs,
    hasBegun,
  }: { readonly name: string; readonly cursor: string; readonly inMs: number; readonly hasBegun: boolean },
): Promise<void> {
  await tx
    .update(alertRules)
    .set({
      cursor,
      dueAt: sql`${now} + ${inMs}::float8 * interval '1 millisecond'`,
      ...(hasBegun ? { lastFiredAt: now } : {}),
    })
    .where(and(eq(alertRules.orgId, orgId), eq(alertRules.name, name)));
}

/** What is kept of a group of a rule, with its alert if it fires. */
export async function readAlertStates(tx: Tx, orgId: string, rule: string) {
  return tx
    .select({
      group: alertStates.groupKey,
      alertId: alertStates.alertId,
      counts: alertStates.counts,
      notifiedAt: alertStates.notifiedAt,
      updatedAt: alertStates.updatedAt,
      occurrences: alerts.occurrences,
      told: alerts.told,
      summary: alerts.summary,
      startedAt: alerts.startedAt,
      value: alerts.value,
      jobIds: alerts.jobIds,
    })
    .from(alertStates)
    .leftJoin(alerts, and(eq(alerts.orgId, orgId), eq(alerts.alertId, alertStates.alertId)))
    .where(and(eq(alertStates.orgId, orgId), eq(alertStates.rule, rule)));
}

/** The same as a row. */
export type AlertStateRow = Awaited<ReturnType<typeof readAlertStates>>[number];

/** Keeps what was counted of a group. */
export async function writeAlertState(
  tx: Tx,
  orgId: string,
  state: {
    readonly rule: string;
    readonly group: string;
    readonly alertId: string | null;
    readonly counts: unknown;
    readonly notifiedAt: Date | null;
  },
): Promise<void> {
  const { rule, group, ...set } = state;
  await tx
    .insert(alertStates)
    .values({ orgId, rule, groupKey: group, ...set })
    .onConflictDoUpdate({
      target: [alertStates.orgId, alertStates.rule, alertStates.groupKey],
      set: { ...set, updatedAt: now },
    });
}

/** Forgets groups of a rule of which nothing is left to know. */
export async function dropAlertStates(
  tx: Tx,
  orgId: string,
  rule: string,
  groups: readonly string[],
): Promise<void> {
  if (groups.length === 0) return;
  await tx
    .delete(alertStates)
    .where(
      and(
        eq(alertStates.orgId, orgId),
        eq(alertStates.rule, rule),
        inArray(alertStates.groupKey, [...groups]),
      ),
    );
}

/** Begins an alert, or tells how it stands. */
export async function upsertAlert(
  tx: Tx,
  orgId: string,
  row: Omit<typeof alerts.$inferInsert, "orgId">,
): Promise<void> {
  const { summary, value, occurrences, told = 0, jobIds, notifiedAt = null, isSilenced = false } = row;
  await tx
    .insert(alerts)
    .values({ orgId, ...row })
    .onConflictDoUpdate({
      target: [alerts.orgId, alerts.alertId],
      set: { summary, value, occurrences, told, jobIds, notifiedAt, isSilenced },
    });
}

/** Ends alerts. */
export async function endAlerts(tx: Tx, orgId: string, alertIds: readonly string[]): Promise<void> {
  if (alertIds.length === 0) return;
  await tx
    .update(alerts)
    .set({ endedAt: now })
    .where(and(eq(alerts.orgId, orgId), inArray(alerts.alertId, [...alertIds]), isNull(alerts.endedAt)));
}

/** Messages that wait for one channel at most: what comes then is kept as failed. */
export const mostPending = 1_000;

/** Puts a message into the outbox, once for each of some channels that are there. One that is disabled gets it later. */
export async function insertDeliveries(
  tx: Tx,
  orgId: string,
  message: {
    readonly channels: readonly string[];
    readonly alertIds: readonly string[];
    readonly event: "firing" | "resolved";
    readonly message: Record<string, unknown>;
    readonly newId: () => string;
  },
): Promise<number> {
  if (message.channels.length === 0) return 0;
  const found = await tx
    .select({
      name: alertChannels.name,
      isDisabled: alertChannels.isDisabled,
      pending: sql<number>`(select count(*)::int from (select 1 from ${alertDeliveries}
        where ${alertDeliveries}.${sql.identifier(alertDeliveries.orgId.name)} = ${orgId}::uuid
          and ${alertDeliveries}.${sql.identifier(alertDeliveries.channel.name)} = ${alertChannels}.${sql.identifier(alertChannels.name.name)}
          and ${alertDeliveries}.${sql.identifier(alertDeliveries.state.name)} = 'pending' limit ${mostPending}) y)`,
    })
    .from(alertChannels)
    .where(and(eq(alertChannels.orgId, orgId), inArray(alertChannels.name, [...message.channels])));
  if (found.length === 0) return 0;
  const { alertIds, event, newId } = message;
  await tx.insert(alertDeliveries).values(
    found.map(({ name, isDisabled, pending }) => ({
      ...{
        orgId,
        deliveryId: newId(),
        channel: name,
        alertIds: [...alertIds],
        event,
        message: message.message,
      },
      ...(isDisabled ? { dueAt: sql`'infinity'::timestamptz` } : {}),
      ...(pending < mostPending
        ? {}
        : { state: "failed" as const, lastError: "too many messages wait for the channel" }),
    })),
  );
  return found.length;
}

/** A message that is to be sent, with its channel; the secret is sealed. */
export interface ClaimedDelivery {
  readonly deliveryId: string;
  readonly channel: string;
  readonly message: Record<string, unknown>;
  readonly tries: number;
  readonly ageMs: number;
  readonly failures: number;
  readonly type: "slack" | "discord" | "email" | "webhook";
  readonly target: Record<string, unknown>;
  readonly secret: Uint8Array | null;
}

/**
 * Takes messages that are due, of those that nobody else takes, for `leaseMs`: who took one and is gone leaves it to
 * others by then. Of a channel that fails one at a time.
 */
export async function claimDeliveries(
  tx: Tx,
  orgId: string,
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number },
): Promise<ClaimedDelivery[]> {
  const due = await tx
    .select({ deliveryId: alertDeliveries.deliveryId, channel: alertDeliveries.channel })
    .from(alertDeliveries)
    .where(
      and(
        eq(alertDeliveries.orgId, orgId),
        eq(alertDeliveries.state, "pending"),
        sql`${alertDeliveries.dueAt} <= ${now}`,
      ),
    )
    .orderBy(asc(alertDeliveries.dueAt), asc(alertDeliveries.deliveryId))
    .limit(limit)
    .for("update", { skipLocked: true });
  if (due.length === 0) return [];
  const found = await tx
    .select()
    .from(alertChannels)
    .where(
      and(
        eq(alertChannels.orgId, orgId),
        inArray(
          alertChannels.name,
          due.map(({ channel }) => channel),
        ),
      ),
    );
  const channels = new Map(found.map((one) => [one.name, one]));
  const probed = new Set<string>();
  const taken = due.filter(({ channel }) => {
    const of = channels.get(channel);
    if (of === undefined || of.isDisabled) return false;
    if (of.failures === 0) return true;
    return !probed.has(channel) && probed.add(channel).size > 0;
  });
  const rows =
    taken.length === 0
      ? []
      : await tx
          .update(alertDeliveries)
          .set({
            tries: sql`${alertDeliveries.tries} + 1`,
            dueAt: sql`${now} + ${leaseMs}::float8 * interval '1 millisecond'`,
          })
          .where(
            and(
              eq(alertDeliveries.orgId, orgId),
              sql`${alertDeliveries.deliveryId} = any(${writeIds(taken.map(({ deliveryId }) => deliveryId))}::uuid[])`,
            ),
          )
          .returning({
            deliveryId: alertDeliveries.deliveryId,
            channel: alertDeliveries.channel,
            message: alertDeliveries.message,
            tries: alertDeliveries.tries,
            ageMs: sql<number>`(extract(epoch from ${now} - ${alertDeliveries.createdAt}) * 1000)::float8`,
          });
  // What waits for a channel that is not there, or not now, is not looked at again for that long.
  const others = due.filter((one) => !taken.includes(one) && !probed.has(one.channel));
  if (others.length > 0) {
    await tx
      .update(alertDeliveries)
      .set({ dueAt: sql`'infinity'::timestamptz` })
      .where(
        and(
          eq(alertDeliveries.orgId, orgId),
          inArray(
            alertDeliveries.deliveryId,
            others.map(({ deliveryId }) => deliveryId),
          ),
        ),
      );
  }
  return rows.flatMap((row) => {
    const of = channels.get(row.channel);
    if (of === undefined) return [];
    const { type, target, secret, failures } = of;
    return [{ ...row, type, target, secret, failures }];
  });
}

/** Notes that a message got through: its channel works, so what waits for it is due. */
export async function noteSent(tx: Tx, orgId: string, deliveryId: string, channel: string): Promise<void> {
  await noteWorking(tx, orgId, channel);
  await tx
    .update(alertDeliveries)
    .set({ state: "sent", sentAt: now, lastError: "" })
    .where(and(eq(alertDeliveries.orgId, orgId), eq(alertDeliveries.deliveryId, deliveryId)));
}

/** Notes that a channel works: it fails no more, and what rests because it did is due. */
export async function noteWorking(tx: Tx, orgId: string, channel: string): Promise<void> {
  const [row] = await lockChannel(tx, orgId, channel);
  if (row === undefined) return;
  await tx
    .update(alertChannels)
    .set({ failures: 0, failingSince: null, lastError: "", lastSentAt: now })
    .where(and(eq(alertChannels.orgId, orgId), eq(alertChannels.name, channel)));
  if (row.failures > 0) await makeDue(tx, orgId, channel, { inMs: 0 });
}

/**
 * Notes that a message did not get through, and that its channel fails: it, and all that wait for the channel, are
 * tried in `inMs`. Where the channel refused this one message the others wait for nothing.
 */
export async function noteFailed(
  tx: Tx,
  orgId: string,
  failed: {
    readonly deliveryId: string;
    readonly channel: string;
    readonly error: string;
    /** It is given up. */
    readonly isFinal: boolean;
    /** The channel refused it for good: the next may get through. */
    readonly isRefused: boolean;
    readonly inMs: number;
  },
): Promise<void> {
  const { deliveryId, channel, error, isFinal, isRefused, inMs } = failed;
  await lockChannel(tx, orgId, channel);
  await tx
    .update(alertDeliveries)
    .set({ lastError: error, ...(isFinal ? { state: "failed" as const } : {}) })
    .where(and(eq(alertDeliveries.orgId, orgId), eq(alertDeliveries.deliveryId, deliveryId)));
  await tx
    .update(alertChannels)
    .set({
      ...(isRefused ? {} : { failures: sql`${alertChannels.failures} + 1` }),
      failingSince: sql`coalesce(${alertChannels.failingSince}, ${now})`,
      lastError: error,
    })
    .where(and(eq(alertChannels.orgId, orgId), eq(alertChannels.name, channel)));
  if (!isRefused) await makeDue(tx, orgId, channel, { inMs });
}

// Before any of its messages: what several of them come to is noted at the same time.
function lockChannel(tx: Tx, orgId: string, channel: string) {
  return tx
    .select({ failures: alertChannels.failures })
    .from(alertChannels)
    .where(and(eq(alertChannels.orgId, orgId), eq(alertChannels.name, channel)))
    .for("update");
}

/** Says when what waits for a channel is due; null: not until it is enabled. */
export async function makeDue(
  tx: Tx,
  orgId: string,
  channel: string,
  { inMs }: { readonly inMs: number | null },
): Promise<void> {
  const dueAt =
    inMs === null ? sql`'infinity'::timestamptz` : sql`${now} + ${inMs}::float8 * interval '1 millisecond'`;
  await tx
    .update(alertDeliveries)
    .set({ dueAt })
    .where(
      and(
        eq(alertDeliveries.orgId, orgId),
        eq(alertDeliveries.channel, channel),
        eq(alertDeliveries.state, "pending"),
      ),
    );
}

/** Drops what ended more than `keepMs` ago: alerts, silences, and messages that wait no more. */
export async function dropOldAlerts(tx: Tx, orgId: string, keepMs: number): Promise<void> {
  const before = sql`${now} - ${keepMs}::float8 * interval '1 millisecond'`;
  await tx.delete(alerts).where(and(eq(alerts.orgId, orgId), sql`${alerts.endedAt} < ${before}`));
  await tx
    .delete(alertSilences)
    .where(and(eq(alertSilences.orgId, orgId), sql`${alertSilences.endsAt} < ${before}`));
  await tx
    .delete(alertDeliveries)
    .where(
      and(
        eq(alertDeliveries.orgId, orgId),
        sql`${alertDeliveries.state} <> 'pending'`,
        sql`${alertDeliveries.createdAt} < ${before}`,
      ),
    );
}
