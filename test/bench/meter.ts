import { cpuMicrosOf, memoryOf } from "./process-usage.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** What has been used up to a moment. */
export interface Reading {
  /** Of all processes: ours, the servers', Postgres' or Redis'. */
  readonly cpuMicros: number;
  /** Postgres: WAL. Redis: what was appended to its file. */
  readonly walBytes: number;
  /** Null for Redis. */
  readonly commits: number | null;
  /** Where the WAL is; null for Redis. */
  readonly lsn: string | null;
}

/** What a measured time cost. */
export interface Cost {
  readonly walBytesPerJob: number;
  readonly commitsPerJob: number | null;
  readonly cpuMicrosPerJob: number;
}

/**
 * Reads what was used so far. The WAL is that of `pg_stat_wal`, by the position in it: the view itself is up to ten
 * seconds late.
 */
export async function readUsage(
  { postgres, redis }: Environment,
  system: Pick<System, "store">,
  running: RunningSystem,
): Promise<Reading> {
  const processes = processesOf(running).reduce((sum, { pid }) => sum + cpuMicrosOf(pid), 0);
  if (system.store === "redis") {
    const usage = await redis?.usage();
    return {
      cpuMicros: processes + (usage?.cpuMicros ?? 0),
      walBytes: usage?.appendedBytes ?? 0,
      commits: null,
      lsn: null,
    };
  }
  const [row] = await postgres.admin<{ lsn: string; wal: string }[]>`
    select pg_current_wal_insert_lsn()::text as lsn,
      pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text as wal`;
  return {
    cpuMicros: processes + postgres.cpuMicros(),
    walBytes: Number(row?.wal ?? 0),
    commits: await commitsOf(postgres, running),
    lsn: row?.lsn ?? null,
  };
}

/** Transactions that its database has committed, as `pg_stat_database` says: a connection that works tells each second. */
export async function commitsOf(
  { admin }: Environment["postgres"],
  { databaseName = "" }: Pick<RunningSystem, "databaseName">,
): Promise<number> {
  const [row] = await admin<{ commits: string }[]>`
    select xact_commit::text as commits from pg_stat_database where datname = ${databaseName}`;
  return Number(row?.commits ?? 0);
}

/** What `jobs` cost between two readings. */
export function costOf(before: Reading, after: Reading, jobs: number): Cost {
  const commits =
    before.commits === null || after.commits === null ? null : (after.commits - before.commits) / jobs;
  return {
    walBytesPerJob: Math.round((after.walBytes - before.walBytes) / jobs),
    commitsPerJob: commits === null ? null : Number(commits.toFixed(4)),
    cpuMicrosPerJob: Math.round((after.cpuMicros - before.cpuMicros) / jobs),
  };
}

/** Peak memory of the Node processes of a system together, in MiB; that of the database is not in it. */
export function peakRssMb(running: RunningSystem): number {
  const bytes = processesOf(running).reduce((sum, { pid }) => sum + memoryOf(pid).peakRssBytes, 0);
  return Math.round(bytes / 1_048_576);
}

function processesOf({ producer, consumers, servers }: RunningSystem) {
  return [producer, ...consumers, ...servers];
}
