import type { PostgresJsDatabase } from "drizzle-orm/postgres-js";
import type { Connection } from "./connection.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, readMigrationFiles, sql } from "./drizzle.ts";
import { HotPool } from "./hot-pool.ts";
import { migrationsFolder } from "./migrate.ts";
import { clock } from "./names.ts";
import { changes } from "./schema.ts";

/** How the database stands, as every role may see it. */
export interface DatabaseFacts {
  /** E.g. `18.4`. */
  readonly version: string;
  /** E.g. 180004. */
  readonly versionNumber: number;
  /** By anybody, whatever their database. */
  readonly connections: number;
  readonly maxConnections: number;
  /** By Muster's clock, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Settings whose absence a crash turns into lost commits, where they are off. */
  readonly unsafeSettings: readonly string[];
}

/** Reads how the database stands. */
export async function readDatabaseFacts(db: PostgresJsDatabase): Promise<DatabaseFacts> {
  const [row] = await db.execute(sql`select current_setting('server_version') as version,
    current_setting('server_version_num')::int as number, current_setting('max_connections')::int as most,
    (select sum(numbackends)::int from pg_stat_database) as used,
    (extract(epoch from ${clock}) * 1000)::float8 as now_ms,
    array_to_string(array(select name from pg_settings where name in ('fsync', 'full_page_writes', 'synchronous_commit')
      and setting = 'off' order by name), ',') as unsafe`);
  return {
    version: String(row?.["version"]).split(" ")[0] ?? "",
    versionNumber: Number(row?.["number"]),
    connections: Number(row?.["used"]),
    maxConnections: Number(row?.["most"]),
    nowMs: Number(row?.["now_ms"]),
    unsafeSettings: String(row?.["unsafe"]).split(",").filter(Boolean),
  };
}

/** Bytes of Muster's tables and indexes. */
export async function readSizeBytes(db: PostgresJsDatabase): Promise<number> {
  const [row] = await db.execute(sql`select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as bytes
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'muster' and c.relkind = 'r'`);
  return Number(row?.["bytes"] ?? 0);
}

/** Names of the partitions that there are, e.g. `jobs_20261122`. */
export async function readPartitionNames(db: PostgresJsDatabase): Promise<string[]> {
  const rows = await db.execute(sql`select c.relname as name from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'muster' and c.relispartition`);
  return rows.map((row) => String(row["name"]));
}

/** A transaction that is still open. */
export interface OpenTransaction {
  /** Null: it is a prepared one. */
  readonly pid: number | null;
  /** As it calls itself. Untrusted text. */
  readonly application: string;
  /** E.g. `idle in transaction`; null where we may not see it, like the age. */
  readonly state: string | null;
  readonly ageMs: number | null;
  /** It has written, so it holds the change feed back; all of them hold the clean-up back. */
  readonly isWriting: boolean;
}

/** What only the owner of the tables may see. */
export interface OwnerFacts {
  /** The oldest first; at most 50. */
  readonly transactions: readonly OpenTransaction[];
  readonly appliedMigrations: number;
}

/** Reads what only the owner may see, on a connection of its own. */
export function readOwnerFacts(url: string): Promise<OwnerFacts> {
  return onOwnConnection({ url, name: "muster doctor", timeoutMs }, async ({ sql: client }) => {
    const transactions = await client.unsafe(openTransactions);
    const [migrations] = await client.unsafe("select count(*)::int as applied from muster.migrations");
    return {
      appliedMigrations: Number(migrations?.["applied"]),
      transactions: transactions.map((row) => ({
        pid: row["pid"] === null ? null : Number(row["pid"]),
        application: String(row["application"] ?? ""),
        state: row["state"] === null ? null : String(row["state"]),
        ageMs: row["age_ms"] === null ? null : Number(row["age_ms"]),
        isWriting: row["writing"] === true,
      })),
    };
  });
}

/** How many migrations this version has. */
export function countKnownMigrations(): number {
  return readMigrationFiles({ migrationsFolder }).length;
}

/** Tells itself something by way of the database; resolves with the milliseconds that it took, or null: it never came. */
export async function roundTripNotify(url: string, payload: string): Promise<number | null> {
  const { promise: heard, resolve } = Promise.withResolvers<true>();
  const notified = (given: string) => {
    if (given === payload) resolve(true);
  };
  return onOwnConnection({ url, name: "muster doctor", timeoutMs, notified }, async ({ sql: client }) => {
    await client.unsafe("listen muster_doctor");
    const startedMs = performance.now();
    await client.unsafe("select pg_notify('muster_doctor', $1)", [payload]);
    const { promise: late, resolve: giveUp } = Promise.withResolvers<null>();
    const timer = setTimeout(() => giveUp(null), timeoutMs / 2);
    try {
      return (await Promise.race([heard, late])) === null ? null : performance.now() - startedMs;
    } finally {
      clearTimeout(timer);
    }
  });
}

/** For how long the oldest change of the org that is committed cannot be read yet; null: all of them can. */
export async function readFeedLagMs(tx: Tx, orgId: string): Promise<number | null> {
  const [row] = await tx
    .select({ lagMs: sql<number>`(extract(epoch from ${clock} - ${changes.at}) * 1000)::float8` })
    .from(changes)
    .where(
      and(
        eq(changes.orgId, orgId),
        sql`${changes.xid} >= pg_snapshot_xmin(pg_current_snapshot())::text::xid8`,
      ),
    )
    .orderBy(asc(changes.xid), asc(changes.n))
    .limit(1);
  return row?.lagMs ?? null;
}

const timeoutMs = 5_000;

// Who may not see the state of others' sessions sees their transaction ids all the same.
const openTransactions = `
  select pid, application, state, age_ms, writing from (
    select a.pid, a.application_name as application, a.state, a.backend_xid is not null as writing,
      (extract(epoch from clock_timestamp() - a.xact_start) * 1000)::float8 as age_ms,
      greatest(age(a.backend_xid), age(a.backend_xmin)) as xids
    from pg_stat_activity a
    where a.pid <> pg_backend_pid() and (a.backend_xid is not null or a.backend_xmin is not null)
      and coalesce(a.backend_type, '') <> 'autovacuum worker'
    union all
    select null, 'a prepared transaction', 'prepared', true,
      (extract(epoch from clock_timestamp() - p.prepared) * 1000)::float8, age(p.transaction)
    from pg_prepared_xacts p
  ) open order by xids desc, age_ms desc nulls last limit 50`;

async function onOwnConnection<T>(
  options: {
    readonly url: string;
    readonly name: string;
    readonly timeoutMs: number;
    readonly notified?: (payload: string) => void;
  },
  body: (connection: Connection) => Promise<T>,
): Promise<T> {
  const pool = new HotPool({ ...options, size: 1, isDrizzle: false });
  try {
    return await pool.use(body);
  } finally {
    await pool.end(1);
  }
}
