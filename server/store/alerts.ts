import { writeIds } from "./arrays.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, isNull, lt, sql } from "./drizzle.ts";
import { alertDeliveries, alerts } from "./schema-alerts.ts";

/** Alerts, newest first, before one. */
export function readAlerts(
  tx: Tx,
  orgId: string,
  selection: {
    readonly rule: string;
    readonly isFiring: boolean;
    readonly before: string | null;
    readonly limit: number;
  },
) {
  const { rule, isFiring, before, limit } = selection;
  return tx
    .select()
    .from(alerts)
    .where(
      and(
        eq(alerts.orgId, orgId),
        rule === "" ? undefined : eq(alerts.rule, rule),
        isFiring ? isNull(alerts.endedAt) : undefined,
        before === null ? undefined : lt(alerts.alertId, before),
      ),
    )
    .orderBy(desc(alerts.alertId))
    .limit(limit);
}

/** An alert as it is read. */
export type AlertRow = Awaited<ReturnType<typeof readAlerts>>[number];

/** The messages of some alerts, oldest first. */
export function readDeliveries(tx: Tx, orgId: string, alertIds: readonly string[], limit: number) {
  return tx
    .select({
      deliveryId: alertDeliveries.deliveryId,
      channel: alertDeliveries.channel,
      alertIds: alertDeliveries.alertIds,
      event: alertDeliveries.event,
      state: alertDeliveries.state,
      tries: alertDeliveries.tries,
      lastError: alertDeliveries.lastError,
      createdAt: alertDeliveries.createdAt,
      sentAt: alertDeliveries.sentAt,
    })
    .from(alertDeliveries)
    .where(
      and(
        eq(alertDeliveries.orgId, orgId),
        // A message is made after its alert, and ids are in the order of time.
        sql`${alertDeliveries.deliveryId} > ${alertIds.toSorted()[0] ?? ""}::uuid`,
        sql`${alertDeliveries.alertIds} && ${writeIds([...alertIds])}::uuid[]`,
      ),
    )
    .orderBy(asc(alertDeliveries.deliveryId))
    .limit(limit);
}

/** A message as it is read. */
export type DeliveryRow = Awaited<ReturnType<typeof readDeliveries>>[number];
