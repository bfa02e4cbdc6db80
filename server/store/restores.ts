import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Manifest } from "../domain/rules/backups.ts";
import { type BackupTable, backupTables, partitionedTables } from "./backups.ts";
import { Connection } from "./connection.ts";
import { errorCode } from "./connection-errors.ts";
import { getTableName } from "./drizzle.ts";
import { schemaVersion } from "./migrate.ts";
import { addPartitionsOf, partitionOf } from "./partitions.ts";
import { cluster, orgs } from "./schema-fleet.ts";
import { setOrg } from "./statement.ts";

/** A restore under way: one transaction, all or nothing. */
export interface Restore {
  /** Puts the rows of a table where they belong; `rows` are as COPY writes them. Answers with how many there are. */
  load(table: string, columns: readonly string[], rows: AsyncIterable<Uint8Array>): Promise<number>;
  /** Commits, with the epoch of the cluster above both; answers with it. */
  finish(): Promise<number>;
  /** Nothing has happened. */
  abandon(): Promise<void>;
}

/** Why a database does not take a backup. */
export class RestoreRefusedError extends Error {
  override readonly name = "RestoreRefusedError";
  readonly code: "RESTORE_SCHEMA" | "RESTORE_NOT_EMPTY" | "RESTORE_ORG_EXISTS" | "RESTORE_ROWS_REFUSED";
  readonly suggestion: string;

  constructor(code: RestoreRefusedError["code"], message: string, suggestion: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.suggestion = suggestion;
  }
}

/**
 * Begins the restore of a whole backup into an empty database that is migrated, or of one org into a database that
 * lacks it, which others may be using. `url`: the database, for a user who may become the owner of the tables.
 */
export async function beginRestore(url: string, manifest: Manifest, signal: AbortSignal): Promise<Restore> {
  refuseSchema(manifest);
  const connection = new Connection({ url, name: "muster restore", timeoutMs: stalledMs });
  const cut = () => connection.cut();
  signal.addEventListener("abort", cut, { once: true });
  const close = async () => {
    signal.removeEventListener("abort", cut);
    await connection.close(1);
  };
  try {
    const { sql } = connection;
    await sql.unsafe("set statement_timeout = 0");
    await addPartitionsOf(url, manifest.partitions);
    await sql.unsafe("begin");
    await sql.unsafe(`set local role ${owner}`);
    const { org } = manifest;
    if (org === null) await openWhole(sql);
    else await openOrg(sql, org);
    const load = org === null ? loadWhole(sql) : loadOrg(sql, org.orgId);
    return {
      async load(table, columns, rows) {
        return load(knownTable(table, columns), rows);
      },
      async finish() {
        await sql.unsafe(`set local role ${owner}`);
        if (org === null) for (const { name } of backupTables) await sql.unsafe(forcing(name, true));
        const [row] = await sql.unsafe(raiseAbove(manifest.epoch));
        await passPlaces(url, manifest.lastPlace);
        await sql.unsafe("commit");
        await close();
        return Number(row?.["epoch"]);
      },
      abandon: () => close(),
    };
  } catch (error) {
    await close();
    signal.throwIfAborted();
    throw error;
  }
}

/**
 * Why a database would not take a backup, all that is known at once; nothing of it is changed, and one that was never
 * migrated is empty. `url` as in `beginRestore`.
 */
export async function findRestoreObstacles(
  url: string,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<RestoreRefusedError[]> {
  const connection = new Connection({ url, name: "muster restore", timeoutMs: stalledMs });
  const cut = () => connection.cut();
  signal.addEventListener("abort", cut, { once: true });
  try {
    const { sql } = connection;
    await sql.unsafe("begin");
    const [found] = await sql.unsafe(
      `select to_regclass('muster."${getTableName(orgs)}"') is not null as is_there`,
    );
    const checks = found?.["is_there"] === true ? [() => checkOpen(sql, manifest.org)] : [];
    return await refusalsOf([() => refuseSchema(manifest), ...checks]);
  } finally {
    // What it took to look is undone with the transaction.
    await connection.sql.unsafe("rollback").catch(() => {});
    signal.removeEventListener("abort", cut);
    await connection.close(1);
  }
}

/** What psql is given before the files of the tables, into an empty database that is migrated. */
export function headOfSql(manifest: Pick<Manifest, "partitions">): string {
  return [
    "\\set ON_ERROR_STOP on",
    "begin",
    `set local role ${owner}`,
    ...partitionsOf(manifest),
    ...backupTables.map(({ name }) => forcing(name, false)),
    "",
  ]
    .map((line, index) => (index === 0 || line === "" ? line : `${line};`))
    .join("\n");
}

/** What psql is given after them. */
export function tailOfSql({ epoch, lastPlace }: Pick<Manifest, "epoch" | "lastPlace">): string {
  return [
    ...backupTables.map(({ name }) => forcing(name, true)),
    raiseAbove(epoch),
    "commit",
    `do $$ begin while pg_current_xact_id() <= '${lastPlace}'::xid8 loop commit; end loop; end $$`,
    "",
  ].join(";\n");
}

/** The statement before the rows in a file of a table, for psql. */
export function copyStatement({ name, columns }: BackupTable): string {
  return `copy muster."${name}" (${columns.map((column) => `"${column}"`).join(", ")}) from stdin`;
}

async function refusalsOf(checks: readonly (() => unknown)[]): Promise<RestoreRefusedError[]> {
  const refusals: RestoreRefusedError[] = [];
  for (const check of checks) {
    try {
      await check();
    } catch (error) {
      if (!(error instanceof RestoreRefusedError)) throw error;
      refusals.push(error);
    }
  }
  return refusals;
}

// All that a database holds is of an org.
async function checkOpen(sql: Client, org: Manifest["org"]): Promise<void> {
  if (org !== null) return openOrg(sql, org);
  await sql.unsafe("grant muster_sweep to current_user");
  await sql.unsafe("set local role muster_sweep");
  const rows = await sql.unsafe(`select 1 from muster."${getTableName(orgs)}" limit 1`);
  if (rows.length > 0) throw notEmpty(getTableName(orgs));
}

function notEmpty(table: string): RestoreRefusedError {
  return new RestoreRefusedError(
    "RESTORE_NOT_EMPTY",
    `the database is not empty: its table ${table} has rows`,
    "Restore into a new database, on which no coordinator was started yet; one org can be restored beside others.",
  );
}

type Client = Connection["sql"];
type Load = (table: BackupTable, rows: AsyncIterable<Uint8Array>) => Promise<number>;

const owner = "muster_owner";
const stalledMs = 10 * 60_000;

function refuseSchema({ schema, version }: Manifest): void {
  const known = schemaVersion();
  if (schema === known) return;
  throw new RestoreRefusedError(
    "RESTORE_SCHEMA",
    `the backup has the schema ${schema} of Muster ${version}, and this version has ${known}`,
    `Restore it with Muster ${version}, and then start this version on the database: it brings it up to date.`,
  );
}

function partitionsOf({ partitions }: Pick<Manifest, "partitions">): string[] {
  return partitionedTables.flatMap((table) =>
    (partitions[table] ?? []).map((day) => partitionOf(table, day)),
  );
}

// Rows of many orgs in one go: row-level security would ask for an org. Nobody else sees the table before the commit.
function forcing(table: string, isForced: boolean): string {
  return `alter table muster."${table}" ${isForced ? "force" : "no force"} row level security`;
}

async function openWhole(sql: Client): Promise<void> {
  for (const { name } of backupTables) await sql.unsafe(forcing(name, false));
  for (const { name } of backupTables) {
    const [row] = await sql.unsafe(`select 1 from muster."${name}" limit 1`);
    if (row === undefined) continue;
    throw notEmpty(name);
  }
}

async function openOrg(
  sql: Client,
  { orgId, name }: { readonly orgId: string; readonly name: string },
): Promise<void> {
  await sql.unsafe("reset role");
  const roles = "muster_app, muster_sweep";
  await sql.unsafe(`grant ${roles} to current_user`);
  await sql.unsafe("set local role muster_sweep");
  await sql.unsafe(setOrg(orgId));
  const taken = await sql.unsafe(
    `select "${orgs.orgId.name}" as id from muster."${getTableName(orgs)}"
      where "${orgs.orgId.name}" = $1::uuid or "${orgs.name.name}" = $2`,
    [orgId, name],
  );
  await sql.unsafe("reset role");
  if (taken.length === 0) return;
  throw new RestoreRefusedError(
    "RESTORE_ORG_EXISTS",
    `the database has an org ${name} already`,
    "Restore it where it is not; an org that was deleted is gone when its removal has ended: muster org list.",
  );
}

function loadWhole(sql: Client): Load {
  return (table, rows) => copyInto(sql, table, copyStatement(table), rows);
}

// Others work in the same tables: the rows go by way of a table of this session, as a role that sees this org alone.
function loadOrg(sql: Client, orgId: string): Load {
  return async (table, rows) => {
    const columns = table.columns.map((column) => `"${column}"`).join(", ");
    await sql.unsafe(`set local role ${owner}`);
    await sql.unsafe(
      `create temp table incoming on commit drop as select ${columns} from muster."${table.name}" where false`,
    );
    await sql.unsafe("grant select on incoming to muster_app, muster_sweep");
    const count = await copyInto(sql, table, `copy incoming (${columns}) from stdin`, rows);
    const [right] = await sql.unsafe(
      `select has_table_privilege('muster_app', 'muster."${table.name}"', 'insert') as is_app`,
    );
    await sql.unsafe(`set local role ${right?.["is_app"] === true ? "muster_app" : "muster_sweep"}`);
    await sql.unsafe(setOrg(orgId));
    try {
      await sql.unsafe(`insert into muster."${table.name}" (${columns}) select ${columns} from incoming`);
    } catch (cause) {
      throw refusedRows(table.name, cause);
    }
    await sql.unsafe(`set local role ${owner}`);
    await sql.unsafe("drop table incoming");
    return count;
  };
}

async function copyInto(
  sql: Client,
  table: BackupTable,
  statement: string,
  rows: AsyncIterable<Uint8Array>,
): Promise<number> {
  const sink = await sql.unsafe(statement).writable();
  // Its failure is that of the pipeline, which stops to listen before the driver has ended it.
  sink.on("error", () => {});
  const counted = countLines(rows);
  // What the server refuses after the last row is told to what is asked next: the driver leaves the stream open.
  const written = pipeline(Readable.from(counted.chunks), sink);
  const ended = new Promise<void>((_, reject) => {
    sink.once("prefinish", () => sql.unsafe("select 1").then(() => undefined, reject));
  });
  try {
    await Promise.race([written, ended]);
  } catch (cause) {
    throw errorCode(cause) === "" ? cause : refusedRows(table.name, cause);
  }
  return counted.lines();
}

function refusedRows(table: string, cause: unknown): RestoreRefusedError {
  const why = cause instanceof Error && errorCode(cause) !== "25P02" ? `: ${cause.message}` : "";
  return new RestoreRefusedError(
    "RESTORE_ROWS_REFUSED",
    `the database refuses rows of ${table}${why}`,
    "Nothing was restored. Verify the backup with: muster backup verify.",
    cause,
  );
}

// In COPY's text a line break within a value is written in two characters.
function countLines(rows: AsyncIterable<Uint8Array>): {
  readonly chunks: AsyncIterable<Uint8Array>;
  lines(): number;
} {
  let lines = 0;
  async function* chunks() {
    for await (const chunk of rows) {
      lines += linesIn(chunk);
      yield chunk;
    }
  }
  return { chunks: chunks(), lines: () => lines };
}

/** How many lines end in a chunk. */
export function linesIn(chunk: Uint8Array): number {
  let lines = 0;
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  return lines;
}

function knownTable(name: string, columns: readonly string[]): BackupTable {
  const known = backupTables.find((one) => one.name === name);
  const missing = columns.find((column) => known !== undefined && !known.columns.includes(column));
  if (known !== undefined && missing === undefined) return { name, columns };
  throw new RestoreRefusedError(
    "RESTORE_SCHEMA",
    known === undefined ? `there is no table ${name} here` : `the table ${name} has no column ${missing}`,
    "Restore the backup with the version of Muster that made it: its manifest names it.",
  );
}

function raiseAbove(epoch: number): string {
  const column = `"${cluster.epoch.name}"`;
  return `update muster."${getTableName(cluster)}" set ${column} = greatest(${column}, ${epoch}) + 1 returning ${column} as epoch`;
}

/*
 * Entries of the audit logs come with places in the order of transactions; those of this cluster must come after them,
 * so as many have to have begun. See `places` in backups.ts.
 */
async function passPlaces(url: string, lastPlace: number): Promise<void> {
  const connection = new Connection({ url, name: "muster restore", timeoutMs: stalledMs });
  try {
    await connection.sql.unsafe(
      `do $$ begin while pg_current_xact_id() <= '${lastPlace}'::xid8 loop commit; end loop; end $$`,
    );
  } finally {
    await connection.close(1);
  }
}
