import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { KeyService } from "@muster/client/v1/key_service";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startOwnWorker } from "../../tui/commands/own-worker.ts";
import { failure } from "../rpc/api.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { createTestDatabase } from "../support/database.ts";
import { runCli } from "../tui/run-cli.ts";

let folder: string;
let muster: TestServer;
const ends: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-backup-flow-"));
  ends.push(() => rm(folder, { recursive: true, force: true }));
  muster = await startTestServer({ backupPlace: folder });
  ends.push(() => muster.close());
  const own = startOwnWorker(
    muster.server,
    {
      kinds: true,
      githubApiUrl: "http://127.0.0.1:1",
      githubToken: undefined,
      githubTokenOrgs: [],
      outboundAllow: [],
    },
    { now: Date.now, stderr: new PassThrough() },
  );
  ends.push(() => own.stop());
});
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const cli = (argv: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  runCli(argv, {
    env: { HOME: folder, MUSTER_ADDRESS: muster.server.apiAddress, MUSTER_API_KEY: muster.key, ...env },
  });
const place = () => ["--backup-place", folder];

describe("muster backup", () => {
  test("creates by a job, lists, verifies and restores", async () => {
    const jobs = muster.client(JobService);
    const { jobId } = await jobs.submitJob({ job: { kind: "kept.for.later", title: "nobody runs it" } });
    const created = await cli(["backup", "create", "--keep-count", "5"]);
    expect(created).toMatchObject({ exitCode: 0 });
    const { name } = JSON.parse(created.stdout) as { name: string };

    const listed = await cli(["backup", "list", ...place(), "--json"]);
    expect(JSON.parse(listed.stdout)).toMatchObject([{ name, org: null, orgs: 1, format: "sql" }]);
    expect((await cli(["backup", "list", ...place()])).stdout).toContain(name);

    const verified = await cli(["backup", "verify", name, ...place()]);
    expect(verified).toMatchObject({ exitCode: 0, stdout: "" });

    const target = await createTestDatabase();
    try {
      const env = {
        DATABASE_URL: target.url,
        MUSTER_DATABASE_APP_URL: target.urls.muster_app,
        MUSTER_DATABASE_HOT_URL: target.urls.muster_hot,
        MUSTER_DATABASE_SWEEP_URL: target.urls.muster_sweep,
        MUSTER_SECRET: "s".repeat(40),
      };
      const dryRun = ["backup", "restore", name, ...place(), "--dry-run", "--json"];
      const free = await cli(dryRun, env);
      expect(free).toMatchObject({ exitCode: 0 });
      expect(JSON.parse(free.stdout)).toMatchObject({
        ...{ name, org: null, orgs: 1, obstacles: [] },
        tables: expect.arrayContaining([
          { table: "jobs", rows: expect.any(Number), sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
        ]),
      });
      const asked = await cli(["backup", "restore", name, ...place()], env);
      expect(asked).toMatchObject({ exitCode: 2 });
      expect(asked.stderr).toContain(`--confirm ${name}`);
      const restored = await cli(["backup", "restore", name, ...place(), "--confirm", name, "--json"], env);
      expect(restored).toMatchObject({ exitCode: 0 });
      expect(JSON.parse(restored.stdout)).toMatchObject({ name, org: null });
      const rows = await target.admin`select title from muster.jobs where title = 'nobody runs it'`;
      expect(rows).toHaveLength(1);
      const taken = await cli(dryRun, env);
      expect(taken).toMatchObject({ exitCode: 11 });
      expect(JSON.parse(taken.stdout)).toMatchObject({ obstacles: [{ code: "RESTORE_NOT_EMPTY" }] });
      const again = await cli(["backup", "restore", name, ...place(), "--confirm", name], env);
      expect(again).toMatchObject({ exitCode: 5 });
      expect(again.stderr).toContain("the database is not empty");
    } finally {
      await target.close();
    }
    await jobs.cancelJob({ jobId, reason: "over" });
  });

  test("says what is broken, and exits with 11", async () => {
    const created = await cli(["backup", "create", "--format", "jsonl"]);
    const { name } = JSON.parse(created.stdout) as { name: string };
    const [file = ""] = (await readdir(join(folder, name))).filter((one) => one.includes("workers"));
    await writeFile(join(folder, name, file), "x");
    const verified = await cli(["backup", "verify", name, ...place()]);
    expect(verified.exitCode).toBe(11);
    expect(verified.stdout).toContain(`${file} has other bytes than were written`);
    const unknown = await cli(["backup", "verify", "muster-20200101T000000Z-all-000000", ...place()]);
    expect(unknown.exitCode).toBe(5);
    expect(unknown.stderr).toContain("muster backup list");
  });

  test("ends a job with a payload that is not one, naming all that is wrong", async () => {
    const jobs = muster.client(JobService);
    const payload = { content: { case: "data" as const, value: Buffer.from('{"keepDays":0,"formt":"x"}') } };
    const { jobId } = await jobs.submitJob({ job: { kind: "maintenance.backup", payload } });
    const dead = await muster.reach(jobId, JobState.DEAD);
    expect(dead.error?.code).toBe("PAYLOAD_INVALID");
    expect(dead.error?.message).toMatch(/keepDays: .*; .*formt/);
  });

  test("is for who keeps the installation: a key that may submit, and an admin of an org, may not", async () => {
    const keys = muster.client(KeyService);
    for (const scopes of [["submit"], ["admin"]]) {
      const made = await keys.createKey({ name: `a key ${scopes}`, scopes });
      const jobs = createMusterClient(JobService, { address: muster.server.apiAddress, key: made.text });
      const refused = await failure(jobs.submitJob({ job: { kind: "maintenance.backup" } }));
      expect(refused.detail?.reason).toBe("SCOPE_MISSING");
    }
  });
});
