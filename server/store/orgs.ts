import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import type { Database, Tx } from "./database.ts";
import { eq, sql } from "./drizzle.ts";
import { orgs } from "./schema-fleet.ts";
import { setOrg } from "./statement.ts";

/** A tenant. */
export interface OrgRow {
  readonly orgId: string;
  readonly name: string;
}

/** All orgs, oldest first. For sweeps alone: no other role may see them. */
export function listOrgs(sweep: PostgresJsDatabase): Promise<OrgRow[]> {
  return sweep.select({ orgId: orgs.orgId, name: orgs.name }).from(orgs).orderBy(orgs.orgId);
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
  return db.app.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${lockKey})`);
    // Only sweeps may look an org up by its name. What the last holder of the lock made is committed.
    const [found] = await db.sweep.select({ orgId: orgs.orgId }).from(orgs).where(eq(orgs.name, name));
    const orgId = found?.orgId ?? newId();
    await tx.execute(sql.raw(setOrg(orgId)));
    if (found === undefined) await tx.insert(orgs).values({ orgId, name });
    return body(tx, { orgId, isNew: found === undefined });
  });
}

/** The same key for every coordinator: "muso" as a number. */
const lockKey = 0x6d75736f;
