import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { startEmbeddedPostgres } from "../../server/store/embedded.ts";
import { databaseUrl, onServer } from "../support/postgres.ts";
import { parentOf, treeCpuMicrosOf } from "./process-usage.ts";

/** The Postgres of a run: fresh, durable, used by one system after the other, each in a database of its own. */
export interface BenchPostgres {
  readonly version: string;
  /** Makes a database; returns its address, for the superuser. */
  createDatabase(name: string): Promise<string>;
  dropDatabase(name: string): Promise<void>;
  /** CPU time of all its processes so far, in microseconds. */
  cpuMicros(): number;
  /** For the superuser, in a database that nothing measured uses. */
  readonly admin: postgres.Sql;
  stop(): Promise<void>;
}

/** Starts it as a coordinator starts its embedded one: fsync and synchronous_commit on. */
export async function startBenchPostgres(settings: Record<string, string> = {}): Promise<BenchPostgres> {
  const folder = await mkdtemp(join(tmpdir(), "muster-bench-postgres-"));
  await chmod(folder, 0o755);
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, "data"),
    settings,
    signal: AbortSignal.timeout(120_000),
  });
  const admin = postgres(server.url, { max: 2, onnotice: () => {} });
  const [row] = await admin<{ version: string; pid: number; durable: boolean }[]>`
    select current_setting('server_version') as version, pg_backend_pid() as pid,
      current_setting('fsync')::bool and current_setting('synchronous_commit') = 'on' as durable`;
  if (row?.durable !== true) throw new Error("the Postgres of a bench must be durable");
  const postmaster = parentOf(row.pid);
  return {
    version: row.version,
    admin,
    async createDatabase(name) {
      await onServer(server.url, `create database ${name}`);
      return databaseUrl(server.url, name);
    },
    dropDatabase: (name) => onServer(server.url, `drop database ${name} with (force)`),
    cpuMicros: () => treeCpuMicrosOf(postmaster),
    async stop() {
      await admin.end({ timeout: 5 });
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
