import type { Readable } from "node:stream";
import type { SQL } from "drizzle-orm";
import type { PgTable as Table } from "drizzle-orm/pg-core";
import type { BackupFormat } from "../domain/rules/backups.ts";
import { Connection } from "./connection.ts";
import { getTableColumns, getTableConfig, getTableName, PgDialect, sql } from "./drizzle.ts";
import { orgTables } from "./org-removals.ts";
import { attempts, jobs, logChunks } from "./schema.ts";
import { auditLog, auditSeals, cluster, orgs } from "./schema-fleet.ts";
import { setOrg } from "./statement.ts";

/** A table of backups. */
export interface BackupTable {
  readonly name: string;
  /** In the order in which they are written. */
  readonly columns: readonly string[];
}

/**
 * The tables whose rows are in backups, orgs first. Not those whose keys are transactions of this very cluster (the
 * change feed): they would mean nothing in another one.
 */
export const backupTables: readonly BackupTable[] = [orgs, ...orgTables]
  .filter((table) => !isFeed(table))
  .map((table) => ({
    name: getTableName(table),
    columns: storedColumns(table).map((column) => column.name),
  }));

/** Tables that are partitioned by day: rows of other days need theirs. */
export const partitionedTables: readonly string[] = [jobs, attempts, logChunks].map((one) =>
  getTableName(one),
);

/** One moment of the database, as it is read. */
export interface Snapshot {
  readonly at: Date;
  readonly epoch: number;
  readonly orgs: readonly { readonly orgId: string; readonly name: string }[];
  /** Days of the partitions that there are, by table. */
  readonly partitions: Readonly<Record<string, readonly string[]>>;
  /** About how many rows there are in all. */
  readonly estimatedRows: number;
  /** The rows of an org in a table, as COPY writes them. */
  rows(table: BackupTable, orgId: string, format: BackupFormat): Promise<Readable>;
  /** The highest place that entries of an org's audit log have: see `places`. */
  lastPlace(orgId: string): Promise<number>;
  close(): Promise<void>;
}

/**
 * Opens a moment of the whole database: everything that is read of it is of that moment, and nobody waits. It reads as
 * the role of sweeps, org by org: row-level security holds, so no row of another org can be among an org's.
 */
export async function openSnapshot(sweepUrl: string, signal: AbortSignal): Promise<Snapshot> {
  const connection = new Connection({ url: sweepUrl, name: "muster backup", timeoutMs: stalledMs });
  const cut = () => connection.cut();
  signal.addEventListener("abort", cut, { once: true });
  const run = async (statement: SQL) => {
    const { sql: text, params } = dialect.sqlToQuery(statement);
    return connection.sql.unsafe(text, params as string[]);
  };
  const close = async () => {
    signal.removeEventListener("abort", cut);
    await connection.close(1);
  };
  try {
    signal.throwIfAborted();
    // A large table takes longer than a statement may; a backup that nobody reads any more ends all the same.
    await connection.sql.unsafe("set statement_timeout = 0");
    await connection.sql.unsafe("begin isolation level repeatable read, read only");
    const [now] = await run(
      sql`select muster.muster_clock() as at, (select ${cluster.epoch} from ${cluster}) as epoch`,
    );
    const orgRows = await run(sql`select ${orgs.orgId} as id, ${orgs.name} as name from ${orgs}
      where ${orgs.deletedAt} is null order by ${orgs.orgId}`);
    const partitions = await run(sql`select c.relname::text as name from pg_class c
      where c.relnamespace = 'muster'::regnamespace and c.relispartition and c.relkind = 'r' order by 1`);
    const [estimate] =
      await run(sql`select coalesce(sum(greatest(c.reltuples, 0)), 0)::float8 as rows from pg_class c
      where c.relnamespace = 'muster'::regnamespace and c.relkind = 'r'`);
    const named = partitions.flatMap((row) => {
      const [, table = "", day = ""] = /^(.+)_(\d{8})$/.exec(String(row["name"])) ?? [];
      return partitionedTables.includes(table) ? [{ table, day }] : [];
    });
    return {
      at: new Date(String(now?.["at"])),
      epoch: Number(now?.["epoch"]),
      orgs: orgRows.map((row) => ({ orgId: String(row["id"]), name: String(row["name"]) })),
      partitions: Object.fromEntries(
        partitionedTables.map((table) => [
          table,
          named.filter((one) => one.table === table).map(({ day }) => day),
        ]),
      ),
      estimatedRows: Number(estimate?.["rows"]),
      async rows(table, orgId, format) {
        await connection.sql.unsafe(setOrg(orgId));
        return connection.sql.unsafe(copyOf(table, orgId, format)).readable();
      },
      async lastPlace(orgId) {
        await connection.sql.unsafe(setOrg(orgId));
        const [row] = await connection.sql.unsafe(
          `select coalesce(max(place), ${firstPlace}) as last from (${places(orgId)}) ranked`,
        );
        return Number(row?.["last"]);
      },
      close,
    };
  } catch (error) {
    await close();
    signal.throwIfAborted();
    throw error;
  }
}

const dialect = new PgDialect();

/** After so long without a statement the server ends the transaction. */
const stalledMs = 10 * 60_000;

/** Real transactions come after it. */
const firstPlace = 3;

function copyOf({ name, columns }: BackupTable, orgId: string, format: BackupFormat): string {
  const shown = columns.map((column) => `${shownAs(name, column)} as "${column}"`).join(", ");
  const entry = placed.get(name);
  const ranked =
    entry === undefined ? "" : ` left join (${places(orgId)}) ranked on ranked.id = t."${entry}"`;
  const rows = `select ${shown} from muster."${name}" t${ranked} where t."${orgs.orgId.name}" = '${orgId}'`;
  return format === "sql"
    ? `copy (${rows}) to stdout`
    : `copy (select row_to_json(r) from (${rows}) r) to stdout`;
}

/*
 * Entries of the audit log are in the order of their transactions, and the seals over it end at one. Transactions of
 * another cluster begin anew, far below: so entries get places in their stead that keep the order, as low as can be.
 * Ids grow with time, so a new place is only needed where a commit overtook another one.
 */
function places(orgId: string): string {
  const { xid, auditId, orgId: org } = auditLog;
  const order = `order by "${xid.name}", "${auditId.name}"`;
  return `select "${auditId.name}" as id, ${firstPlace} + sum(turn) over (${order} rows unbounded preceding) as place
    from (select "${xid.name}", "${auditId.name}",
      case when "${auditId.name}" < lag("${auditId.name}") over (${order}) then 1 else 0 end as turn
      from muster."${getTableName(auditLog)}" where "${org.name}" = '${orgId}') entries`;
}

const placed: ReadonlyMap<string, string> = new Map([
  [getTableName(auditLog), auditLog.auditId.name],
  [getTableName(auditSeals), auditSeals.lastId.name],
]);

function shownAs(table: string, column: string): string {
  const isPlace =
    (table === getTableName(auditLog) && column === auditLog.xid.name) ||
    (table === getTableName(auditSeals) && column === auditSeals.lastXid.name);
  return isPlace ? `coalesce(ranked.place, ${firstPlace})` : `t."${column}"`;
}

function storedColumns(table: Table) {
  return Object.values(getTableColumns(table)).filter((column) => column.generated === undefined);
}

function isFeed(table: Table): boolean {
  const keyed = new Set(
    getTableConfig(table).primaryKeys.flatMap((key) => key.columns.map(({ name }) => name)),
  );
  return storedColumns(table).some((column) => keyed.has(column.name) && column.getSQLType() === "xid8");
}
