import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { now } from "./columns.ts";
import { type Database, inNewOrg, type Tx } from "./database.ts";
import { and, asc, eq, gt, isNull, sql } from "./drizzle.ts";
import { orgs } from "./schema-fleet.ts";

/** A tenant. */
export interface OrgRow {
  readonly orgId: string;
  readonly name: string;
}

/** A tenant, and whether it may do anything. */
export interface OrgState extends OrgRow {
  readonly createdAt: Date;
  /** Null: it may. */
  readonly suspendedAt: Date | null;
  readonly suspendReason: string;
  /** Since when it is being removed. */
  readonly deletedAt: Date | null;
  /** The org whose audit log says that it was deleted. */
  readonly deletedBy: string | null;
}

const columns = {
  orgId: orgs.orgId,
  name: orgs.name,
  createdAt: orgs.createdAt,
  suspendedAt: orgs.suspendedAt,
  suspendReason: orgs.suspendReason,
  deletedAt: orgs.deletedAt,
  deletedBy: orgs.deletedBy,
};

/** All orgs, oldest first. For sweeps alone: no other role may see them. */
export function listOrgs(sweep: PostgresJsDatabase): Promise<OrgRow[]> {
  return sweep.select({ orgId: orgs.orgId, name: orgs.name }).from(orgs).orderBy(orgs.orgId);
}

/** A page of orgs, oldest first. For sweeps, and for whoever acts for other orgs. */
export function readOrgs(
  sweep: PostgresJsDatabase,
  { after, limit }: { readonly after: string | null; readonly limit: number },
): Promise<OrgState[]> {
  return sweep
    .select(columns)
    .from(orgs)
    .where(after === null ? undefined : gt(orgs.orgId, after))
    .orderBy(asc(orgs.orgId))
    .limit(limit);
}

/** The org of an id or a name; null: there is none. For sweeps, and for whoever acts for other orgs. */
export async function findOrg(
  sweep: PostgresJsDatabase,
  of: { readonly orgId: string } | { readonly name: string },
): Promise<OrgState | null> {
  const condition = "orgId" in of ? eq(orgs.orgId, of.orgId) : eq(orgs.name, of.name);
  const [row] = await sweep.select(columns).from(orgs).where(condition);
  return row ?? null;
}

/** The org of the transaction; null: it is gone. */
export async function readOrgState(tx: Tx, orgId: string): Promise<OrgState | null> {
  const [row] = await tx.select(columns).from(orgs).where(eq(orgs.orgId, orgId));
  return row ?? null;
}

/** The same, locked: claims under way have ended, and others wait. */
export async function lockOrg(tx: Tx, orgId: string): Promise<OrgState | null> {
  const [row] = await tx.select(columns).from(orgs).where(eq(orgs.orgId, orgId)).for("update");
  return row ?? null;
}

/** Keeps an org. False when its name is taken: then nothing changed. */
export async function insertOrg(tx: Tx, { orgId, name }: OrgRow): Promise<boolean> {
  const inserted = await tx
    .insert(orgs)
    .values({ orgId, name })
    .onConflictDoNothing()
    .returning({ orgId: orgs.orgId });
  return inserted.length > 0;
}

/** Suspends the org of the transaction, or, without a reason, lets it go on. */
export async function suspendOrgRow(tx: Tx, orgId: string, reason: string | null): Promise<void> {
  await tx
    .update(orgs)
    .set(
      reason === null
        ? { suspendedAt: null, suspendReason: "" }
        : { suspendedAt: now, suspendReason: reason },
    )
    .where(and(eq(orgs.orgId, orgId), isNull(orgs.deletedAt)));
}

/** Has the org of the transaction removed by the sweep. */
export async function markOrgDeleted(tx: Tx, orgId: string, deletedBy: string): Promise<void> {
  await tx.update(orgs).set({ deletedAt: now, deletedBy }).where(eq(orgs.orgId, orgId));
}

/**
 * Runs a transaction in the org of a name, which is made if it is absent. One at a time over all
 * coordinators, so that many may start at once.
 */
export function inNamedOrg<T>(
  db: Pick<Database, "app" | "sweep">,
  name: string,
  newId: () => string,
  body: (tx: Tx, org: { readonly orgId: string; readonly isNew: boolean }) => Promise<T>,
): Promise<T> {
  return inNewOrg(db.app, {
    find: async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(${lockKey})`);
      // Only sweeps may look an org up by its name. What the last holder of the lock made is committed.
      const [found] = await db.sweep.select({ orgId: orgs.orgId }).from(orgs).where(eq(orgs.name, name));
      return { orgId: found?.orgId ?? newId(), isNew: found === undefined };
    },
    body: async (tx, org) => {
      if (org.isNew) await tx.insert(orgs).values({ orgId: org.orgId, name });
      return body(tx, org);
    },
  });
}

/** The same key for every coordinator: "muso" as a number. */
const lockKey = 0x6d75736f;
