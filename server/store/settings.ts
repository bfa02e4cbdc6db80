import type { JobSettingName } from "../domain/rules/settings.ts";
import type { Tx } from "./database.ts";
import { and, eq } from "./drizzle.ts";
import { settings } from "./schema-fleet.ts";

/** Whose settings: the name of the org's is empty. */
export interface SettingsKey {
  readonly scope: "org" | "queue" | "kind";
  readonly name: string;
}

/** The settings of a scope as they are kept: null is inherited. */
export type SettingsRow = { readonly [Name in JobSettingName]: number | null };

/** A row with whose it is. */
export type KeyedSettingsRow = SettingsRow & { readonly scope: string; readonly name: string };

const columns = {
  reclaimAfterMs: settings.reclaimAfterMs,
  maxAttempts: settings.maxAttempts,
  backoffInitialMs: settings.backoffInitialMs,
  backoffMaxMs: settings.backoffMaxMs,
  backoffFactor: settings.backoffFactor,
  leaseTtlMs: settings.leaseTtlMs,
};

/** The settings of a scope; null when it sets nothing. */
export async function readSettings(tx: Tx, orgId: string, key: SettingsKey): Promise<SettingsRow | null> {
  const [row] = await tx
    .select(columns)
    .from(settings)
    .where(and(eq(settings.orgId, orgId), eq(settings.scope, key.scope), eq(settings.name, key.name)));
  return row ?? null;
}

/** All settings of an org. */
export function readAllSettings(tx: Tx, orgId: string): Promise<KeyedSettingsRow[]> {
  return tx
    .select({ scope: settings.scope, name: settings.name, ...columns })
    .from(settings)
    .where(eq(settings.orgId, orgId));
}

/** Replaces the settings of a scope. */
export async function replaceSettings(
  tx: Tx,
  orgId: string,
  key: SettingsKey,
  row: SettingsRow,
): Promise<void> {
  await tx
    .insert(settings)
    .values({ orgId, scope: key.scope, name: key.name, ...row })
    .onConflictDoUpdate({ target: [settings.orgId, settings.scope, settings.name], set: row });
}
