import type { SQL } from "drizzle-orm";
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { now } from "./columns.ts";
import { inOrg, type Tx } from "./database.ts";
import { and, asc, desc, eq, inArray, isNull, sql } from "./drizzle.ts";
import type { HotPool } from "./hot-pool.ts";
import { nilUuid } from "./names.ts";
import { transactPrepared } from "./prepared.ts";
import { apiKeys, orgs, workers } from "./schema-fleet.ts";
import { names, param, setOrg, statement } from "./statement.ts";

const k = names(apiKeys);

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
  /** How `hash` came to be: of a secret of ours, or of a whole key elsewhere. */
  readonly scheme: string;
  /** Which pepper a key of ours is hashed under; empty: it is not known, or none. */
  readonly pepper: string;
  readonly prefix: string;
  readonly lastFour: string;
  readonly callsPerMinute: number | null;
  readonly jobsPerDay: number | null;
}

/** A key as it is found. */
export interface FoundKey extends Omit<KeyRow, "expiresAt" | "name" | "prefix" | "lastFour"> {
  readonly isRevoked: boolean;
  /** By the database's clock. */
  readonly isExpired: boolean;
  /** The worker that the key is bound to; null for none, or when it is gone. */
  readonly worker: { readonly name: string; readonly isDisabled: boolean } | null;
}

/**
 * Looks a key up by its own id, before its org is known: no statement but this and the next names no org. The policy
 * `by_key_id` lets exactly this row be seen.
 */
export function findKey(pool: HotPool, keyId: string): Promise<FoundKey | null> {
  const settings = `${setOrg(nilUuid)}; set local muster.key = '${checkedKeyId(keyId)}'`;
  return transactPrepared(pool, settings, (tx) => found(tx, eq(apiKeys.keyId, keyId)));
}

/** Looks up the key that was registered with one of these hashes; the policy `by_key_hash` lets no other row be seen. */
export function findRegisteredKey(
  db: PostgresJsDatabase,
  hashes: readonly Uint8Array[],
): Promise<FoundKey | null> {
  const hex = hashes.map((hash) => Buffer.from(hash).toString("hex"));
  return inOrg(db, nilUuid, async (tx) => {
    await tx.execute(sql.raw(`set local muster.key_hash = '${hex.join(",")}'`));
    return found(tx, sql`${inArray(apiKeys.hash, [...hashes])} and ${apiKeys.scheme} <> ${ownScheme}`);
  });
}

/** The scheme of keys that are made here. */
export const ownScheme = "own";

async function found(tx: Tx, condition: SQL): Promise<FoundKey | null> {
  const [key] = await tx
    .select({
      orgId: apiKeys.orgId,
      keyId: apiKeys.keyId,
      type: apiKeys.type,
      scopes: apiKeys.scopes,
      hash: apiKeys.hash,
      workerId: apiKeys.workerId,
      scheme: apiKeys.scheme,
      pepper: apiKeys.pepper,
      callsPerMinute: apiKeys.callsPerMinute,
      jobsPerDay: apiKeys.jobsPerDay,
      isRevoked: sql<boolean>`${apiKeys.revokedAt} is not null`,
      isExpired: sql<boolean>`coalesce(${apiKeys.expiresAt} <= ${now}, false)`,
    })
    .from(apiKeys)
    .where(condition)
    .limit(1);
  if (key === undefined) return null;
  if (key.workerId === null) return { ...key, worker: null };
  await tx.execute(sql.raw(setOrg(key.orgId)));
  const [worker] = await tx
    .select({ name: workers.name, isDisabled: sql<boolean>`${workers.disabledAt} is not null` })
    .from(workers)
    .where(and(eq(workers.orgId, key.orgId), eq(workers.workerId, key.workerId)));
  return { ...key, worker: worker ?? null };
}

/** Lets a valid admin key of the org allow one thing more. False when it does, or is no such key. */
export async function widenKey(tx: Tx, orgId: string, keyId: string, scope: string): Promise<boolean> {
  const widened = await tx
    .update(apiKeys)
    .set({ scopes: sql`array_append(${apiKeys.scopes}, ${scope}::text)` })
    .where(
      and(
        eq(apiKeys.orgId, orgId),
        eq(apiKeys.keyId, keyId),
        sql`'admin' = any(${apiKeys.scopes}) and not ${scope}::text = any(${apiKeys.scopes})`,
        isValid,
      ),
    )
    .returning({ keyId: apiKeys.keyId });
  return widened.length > 0;
}

/** Keeps the hash of a key under another pepper, unless it was changed meanwhile. */
export async function rehashKey(
  tx: Tx,
  orgId: string,
  keyId: string,
  {
    before,
    hash,
    pepper,
  }: { readonly before: Uint8Array; readonly hash: Uint8Array; readonly pepper: string },
): Promise<void> {
  await tx
    .update(apiKeys)
    .set({ hash, pepper })
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, keyId), eq(apiKeys.hash, Buffer.from(before))));
}

/** Keeps that keys of an org are in use; of those that are known to be within the last minute it changes nothing. */
export async function noteKeyUses(tx: Tx, orgId: string, keyIds: readonly string[]): Promise<void> {
  await tx
    .update(apiKeys)
    .set({ usedAt: now })
    .where(
      and(
        eq(apiKeys.orgId, orgId),
        inArray(apiKeys.keyId, [...keyIds]),
        sql`(${apiKeys.usedAt} is null or ${apiKeys.usedAt} <= ${now} - interval '1 minute')`,
      ),
    );
}

/** Keeps a key. False when its id, or the hash of one that is registered, is taken, in whatever org: then nothing changed. */
export async function insertKey(tx: Tx, row: KeyRow): Promise<boolean> {
  const inserted = await tx
    .insert(apiKeys)
    .values(row)
    .onConflictDoNothing()
    .returning({ keyId: apiKeys.keyId });
  return inserted.length > 0;
}

/** The hash of a key of the org, and its pepper; null when the org has no such key. */
export async function readKeyHash(
  tx: Tx,
  orgId: string,
  keyId: string,
): Promise<{ readonly hash: Uint8Array; readonly pepper: string } | null> {
  const [row] = await tx
    .select({ hash: apiKeys.hash, pepper: apiKeys.pepper })
    .from(apiKeys)
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, keyId)));
  return row ?? null;
}

/** Which keys to read. */
export type KeySelection =
  | { readonly keyId: string }
  | {
      /** Revoked and expired ones too. */
      readonly isWithEnded: boolean;
      /** Only those that come after this one. */
      readonly after: { readonly createdMicros: string; readonly keyId: string } | null;
      readonly limit: number;
    };

/** Keys of the org without their hashes, newest first. */
export function readKeys(tx: Tx, orgId: string, selection: KeySelection) {
  const createdMicros = sql<string>`(extract(epoch from ${apiKeys.createdAt}) * 1000000)::bigint::text`;
  return tx
    .select({
      keyId: apiKeys.keyId,
      type: apiKeys.type,
      name: apiKeys.name,
      scopes: apiKeys.scopes,
      workerName: sql<string>`coalesce(${workers.name}, '')`,
      createdAt: apiKeys.createdAt,
      createdMicros,
      expiresAt: apiKeys.expiresAt,
      revokedAt: apiKeys.revokedAt,
      usedAt: apiKeys.usedAt,
      scheme: apiKeys.scheme,
      prefix: apiKeys.prefix,
      lastFour: apiKeys.lastFour,
      callsPerMinute: apiKeys.callsPerMinute,
      jobsPerDay: apiKeys.jobsPerDay,
      successor: apiKeys.successor,
    })
    .from(apiKeys)
    .leftJoin(workers, and(eq(workers.orgId, orgId), eq(workers.workerId, apiKeys.workerId)))
    .where(and(eq(apiKeys.orgId, orgId), ...selected(selection)))
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.keyId))
    .limit("limit" in selection ? selection.limit : 1);
}

/** A key as it may be shown. */
export type ShownKey = Awaited<ReturnType<typeof readKeys>>[number];

function selected(selection: KeySelection) {
  if ("keyId" in selection) return [eq(apiKeys.keyId, selection.keyId)];
  const { isWithEnded, after } = selection;
  return [
    isWithEnded ? undefined : isValid,
    after === null
      ? undefined
      : sql`(${apiKeys.createdAt}, ${apiKeys.keyId}) < (timestamptz 'epoch'
          + ${after.createdMicros}::bigint * interval '1 microsecond', ${after.keyId})`,
  ];
}

const isValid = sql`${apiKeys.revokedAt} is null and (${apiKeys.expiresAt} is null or ${apiKeys.expiresAt} > ${now})`;

/**
 * The valid API keys of the org with the scope admin, locked: who revokes one of them waits for who revokes another,
 * and then sees it revoked.
 */
export async function lockAdminKeys(tx: Tx, orgId: string): Promise<string[]> {
  const rows = await tx
    .select({ keyId: apiKeys.keyId })
    .from(apiKeys)
    .where(
      and(eq(apiKeys.orgId, orgId), eq(apiKeys.type, "api"), sql`'admin' = any(${apiKeys.scopes})`, isValid),
    )
    .orderBy(asc(apiKeys.keyId))
    .for("update");
  return rows.map((row) => row.keyId);
}

/** A key that is about to be changed, locked; null when the org has no such key. */
export async function lockKey(tx: Tx, orgId: string, keyId: string) {
  const [row] = await tx
    .select({
      keyId: apiKeys.keyId,
      type: apiKeys.type,
      name: apiKeys.name,
      scopes: apiKeys.scopes,
      workerId: apiKeys.workerId,
      createdAt: apiKeys.createdAt,
      expiresAt: apiKeys.expiresAt,
      callsPerMinute: apiKeys.callsPerMinute,
      jobsPerDay: apiKeys.jobsPerDay,
      isEnded: sql<boolean>`not (${isValid})`,
      now: sql<Date>`${now}`.mapWith(apiKeys.createdAt),
    })
    .from(apiKeys)
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, keyId)))
    .for("update");
  return row ?? null;
}

/** Lets a key end at a time, unless it ends before, and names its successor. */
export async function endKeyAt(
  tx: Tx,
  orgId: string,
  keyId: string,
  { overlapMs, successor }: { readonly overlapMs: number; readonly successor: string },
): Promise<void> {
  const end = sql`${now} + ${overlapMs}::float8 * interval '1 millisecond'`;
  await tx
    .update(apiKeys)
    .set({ successor, expiresAt: sql`least(coalesce(${apiKeys.expiresAt}, ${end}), ${end})` })
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, keyId)));
}

/** Whether a worker has a key that is valid. */
export async function hasValidKey(tx: Tx, orgId: string, workerId: string): Promise<boolean> {
  const rows = await tx
    .select({ keyId: apiKeys.keyId })
    .from(apiKeys)
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.workerId, workerId), isValid))
    .limit(1);
  return rows.length > 0;
}

/** Revokes a key. False when it was revoked before. */
export async function revokeKeyRow(tx: Tx, orgId: string, keyId: string): Promise<boolean> {
  const revoked = await tx
    .update(apiKeys)
    .set({ revokedAt: now })
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.keyId, keyId), isNull(apiKeys.revokedAt)))
    .returning({ keyId: apiKeys.keyId });
  return revoked.length > 0;
}

/** The ids of all keys of a worker. */
export async function readWorkerKeyIds(tx: Tx, orgId: string, workerId: string): Promise<string[]> {
  const rows = await tx
    .select({ keyId: apiKeys.keyId })
    .from(apiKeys)
    .where(and(eq(apiKeys.orgId, orgId), eq(apiKeys.workerId, workerId)));
  return rows.map((row) => row.keyId);
}

/** Whether a time is ahead, by the database's clock. */
export async function isAhead(tx: Tx, time: Date): Promise<boolean> {
  const [row] = await tx.execute(sql`select ${time.toISOString()}::timestamptz > ${now} as ahead`);
  return row?.["ahead"] === true;
}

/** The name of the org of the transaction; null when it is gone. */
export async function readOrgName(tx: Tx, orgId: string): Promise<string | null> {
  const [row] = await tx.select({ name: orgs.name }).from(orgs).where(eq(orgs.orgId, orgId));
  return row?.name ?? null;
}

const ago = sql`${now} - ${param("keep")}::bigint * interval '1 millisecond'`;

/**
 * Drops keys that machines were given, of workers and for enrolments, and that ended `keep` milliseconds ago or
 * earlier. A key that a person made stays when it ended: whoever gives or registers it again is to find it ended.
 * Parameters: org, keep, limit.
 */
export const dropMachineKeys = statement(sql`
  delete from ${apiKeys} x where x.${k.orgId} = ${param("org")}::uuid and x.${k.keyId} = any(array(
    select o.${k.keyId} from ${apiKeys} o where o.${k.orgId} = ${param("org")}::uuid and o.${k.type} <> 'api'
      and (o.${k.revokedAt} < ${ago} or o.${k.expiresAt} < ${ago})
    limit ${param("limit")}::int))
  returning 1 as dropped`);

function checkedKeyId(text: string): string {
  if (!/^[0-9A-Za-z]{12}$/.test(text)) throw new Error("not the id of a key");
  return text;
}
