import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import type { HashedEntry, SealedEntry } from "../domain/rules/audit-chain.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, gt, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { auditLog, auditSeals } from "./schema-fleet.ts";

/** A seal as it is kept. */
export interface SealRow {
  readonly seal: number;
  readonly last: SealPlace;
  readonly entries: readonly SealedEntry[];
  readonly hash: Uint8Array;
}

/** A place in the order of commits: a transaction, and an entry of it. */
export interface SealPlace {
  readonly xid: string;
  readonly auditId: string;
}

/** An entry as it is sealed: where it stands, and its hash as the database has it. */
export interface SealableEntry extends SealedEntry {
  readonly xid: string;
}

/** Before all entries. */
export const firstPlace: SealPlace = { xid: "0", auditId: nilUuid };

/** Orgs with entries that can be sealed. One statement; for sweeps alone. */
export async function readUnsealedOrgs(sweep: PostgresJsDatabase): Promise<string[]> {
  const rows = await sweep.execute(sql`select u.org from muster.unsealed_orgs() u`);
  return rows.map((row) => String(row["org"]));
}

/** Keeps others from sealing the log of an org until the end of the transaction. False: somebody else is at it. */
export async function holdSeals(tx: Tx, orgId: string): Promise<boolean> {
  const [row] = await tx.execute(
    sql`select pg_try_advisory_xact_lock(hashtextextended(${orgId}, ${lockSeed}::bigint)) as mine`,
  );
  return row?.["mine"] === true;
}

/** The last seal of an org; null: there is none. */
export async function readLastSeal(tx: Tx, orgId: string): Promise<SealRow | null> {
  const [row] = await tx
    .select()
    .from(auditSeals)
    .where(eq(auditSeals.orgId, orgId))
    .orderBy(desc(auditSeals.seal))
    .limit(1);
  return row === undefined ? null : sealOf(row);
}

/** Seals after a number, in their order. */
export async function readSeals(tx: Tx, orgId: string, after: number, limit: number): Promise<SealRow[]> {
  const rows = await tx
    .select()
    .from(auditSeals)
    .where(and(eq(auditSeals.orgId, orgId), gt(auditSeals.seal, after)))
    .orderBy(asc(auditSeals.seal))
    .limit(limit);
  return rows.map(sealOf);
}

/** One seal; null: it is not there. */
export async function readSeal(tx: Tx, orgId: string, seal: number): Promise<SealRow | null> {
  const [row] = await tx
    .select()
    .from(auditSeals)
    .where(and(eq(auditSeals.orgId, orgId), eq(auditSeals.seal, seal)));
  return row === undefined ? null : sealOf(row);
}

/**
 * Entries after a place in the order of commits, which cannot change any more: every transaction before the oldest
 * that is open has ended. A commit that comes late is later in this order.
 */
export function readSealable(
  tx: Tx,
  orgId: string,
  after: SealPlace,
  limit: number,
): Promise<SealableEntry[]> {
  return tx
    .select({ xid: auditLog.xid, auditId: auditLog.auditId, hash: auditLog.contentHash })
    .from(auditLog)
    .where(
      and(
        eq(auditLog.orgId, orgId),
        isAfter(after),
        sql`${auditLog.xid} < pg_snapshot_xmin(pg_current_snapshot())`,
      ),
    )
    .orderBy(asc(auditLog.xid), asc(auditLog.auditId))
    .limit(limit);
}

/** How many entries there are after a place, up to a number. */
export async function countEntriesAfter(
  tx: Tx,
  orgId: string,
  after: SealPlace,
  most: number,
): Promise<number> {
  const rows = await tx
    .select({ auditId: auditLog.auditId })
    .from(auditLog)
    .where(and(eq(auditLog.orgId, orgId), isAfter(after)))
    .limit(most);
  return rows.length;
}

/** All that the hashes of the entries after one place up to another are of, in the order of commits. */
export function readHashedEntries(
  tx: Tx,
  orgId: string,
  { after, upTo }: { readonly after: SealPlace; readonly upTo: SealPlace },
): Promise<HashedEntry[]> {
  return tx
    .select({
      orgId: auditLog.orgId,
      auditId: auditLog.auditId,
      atMicros: sql<string>`(extract(epoch from ${auditLog.at}) * 1000000)::bigint::text`,
      actor: auditLog.actor,
      action: auditLog.action,
      target: auditLog.target,
      reason: auditLog.reason,
      requestId: auditLog.requestId,
      details: sql<string>`${auditLog.details}::text`,
    })
    .from(auditLog)
    .where(
      and(
        eq(auditLog.orgId, orgId),
        isAfter(after),
        sql`(${auditLog.xid}, ${auditLog.auditId}) <= (${upTo.xid}::xid8, ${upTo.auditId}::uuid)`,
      ),
    )
    .orderBy(asc(auditLog.xid), asc(auditLog.auditId));
}

/** Keeps a seal. A number that is taken is an error: nobody forks the chain. */
export async function insertSeal(
  tx: Tx,
  orgId: string,
  { seal, last, entries, hash }: SealRow,
): Promise<void> {
  await tx.insert(auditSeals).values({
    orgId,
    seal,
    lastXid: last.xid,
    lastId: last.auditId,
    entries: entries.map(({ auditId }) => auditId),
    hashes: Buffer.concat(entries.map((entry) => entry.hash)),
    hash,
  });
}

/** "musa" as a number. */
const lockSeed = 0x6d757361;

function isAfter({ xid, auditId }: SealPlace) {
  return sql`(${auditLog.xid}, ${auditLog.auditId}) > (${xid}::xid8, ${auditId}::uuid)`;
}

function sealOf(row: typeof auditSeals.$inferSelect): SealRow {
  const hashes = Buffer.from(row.hashes);
  return {
    seal: row.seal,
    last: { xid: row.lastXid, auditId: row.lastId },
    entries: row.entries.map((auditId, index) => ({
      auditId,
      hash: hashes.subarray(index * hashBytes, (index + 1) * hashBytes),
    })),
    hash: row.hash,
  };
}

const hashBytes = 32;
