import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import type { TestProject } from "vitest/node";
import { startEmbeddedPostgres } from "../../server/store/embedded.ts";
import {
  isSameProcess,
  processStartTime,
  readPostmaster,
  stopPostmaster,
} from "../../server/store/embedded-process.ts";
import { migrateDatabase } from "../../server/store/migrate.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The run's Postgres, for its superuser. */
    readonly postgresUrl: string;
  }
}

/** What the passwords of the roles derive from, in every test database. */
export const testSecret = "test-secret";

/** The migrated database that test databases are copies of; its clock can be moved. */
export const templateName = "muster_template";

/** Starts the one Postgres of a test run and migrates the template; vitest calls it, and what it returns at the end. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeLeftServers();
  const folder = await mkdtemp(
    join(tmpdir(), `muster-test-${process.pid}-${processStartTime(process.pid)}-`),
  );
  // As root Postgres runs as another account, which must reach its data.
  await chmod(folder, 0o755);
  const server = await startEmbeddedPostgres({
    dataDir: join(folder, "data"),
    durable: false,
    settings: { max_connections: "300" },
    signal: AbortSignal.timeout(60_000),
  });
  const teardown = async (): Promise<void> => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await makeTemplate(server.url);
  } catch (error) {
    await teardown();
    throw error;
  }
  project.provide("postgresUrl", server.url);
  return teardown;
}

// A run that was killed leaves its server behind; the name of its folder tells whose it is.
async function removeLeftServers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const [, pid, startedAt] = /^muster-test-(\d+)-(\d+)-\w+$/.exec(name) ?? [];
    if (pid === undefined || isSameProcess(Number(pid), startedAt)) continue;
    const folder = join(tmpdir(), name);
    const cluster = join(folder, "data", "postgres");
    const postmaster = await readPostmaster(cluster);
    if (postmaster !== undefined) await stopPostmaster(postmaster.pid, cluster, "immediate");
    await rm(folder, { recursive: true, force: true });
  }
}

async function makeTemplate(serverUrl: string): Promise<void> {
  const url = databaseUrl(serverUrl, templateName);
  await onServer(serverUrl, `create database ${templateName}`);
  await migrateDatabase({ url, secret: testSecret });
  await onServer(url, movableClock);
}

/** The address of another database of the same server. */
export function databaseUrl(url: string, name: string): string {
  const result = new URL(url);
  result.pathname = name;
  return result.href;
}

/** Executes statements without parameters on a connection of their own. */
export async function onServer(url: string, statements: string): Promise<void> {
  const client = postgres(url, { max: 1, onnotice: () => {} });
  try {
    await client.unsafe(statements).simple();
  } finally {
    await client.end({ timeout: 5 });
  }
}

/** Makes the clock of a migrated database one that can be moved. */
export const movableClock = `
  create table muster.clock_offset (id int primary key, ahead interval not null);
  insert into muster.clock_offset values (1, interval '0');
  grant select on muster.clock_offset to public;
  create or replace function muster.muster_clock() returns timestamptz language sql stable parallel safe
    as 'select statement_timestamp() + (select ahead from muster.clock_offset)';`;
