import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, sql } from "./drizzle.ts";
import { alertRules, alertSilences } from "./schema-alerts.ts";

const columns = {
  rule: alertSilences.rule,
  groupKey: alertSilences.groupKey,
  endsAt: alertSilences.endsAt,
  reason: alertSilences.reason,
  creator: alertSilences.creator,
  createdAt: alertSilences.createdAt,
};

/** What a silence is of. */
export interface Silenced {
  readonly rule: string;
  readonly groupKey: string;
}

/** The silences that hold, the first to end first. */
export function readSilences(tx: Tx, orgId: string, limit: number) {
  return tx
    .select(columns)
    .from(alertSilences)
    .where(and(eq(alertSilences.orgId, orgId), gt(alertSilences.endsAt, now)))
    .orderBy(asc(alertSilences.endsAt), asc(alertSilences.rule), asc(alertSilences.groupKey))
    .limit(limit);
}

/** A silence as it is read. */
export type SilenceRow = Awaited<ReturnType<typeof readSilences>>[number];

/** Begins a silence from now on, in place of an earlier one of the same; those that are over go. */
export async function upsertSilence(
  tx: Tx,
  orgId: string,
  silence: Silenced & { readonly durationMs: number; readonly reason: string; readonly creator: string },
): Promise<SilenceRow> {
  const { rule, groupKey, durationMs, reason, creator } = silence;
  await tx
    .delete(alertSilences)
    .where(and(eq(alertSilences.orgId, orgId), sql`${alertSilences.endsAt} <= ${now}`));
  const set = {
    endsAt: sql`${now} + ${durationMs}::float8 * interval '1 millisecond'`,
    reason,
    creator,
    createdAt: now,
  };
  const [row] = await tx
    .insert(alertSilences)
    .values({ orgId, rule, groupKey, ...set })
    .onConflictDoUpdate({
      target: [alertSilences.orgId, alertSilences.rule, alertSilences.groupKey],
      set,
    })
    .returning(columns);
  if (row === undefined) throw new Error("the silence is not there");
  return row;
}

/** Ends a silence; false: there was none. What fires is looked at at once. */
export async function deleteSilence(tx: Tx, orgId: string, { rule, groupKey }: Silenced): Promise<boolean> {
  const rows = await tx
    .delete(alertSilences)
    .where(
      and(
        eq(alertSilences.orgId, orgId),
        eq(alertSilences.rule, rule),
        eq(alertSilences.groupKey, groupKey),
        gt(alertSilences.endsAt, now),
      ),
    )
    .returning({ rule: alertSilences.rule });
  if (rows.length === 0) return false;
  await tx
    .update(alertRules)
    .set({ dueAt: now })
    .where(and(eq(alertRules.orgId, orgId), rule === "" ? undefined : eq(alertRules.name, rule)));
  return true;
}
