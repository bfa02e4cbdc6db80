import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { migrateDatabase } from "../../server/store/migrate.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { databaseUrl, onServer, testSecret } from "../support/postgres.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

describe("a migration", () => {
  test("may be run by many coordinators at once, and again", async () => {
    const name = `migrate_${randomUUID().replaceAll("-", "")}`;
    const server = inject("postgresUrl");
    await onServer(server, `create database ${name}`);
    const url = databaseUrl(server, name);
    const all = await Promise.all(
      Array.from({ length: 4 }, () => migrateDatabase({ url, secret: testSecret })),
    );
    expect(new Set(all.map((urls) => urls.muster_hot)).size).toBe(1);
    const hot = postgres(all[0]?.muster_hot ?? "", { max: 1 });
    const [setting] = await hot`select current_setting('enable_nestloop') as nestloop`;
    expect(setting?.["nestloop"]).toBe("off");
    await hot.end();
    await onServer(server, `drop database ${name} with (force)`);
  });

  test("refuses another secret than the one that the roles of the server derive from", async () => {
    await expect(migrateDatabase({ url: db.url, secret: "another secret" })).rejects.toMatchObject({
      code: "SECRET_MISMATCH",
      suggestion: expect.stringContaining("MUSTER_SECRET"),
    });
    // Nobody was locked out.
    await db.database.hot.use(async ({ sql }) => await sql`select 1`);
  });

  test("refuses a schema that is newer than this version", async () => {
    await db.admin`insert into muster.migrations (hash, created_at) values ('later', 1), ('later still', 2)`;
    await expect(migrateDatabase({ url: db.url, secret: testSecret })).rejects.toMatchObject({
      code: "SCHEMA_TOO_NEW",
    });
    await db.admin`delete from muster.migrations where created_at in (1, 2)`;
  });
});

const oldest = "/usr/lib/postgresql/15/bin";

describe.skipIf(!existsSync(oldest) || process.getuid?.() !== 0)("the oldest supported Postgres", () => {
  test("takes the schema and runs the hot statements", async () => {
    const folder = await mkdtemp(join(tmpdir(), "muster-pg15-"));
    const port = await freePort();
    const as = (command: string, ...parameters: string[]) =>
      spawnSync(join(oldest, command), parameters, {
        uid: 65_534,
        gid: 65_534,
        cwd: folder,
        encoding: "utf8",
      });
    spawnSync("chown", ["-R", "65534:65534", folder]);
    const data = join(folder, "data");
    expect(as("initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync").status).toBe(0);
    const options = `-p ${port} -k ${folder} -c listen_addresses=127.0.0.1 -c fsync=off`;
    expect(as("pg_ctl", "-D", data, "-w", "-l", join(folder, "log"), "-o", options, "start").status).toBe(0);
    try {
      const url = `postgres://postgres:x@127.0.0.1:${port}/postgres`;
      await migrateDatabase({ url, secret: testSecret });
      const { startTestServer } = await import("../support/coordinator.ts");
      const muster = await startTestServer({ databaseUrl: url });
      const { JobService } = await import("@muster/client/v1/job_service");
      const { JobState } = await import("@muster/client/v1/job");
      await muster.startWorker({ handlers: { old: () => "fine" } });
      const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "old" } });
      expect((await muster.reach(jobId, JobState.SUCCEEDED)).attempt).toBe(1);
      await muster.close();
    } finally {
      as("pg_ctl", "-D", data, "-m", "immediate", "stop");
      await rm(folder, { recursive: true, force: true });
    }
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const bound = server.address();
      server.close(() => resolve(typeof bound === "object" && bound ? bound.port : 0));
    });
  });
}
