import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { now } from "./columns.ts";
import { inOrg, type Tx } from "./database.ts";
import { and, eq, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { apiKeys, workers } from "./schema-fleet.ts";
import { setOrg } from "./statement.ts";

/** A key as it is kept. */
export interface KeyRow {
  readonly orgId: string;
  readonly keyId: string;
  readonly type: string;
  readonly name: string;
  readonly scopes: string[];
  readonly hash: Uint8Array;
  readonly workerId: string | null;
  readonly expiresAt: Date | null;
}

/** A key as it is found. */
export interface FoundKey extends Omit<KeyRow, "expiresAt" | "name"> {
  readonly isRevoked: boolean;
  /** By the database's clock. */
  readonly isExpired: boolean;
  /** The worker that the key is bound to; null for none, or when it is gone. */
  readonly worker: { readonly name: string; readonly isDisabled: boolean } | null;
}

/**
 * Looks a key up by its own id, before its org is known: the one statement that does not name an
 * org. The policy `by_key_id` lets exactly this row be seen.
 */
export function findKey(db: PostgresJsDatabase, keyId: string): Promise<FoundKey | null> {
  return inOrg(db, nilUuid, async (tx) => {
    await tx.execute(sql.raw(`set local muster.key = '${checkedKeyId(keyId)}'`));
    const [key] = await tx
      .select({
        orgId: apiKeys.orgId,
        keyId: apiKeys.keyId,
        type: apiKeys.type,
        scopes: apiKeys.scopes,
        hash: apiKeys.hash,
        workerId: apiKeys.workerId,
        isRevoked: sql<boolean>`${apiKeys.revokedAt} is not null`,
        isExpired: sql<boolean>`coalesce(${apiKeys.expiresAt} <= ${now}, false)`,
      })
      .from(apiKeys)
      .where(eq(apiKeys.keyId, keyId));
    if (key === undefined) return null;
    if (key.workerId === null) return { ...key, worker: null };
    await tx.execute(sql.raw(setOrg(key.orgId)));
    const [worker] = await tx
      .select({ name: workers.name, isDisabled: sql<boolean>`${workers.disabledAt} is not null` })
      .from(workers)
      .where(and(eq(workers.orgId, key.orgId), eq(workers.workerId, key.workerId)));
    return { ...key, worker: worker ?? null };
  });
}

/** Keeps a key. False when its id is taken, in whatever org: then nothing changed. */
export async function insertKey(tx: Tx, row: KeyRow): Promise<boolean> {
  const inserted = await tx
    .insert(apiKeys)
    .values(row)
    .onConflictDoNothing({ target: apiKeys.keyId })
    .returning({ keyId: apiKeys.keyId });
  return inserted.length > 0;
}

/** The hash of a key of the org; null when the org has no such key. */
export async function readKeyHash(tx: Tx, orgId: string, keyId: string): Promise<Uint8Array | null> {
  const [row] = await tx
    .select({ hash: apiKeys.hash })
    .from(apiKeys)
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, keyId)));
  return row?.hash ?? null;
}

function checkedKeyId(text: string): string {
  if (!/^[0-9A-Za-z]{12}$/.test(text)) throw new Error("not the id of a key");
  return text;
}
