import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createIdGenerator } from "../../../../server/domain/ids.ts";
import { openDatabase } from "../../../../server/store/database.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../../../server/store/embedded.ts";
import { readPostmaster, stopPostmaster } from "../../../../server/store/embedded-process.ts";
import { migrateDatabase } from "../../../../server/store/migrate.ts";
import { testCoordinator } from "../../../support/database.ts";
import { testSecret } from "../../../support/postgres.ts";
import { RecordedRun } from "./recorded-run.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-crash-"));
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test("what was acknowledged is there after a crash of the database", { timeout: 60_000 }, async () => {
  const dataDir = join(folder, "data");
  // What no commit flushed stays in the server's memory until it dies.
  const start = () =>
    startEmbeddedPostgres({
      dataDir,
      settings: { wal_writer_delay: "10s" },
      signal: AbortSignal.timeout(30_000),
    });
  const before = await start();
  const urls = await migrateDatabase({ url: before.url, secret: testSecret });
  const database = openDatabase({ urls, appConnections: 1, hotConnections: 1 });
  const newId = createIdGenerator(Date.now);
  const orgId = newId();
  const admin = postgres(before.url, { max: 1, onnotice: () => {} });
  await admin`insert into muster.orgs (org_id, name) values (${orgId}, 'org')`;
  const c = testCoordinator({ database, newId, nowMs: Date.now });
  const run = await RecordedRun.begin({ c, admin }, orgId);
  for (let n = 0; n < 10; n++) await run.submit();
  const cluster = join(before.dataDir, "postgres");
  const postmaster = await readPostmaster(cluster);
  if (!postmaster) throw new Error("it runs");
  await stopPostmaster(postmaster.pid, cluster, "immediate");
  await Promise.all([database.close(), before.stop(), admin.end({ timeout: 1 })]);
  await using after = await startAgain(start);
  const { counts } = await run.verdict(after.admin);
  expect(counts).toMatchObject({ acknowledged: 10, lost: 0, stuck: 10 });
});

async function startAgain(start: () => Promise<EmbeddedPostgres>) {
  const server = await start();
  const admin = postgres(server.url, { max: 1, onnotice: () => {} });
  return {
    admin,
    async [Symbol.asyncDispose]() {
      await admin.end({ timeout: 1 });
      await server.stop();
    },
  };
}
