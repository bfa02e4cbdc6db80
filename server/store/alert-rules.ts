import type { AlertRuleDefinition } from "../domain/rules/alert-rules.ts";
import { readHorizon } from "./changes.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, isNull, sql } from "./drizzle.ts";
import { alertRules, alertStates, alerts } from "./schema-alerts.ts";
import { names } from "./statement.ts";

const [r, s] = [names(alertRules), names(alertStates)];

const columns = {
  name: alertRules.name,
  definition: alertRules.definition,
  isDisabled: alertRules.isDisabled,
  lastFiredAt: alertRules.lastFiredAt,
  createdAt: alertRules.createdAt,
  updatedAt: alertRules.updatedAt,
  firing: sql<number>`(select count(*)::int from ${alertStates} s where s.${s.orgId} = ${alertRules}.${r.orgId}
    and s.${s.rule} = ${alertRules}.${r.name} and s.${s.alertId} is not null)`,
};

/** A rule; null when the org has none of that name. */
export async function readAlertRule(
  tx: Tx,
  orgId: string,
  name: string,
  { isLocked }: { readonly isLocked: boolean },
) {
  const read = tx
    .select(columns)
    .from(alertRules)
    .where(and(eq(alertRules.orgId, orgId), eq(alertRules.name, name)));
  const [row] = isLocked ? await read.for("update") : await read;
  return row ?? null;
}

/** A rule as it is read. */
export type AlertRuleRow = NonNullable<Awaited<ReturnType<typeof readAlertRule>>>;

/** Rules by name, after one. */
export function readAlertRules(
  tx: Tx,
  orgId: string,
  { after, limit }: { readonly after: string; readonly limit: number },
): Promise<AlertRuleRow[]> {
  return tx
    .select(columns)
    .from(alertRules)
    .where(and(eq(alertRules.orgId, orgId), gt(alertRules.name, after)))
    .orderBy(asc(alertRules.name))
    .limit(limit);
}

/** How many rules an org has. */
export async function countAlertRules(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ number: sql<number>`count(*)::int` })
    .from(alertRules)
    .where(eq(alertRules.orgId, orgId));
  return row?.number ?? 0;
}

/** Makes or replaces a rule. It counts from now on; one that is replaced goes on from where it was unless `isAnew`. */
export async function upsertAlertRule(
  tx: Tx,
  orgId: string,
  rule: {
    readonly name: string;
    readonly definition: AlertRuleDefinition;
    readonly isDisabled: boolean;
    readonly isAnew: boolean;
  },
): Promise<void> {
  const { name, definition, isDisabled, isAnew } = rule;
  const { epoch, xmin } = await readHorizon(tx);
  const cursor = `${epoch}.${xmin}.0`;
  await tx
    .insert(alertRules)
    .values({ orgId, name, definition, isDisabled, cursor })
    .onConflictDoUpdate({
      target: [alertRules.orgId, alertRules.name],
      set: { definition, isDisabled, dueAt: now, updatedAt: now, ...(isAnew ? { cursor } : {}) },
    });
}

/** Deletes a rule that is there. */
export async function deleteAlertRuleRow(tx: Tx, orgId: string, name: string): Promise<void> {
  await tx.delete(alertRules).where(and(eq(alertRules.orgId, orgId), eq(alertRules.name, name)));
}

/** Forgets what a rule counted, and ends its alerts. Returns those. */
export async function forgetCounts(tx: Tx, orgId: string, rule: string) {
  await tx.delete(alertStates).where(and(eq(alertStates.orgId, orgId), eq(alertStates.rule, rule)));
  return tx
    .update(alerts)
    .set({ endedAt: now })
    .where(and(eq(alerts.orgId, orgId), eq(alerts.rule, rule), isNull(alerts.endedAt)))
    .returning({
      alertId: alerts.alertId,
      rule: alerts.rule,
      group: alerts.groupKey,
      condition: alerts.condition,
      severity: alerts.severity,
      summary: alerts.summary,
      startedAt: alerts.startedAt,
      isSilenced: alerts.isSilenced,
    });
}
