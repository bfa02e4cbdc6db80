import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { sealAudit, verifyAudit } from "../../server/domain/audit-seals.ts";
import { createBackup, listBackups, restoreBackup, verifyBackup } from "../../server/domain/backups.ts";
import { openBackupPlace } from "../../server/outbound/backup-places.ts";
import { backupTables } from "../../server/store/backups.ts";
import { insertAnything } from "../support/any-row.ts";
import { createTestDatabase, type TestDatabase, testCaller, testCoordinator } from "../support/database.ts";
import { insertJob } from "../support/rows.ts";

const signal = new AbortController().signal;
const how = { signal, told: () => {} };
const keep = { days: 30, count: null };
const whole = { org: null, format: "sql", keep } as const;

let db: TestDatabase;
let folder: string;
let ours: string;
let theirs: string;

beforeAll(async () => {
  db = await createTestDatabase();
  ours = await db.orgId();
  theirs = await db.orgId();
  await db.admin`update muster.orgs set name = 'acme' where org_id = ${ours}`;
  for (const { name } of backupTables.filter((table) => table.name !== "orgs")) {
    for (const org of [ours, theirs]) await insertAnything(db, name, org);
  }
  // What a form of text could break.
  for (const payload of ['{"a":"\\n\\t\\\\"}', "\\.", "tab\there\r\n", "ünïcødé 🦊", "\0\u0001"]) {
    await insertJob(db, ours, { payload, labels: { note: 'a\\b"c\n\t' } });
  }
});
afterAll(() => db.close());

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "muster-backup-test-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const place = () => openBackupPlace({ place: folder, endpoint: undefined, region: "us-east-1" });
const make = (request: Parameters<typeof createBackup>[1] = whole) =>
  createBackup({ sweepUrl: db.urls.muster_sweep, place: place() }, request, how);

/** Rows and a digest of them, by table; what counts transactions of one cluster is left out. */
async function contents(of: TestDatabase, orgId?: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const { name, columns } of backupTables) {
    const shown = columns.filter((column) => !["xid", "last_xid"].includes(column)).map((one) => `"${one}"`);
    const [row] = await of.admin.unsafe(
      `select count(*) || ' ' || coalesce(md5(string_agg(r::text, '|' order by r::text)), '') as all
       from (select ${shown.join(", ")} from muster."${name}" ${orgId ? `where org_id = '${orgId}'` : ""}) r`,
    );
    found[name] = String(row?.["all"]);
  }
  return found;
}

async function into<T>(body: (target: TestDatabase) => Promise<T>): Promise<T> {
  const target = await createTestDatabase();
  try {
    return await body(target);
  } finally {
    await target.close();
  }
}

describe("a backup of the whole database", () => {
  test("has every table of tenants but the feeds of this cluster", async () => {
    const rows = await db.admin<{ name: string }[]>`
      select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id'
      where c.relnamespace = 'muster'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1`;
    const kept = backupTables.map(({ name }) => name);
    expect(rows.map((row) => row.name).filter((name) => !kept.includes(name))).toEqual(["changes", "events"]);
  });

  test("is restored into an empty database as it was, with its epoch above both", async () => {
    const made = await make();
    expect(made).toMatchObject({ org: null, removed: [], place: folder });
    await into(async (target) => {
      const restored = await restoreBackup({ url: target.url, place: place() }, made.name, how);
      expect(await contents(target)).toEqual(await contents(db));
      expect(restored.rows).toBe(made.rows);
      const [cluster] = await target.admin`select epoch::int from muster.cluster`;
      expect(cluster?.["epoch"]).toBe(restored.epoch);
      expect(restored.epoch).toBeGreaterThan(restored.manifest.epoch);
      const bare = await target.admin`
        select relname from pg_class c where relnamespace = 'muster'::regnamespace and relrowsecurity and not relforcerowsecurity`;
      expect(bare).toHaveLength(0);
    });
  });

  test("brings the days of old jobs with it", async () => {
    const source = await createTestDatabase();
    try {
      const org = await source.orgId();
      await source.admin.unsafe(
        `create table muster.jobs_20200101 partition of muster.jobs
         for values from ('016f5e66-e800-0000-0000-000000000000') to ('016f638d-4400-0000-0000-000000000000')`,
      );
      await insertJob(source, org, { jobId: "016f5e66-e800-7000-8000-000000000001" });
      const from = { sweepUrl: source.urls.muster_sweep, place: place() };
      const made = await createBackup(from, whole, how);
      await into(async (target) => {
        await restoreBackup({ url: target.url, place: place() }, made.name, how);
        expect(await target.admin`select job_id from muster.jobs_20200101`).toHaveLength(1);
      });
    } finally {
      await source.close();
    }
  });

  test("shows one moment, whatever is committed meanwhile", async () => {
    const before = await contents(db);
    let late = "";
    const told = (_: number, message: string) => {
      // The first table that has rows: the others are read after it.
      if (late === "" && message.startsWith("orgs")) late = db.newId();
    };
    const writing = createBackup(
      { sweepUrl: db.urls.muster_sweep, place: slowly(place(), () => insertJob(db, ours, { jobId: late })) },
      whole,
      { signal, told },
    );
    const made = await writing;
    await into(async (target) => {
      await restoreBackup({ url: target.url, place: place() }, made.name, how);
      expect(await contents(target)).toEqual(before);
    });
    await db.admin`delete from muster.job_queue where job_id = ${late}`;
    await db.admin`delete from muster.tallies where tally_id > ${late}`;
    await db.admin`delete from muster.jobs where job_id = ${late}`;
  });

  test.skipIf(!existsSync("/usr/bin/psql"))("is restored by psql alone", async () => {
    const made = await make();
    await into(async (target) => {
      const script = `gunzip -c "$1"/*.sql.gz | psql -qX -d "$2"`;
      await promisify(execFile)("sh", ["-c", script, "sh", join(folder, made.name), target.url]);
      expect(await contents(target)).toEqual(await contents(db));
    });
  });

  test("leaves the audit log whole: its chain verifies, and goes on", async () => {
    const source = await createTestDatabase();
    try {
      const org = await source.orgId();
      const insert = (of: TestDatabase, id: string) =>
        insertAnything(of, "audit_log", org, { audit_id: `'${id}'` });
      // Entries are sealed when no older transaction runs, of whichever test.
      const seals = async (of: TestDatabase, count: number) => {
        let sealed = 0;
        const pass = async () => {
          sealed += await sealAudit({ db: of.database }, org, signal);
          return sealed;
        };
        await expect.poll(pass, { timeout: 20_000 }).toBe(count);
      };
      const [first, second, third] = [source.newId(), source.newId(), source.newId()];
      // A commit that overtook another one: ids do not grow with transactions.
      for (const id of [second, first, third]) await insert(source, id);
      await seals(source, 3);
      await insert(source, source.newId());
      const from = { sweepUrl: source.urls.muster_sweep, place: place() };
      const made = await createBackup(from, whole, how);
      await into(async (target) => {
        await restoreBackup({ url: target.url, place: place() }, made.name, how);
        const c = testCoordinator(target);
        await seals(target, 1);
        await insert(target, target.newId());
        await seals(target, 1);
        const check = await verifyAudit(c, testCaller(org), { after: 0, head: "" });
        expect(check).toMatchObject({ problems: [], entries: 5 });
      });
    } finally {
      await source.close();
    }
  });
});

describe("a backup of one org", () => {
  test("is restored beside other orgs, and has nothing of them", async () => {
    const made = await make({ org: "acme", format: "sql", keep });
    await into(async (target) => {
      const other = await target.orgId();
      await insertJob(target, other);
      const before = await contents(target, other);
      await restoreBackup({ url: target.url, place: place() }, made.name, how);
      expect(await contents(target, ours)).toEqual(await contents(db, ours));
      expect(await contents(target, other)).toEqual(before);
      expect(await target.admin`select 1 from muster.orgs`).toHaveLength(2);
    });
  });

  test("is refused where the org is already", async () => {
    const { name } = await make({ org: "acme", format: "sql", keep });
    await expect(restoreBackup({ url: db.url, place: place() }, name, how)).rejects.toMatchObject({
      code: "RESTORE_ORG_EXISTS",
      message: "the database has an org acme already",
    });
  });

  test("of an org that is not there is refused, and leaves nothing", async () => {
    await expect(make({ org: "nobody", format: "sql", keep })).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
      violations: [{ field: "org" }],
    });
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("as JSON lines", () => {
  test("has an object a row, which other programs read", async () => {
    const made = await make({ org: null, format: "jsonl", keep });
    const files = await readdir(join(folder, made.name));
    const jobs = files.find((file) => /-jobs\.jsonl\.gz$/.test(file)) ?? "";
    const rows = gunzipSync(await readFile(join(folder, made.name, jobs)))
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const [stored] = await db.admin`select count(*)::int as rows from muster.jobs`;
    expect(rows).toHaveLength(stored?.["rows"]);
    const labelled = rows.filter((row) => row["labels"] !== null);
    expect(labelled[0]?.["labels"]).toEqual({ note: 'a\\b"c\n\t' });
    const payloads = rows.map((row) => Buffer.from(String(row["payload"]).slice(2), "hex").toString());
    expect(payloads).toEqual(expect.arrayContaining(["ünïcødé 🦊", "tab\there\r\n"]));
    expect((await verifyBackup(place(), made.name, how)).problems).toEqual([]);
    await expect(restoreBackup({ url: db.url, place: place() }, made.name, how)).rejects.toThrow(/jsonl/);
  });
});

describe("what is kept", () => {
  test("is for its owner alone", async () => {
    const { name } = await make();
    expect((await stat(join(folder, name))).mode & 0o777).toBe(0o700);
    for (const file of await readdir(join(folder, name))) {
      expect([file, (await stat(join(folder, name, file))).mode & 0o777]).toEqual([file, 0o600]);
    }
  });

  test("is listed newest first, and verified without a database", async () => {
    const first = await make();
    const second = await make({ org: "acme", format: "sql", keep });
    const listed = await listBackups(place(), signal);
    expect(new Set(listed.map((one) => one.manifest.name))).toEqual(new Set([first.name, second.name]));
    const { problems } = await verifyBackup(place(), first.name, how);
    expect(problems).toEqual([]);
  });

  test("ends with what is too many of its scope, not of others", async () => {
    const org = await make({ org: "acme", format: "sql", keep });
    const first = await make();
    const second = await make({ ...whole, keep: { days: 30, count: 1 } });
    expect([first, second].map((one) => one.removed.length)).toEqual([0, 1]);
    expect(await place().list(signal)).toHaveLength(2);
    expect(await place().list(signal)).toContain(org.name);
  });

  test("is nothing when it is cancelled", async () => {
    const cancelled = new AbortController();
    const told = () => cancelled.abort(new Error("cancelled"));
    const writing = createBackup({ sweepUrl: db.urls.muster_sweep, place: place() }, whole, {
      signal: cancelled.signal,
      told,
    });
    await expect(writing).rejects.toThrow();
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("a backup that is not as it was written", () => {
  const tamper = async (change: (path: string) => Promise<void>) => {
    const { name } = await make();
    const file = (await readdir(join(folder, name))).find((one) => one.endsWith("-workers.sql.gz")) ?? "";
    await change(join(folder, name, file));
    return { name, file };
  };

  test.each([
    ["with other bytes", (path: string) => writeFile(path, "no gzip"), "has other bytes than were written"],
    ["without a file", (path: string) => rm(path), "is missing"],
    [
      "cut short",
      async (path: string) => writeFile(path, (await readFile(path)).subarray(0, -12)),
      "has other bytes than were written",
    ],
  ])("%s is told by verify, and restores nothing", async (_, change, message) => {
    const { name, file } = await tamper(change);
    expect((await verifyBackup(place(), name, how)).problems).toEqual([{ file, message }]);
    await into(async (target) => {
      await expect(restoreBackup({ url: target.url, place: place() }, name, how)).rejects.toThrow();
      expect(await target.admin`select 1 from muster.orgs`).toHaveLength(0);
    });
  });

  test("with a manifest that leads to other statements is refused", async () => {
    const { name } = await make();
    const path = join(folder, name, "manifest.json");
    const manifest = (await readFile(path, "utf8")).replace('"table": "workers"', '"table": "x; drop"');
    await writeFile(path, manifest);
    await expect(verifyBackup(place(), name, how)).rejects.toThrow(/not one of this form/);
    await writeFile(path, "{");
    await expect(verifyBackup(place(), name, how)).rejects.toThrow(/not JSON/);
  });

  test("of another schema is refused, and says which version restores it", async () => {
    const { name } = await make();
    const path = join(folder, name, "manifest.json");
    const manifest = JSON.parse(await readFile(path, "utf8")) as { schema: number };
    await writeFile(path, JSON.stringify({ ...manifest, schema: 1, version: "0.0.9" }));
    await expect(restoreBackup({ url: db.url, place: place() }, name, how)).rejects.toMatchObject({
      code: "RESTORE_SCHEMA",
      suggestion: expect.stringContaining("Restore it with Muster 0.0.9"),
    });
  });

  test.each(["../../etc", "muster-x", "muster-20260101T000000Z-all-000000"])(
    "has no such name as %s",
    async (name) => {
      await expect(verifyBackup(place(), name, how)).rejects.toMatchObject({ reason: "VALIDATION_FAILED" });
    },
  );

  test("is not restored into a database that has something", async () => {
    const { name } = await make();
    await into(async (target) => {
      await target.orgId();
      await expect(restoreBackup({ url: target.url, place: place() }, name, how)).rejects.toMatchObject({
        code: "RESTORE_NOT_EMPTY",
        message: "the database is not empty: its table orgs has rows",
      });
    });
  });
});

/** A place that does something once its first file is written. */
function slowly(of: ReturnType<typeof place>, then: () => Promise<unknown>): ReturnType<typeof place> {
  let isDone = false;
  return {
    ...of,
    async write(...given) {
      const written = await of.write(...given);
      if (!isDone && given[1].includes("orgs")) {
        isDone = true;
        await then();
      }
      return written;
    },
  };
}
