import type { PgTable as Table } from "drizzle-orm/pg-core";
import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import { now } from "./columns.ts";
import { inBothOrgs, inOrg, type Tx } from "./database.ts";
import { and, eq, getTableColumns, getTableName, inArray, is, PgTable, sql } from "./drizzle.ts";
import { orgNames as o } from "./names.ts";
import * as tables from "./schema.ts";
import { artifacts } from "./schema.ts";
import * as alertTables from "./schema-alerts.ts";
import * as eventTables from "./schema-events.ts";
import * as fleetTables from "./schema-fleet.ts";
import { orgs } from "./schema-fleet.ts";
import * as peopleTables from "./schema-people.ts";
import * as routingTables from "./schema-routing.ts";
import * as scheduleTables from "./schema-schedules.ts";
import * as skillTables from "./schema-skills.ts";
import * as statsTables from "./schema-stats.ts";
import * as templateTables from "./schema-templates.ts";

/** How long a deleted org waits for what its callers had begun: more than a key is believed and a use may take. */
const restMs = 15_000;

/** Rows of one step: what fits well into the time of a use. */
const stepRows = 2_000;

/** Tables whose rows go with their org, the audit log last. */
export const orgTables: readonly Table[] = [
  tables,
  fleetTables,
  routingTables,
  peopleTables,
  statsTables,
  scheduleTables,
  templateTables,
  alertTables,
  eventTables,
  skillTables,
]
  .flatMap((module): unknown[] => Object.values(module))
  .filter((one): one is Table => is(one, PgTable) && "orgId" in getTableColumns(one))
  .filter((table) => table !== orgs)
  .sort((a, b) => rank(a) - rank(b));

/** Orgs whose removal may begin, or go on. For sweeps alone. */
export async function readOrgsToRemove(
  sweep: PostgresJsDatabase,
): Promise<{ readonly orgId: string; readonly name: string; readonly deletedBy: string | null }[]> {
  return sweep
    .select({ orgId: orgs.orgId, name: orgs.name, deletedBy: orgs.deletedBy })
    .from(orgs)
    .where(sql`${orgs.deletedAt} < ${now} - ${restMs}::float8 * interval '1 millisecond'`)
    .orderBy(orgs.deletedAt);
}

/** Where files of an org are that is being removed: some of them; none when none are left. */
export function readOrgFiles(sweep: PostgresJsDatabase, orgId: string, limit: number) {
  return inOrg(sweep, orgId, (tx) =>
    tx
      .select({
        orgId: artifacts.orgId,
        jobId: artifacts.jobId,
        attempt: artifacts.attempt,
        artifactId: artifacts.artifactId,
        sha256: artifacts.sha256,
      })
      .from(artifacts)
      .where(eq(artifacts.orgId, orgId))
      .limit(limit),
  );
}

/** Removes the rows of files that are gone. */
export async function removeOrgFiles(
  sweep: PostgresJsDatabase,
  orgId: string,
  artifactIds: readonly string[],
): Promise<void> {
  await inOrg(sweep, orgId, (tx) =>
    tx
      .delete(artifacts)
      .where(and(eq(artifacts.orgId, orgId), inArray(artifacts.artifactId, [...artifactIds]))),
  );
}

/** Removes some rows of a table. True when there may be more. */
export async function removeOrgRows(
  sweep: PostgresJsDatabase,
  orgId: string,
  table: Table,
): Promise<boolean> {
  return inOrg(sweep, orgId, async (tx) => {
    if (!(await isAlone(tx, orgId))) return false;
    // In another partition a row may have the same place: it is one of the org, too.
    const gone =
      await tx.execute(sql`delete from ${table} where ${o.orgId} = ${orgId}::uuid and ctid = any(array(
      select ctid from ${table} where ${o.orgId} = ${orgId}::uuid limit ${stepRows}))`);
    return gone.count >= stepRows;
  });
}

/** Whether a table has rows of the org. */
export async function hasOrgRows(sweep: PostgresJsDatabase, orgId: string): Promise<boolean> {
  return inOrg(sweep, orgId, async (tx) => {
    for (const table of orgTables) {
      const rows = await tx.execute(sql`select 1 from ${table} where ${o.orgId} = ${orgId}::uuid limit 1`);
      if (rows.length > 0) return true;
    }
    return false;
  });
}

/** Removes the org itself, and says so in another org, in one commit. False: somebody else did. */
export function removeOrgRow(
  sweep: PostgresJsDatabase,
  orgId: string,
  home: string,
  say: (tx: Tx) => Promise<void>,
): Promise<boolean> {
  return inBothOrgs(sweep, [orgId, home], {
    first: async (tx) =>
      (await tx.delete(orgs).where(eq(orgs.orgId, orgId)).returning({ orgId: orgs.orgId })).length > 0,
    second: async (tx, isGone) => {
      if (isGone) await say(tx);
      return isGone;
    },
  });
}

// Coordinators that remove the same org would only wait for each other.
async function isAlone(tx: Tx, orgId: string): Promise<boolean> {
  const [row] = await tx.execute(
    sql`select pg_try_advisory_xact_lock(hashtextextended(${orgId}, ${lockSeed}::bigint)) as mine`,
  );
  return row?.["mine"] === true;
}

/** "muso" as a number. */
const lockSeed = 0x6d75736f;

function rank(table: Table): number {
  return [fleetTables.auditLog, fleetTables.auditSeals].some((one) => one === table) ? 1 : 0;
}

// Part of the module's own list, so that a table that is renamed does not go unnoticed.
export const orgTableNames: readonly string[] = orgTables.map((table) => getTableName(table));
