import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keepOrgToPolicy } from "../../server/domain/org-retention.ts";
import type { RetentionPolicy } from "../../server/domain/retention.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { dayLabel, lowestUuid, partitionOf } from "../../server/store/partitions.ts";
import { insertAnything } from "../support/any-row.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

let db: TestDatabase;
let org: string;
let other: string;
const deleted: string[] = [];

beforeEach(async () => {
  db = await createTestDatabase();
  [org, other] = [await db.orgId(), await db.orgId()];
  deleted.splice(0);
});
afterEach(() => db.close());

const run = (asked: Partial<RetentionPolicy> = {}) =>
  keepOrgToPolicy(
    { db: db.database, artifacts: { delete: async ({ artifactId }) => void deleted.push(artifactId) } },
    org,
    { jobsDays: 90, logsDays: null, isDryRun: false, ...asked },
    { signal: new AbortController().signal, told: () => {} },
  );

/** A day so long ago, with its partitions. */
async function day(daysAgo: number): Promise<{ label: string; date: string; jobId: (n: number) => string }> {
  const time = new Date(db.nowMs() - daysAgo * 86_400_000);
  const label = dayLabel(time);
  for (const table of ["jobs", "attempts", "log_chunks"]) {
    await db.admin.unsafe(`set role muster_owner; ${partitionOf(table, label)}; reset role`);
  }
  const noon = new Date(Math.floor(time.getTime() / 86_400_000) * 86_400_000 + 43_200_000);
  return {
    label,
    date: time.toISOString().slice(0, 10),
    jobId: (n) => `${lowestUuid(noon).slice(0, 14)}7000-8000-${String(n).padStart(12, "0")}`,
  };
}

const tablesOfJobs = [
  ["attempts", "job_id"],
  ["dead_letters", "job_id"],
  ["late_results", "job_id"],
  ["artifacts", "job_id"],
  ["log_chunks", "job_id"],
  ["job_keys", "target_id"],
  ["jobs", "job_id"],
] as const;

/** A job that has ended, with something in every table that keeps of it. */
async function ended(of: string, { jobId, date }: Awaited<ReturnType<typeof day>>, n: number): Promise<void> {
  const id = jobId(n);
  await insertJob(db, of, { jobId: id, state: JobState.succeeded });
  await insertAttempt(db, of, id, { outcome: Outcome.succeeded, state: JobState.succeeded });
  for (const table of ["dead_letters", "late_results", "artifacts"]) {
    await insertAnything(db, table, of, { job_id: `'${id}'` });
  }
  await insertAnything(db, "log_chunks", of, { job_id: `'${id}'`, day: `'${date}'` });
  await insertAnything(db, "job_keys", of, { type: "'external'", key: `'e${n}'`, target_id: `'${id}'` });
  await db.admin`update muster.jobs set external_id = ${`e${n}`} where job_id = ${id}`;
}

/** Resolves when some statement waits for another's row. */
async function waitsForRow({ admin }: TestDatabase): Promise<void> {
  for (;;) {
    const [row] = await admin`select count(*)::int as count from pg_locks where not granted`;
    if (Number(row?.["count"]) > 0) return;
  }
}

const kept = async (table: string, column: string, of: string): Promise<string[]> => {
  const rows = await db.admin.unsafe(
    `select ${column} as id from muster.${table} where org_id = '${of}' order by 1`,
  );
  return rows.map((row) => String(row["id"]));
};

describe("retention of one org", () => {
  test("removes its own jobs that are older, with all that is kept of them, and nothing of another org", async () => {
    const [old, young] = [await day(100), await day(80)];
    for (const of of [org, other]) {
      await ended(of, old, of === org ? 1 : 3);
      await ended(of, young, of === org ? 2 : 4);
    }
    const result = await run();
    expect(result).toEqual({
      isDryRun: false,
      dropped: [{ table: "jobs", day: old.label, rows: 1 }],
      kept: [],
      files: 1,
    });
    for (const [table, column] of tablesOfJobs) {
      expect([table, await kept(table, column, org)]).toEqual([table, [young.jobId(2)]]);
      expect([table, await kept(table, column, other)]).toEqual([table, [old.jobId(3), young.jobId(4)]]);
    }
    expect(deleted).toHaveLength(1);
    expect((await run()).dropped).toEqual([]);
  });

  test("leaves jobs of the org that live, whatever lives in others, and says why", async () => {
    const [live, free] = [await day(120), await day(100)];
    await ended(org, live, 1);
    await insertJob(db, org, { jobId: live.jobId(2), state: JobState.parked });
    await ended(org, free, 3);
    await insertJob(db, other, { jobId: free.jobId(4), state: JobState.parked });
    const result = await run();
    expect(result.kept).toEqual([{ table: "jobs", day: live.label, why: "a job of it has not ended" }]);
    expect(result.dropped).toEqual([live, free].map(({ label }) => ({ table: "jobs", day: label, rows: 1 })));
    expect(await kept("jobs", "job_id", org)).toEqual([live.jobId(2)]);
  });

  test("removes logs earlier than their jobs, where it is asked to", async () => {
    const [old, young] = [await day(20), await day(5)];
    for (const of of [org, other]) {
      await ended(of, old, of === org ? 1 : 3);
      await ended(of, young, of === org ? 2 : 4);
    }
    const asked = { logsDays: 10 };
    const dropped = [{ table: "log_chunks", day: old.label, rows: 1 }];
    expect(await run({ ...asked, isDryRun: true })).toMatchObject({ isDryRun: true, dropped });
    expect(await kept("log_chunks", "job_id", org)).toHaveLength(2);
    expect((await run(asked)).dropped).toEqual(dropped);
    expect(await kept("log_chunks", "job_id", org)).toEqual([young.jobId(2)]);
    expect(await kept("log_chunks", "job_id", other)).toHaveLength(2);
    expect(await kept("jobs", "job_id", org)).toHaveLength(2);
  });

  test("leaves a job that somebody gives another run in this moment", async () => {
    const old = await day(100);
    await ended(org, old, 1);
    await ended(org, old, 2);
    const running = await db.admin.begin(async (replay) => {
      await replay`select from muster.jobs where job_id = ${old.jobId(1)} for no key update`;
      const retaining = run();
      await waitsForRow(db);
      await replay`insert into muster.job_queue (org_id, job_id, shape_id, points, reclaim_after_ms, lease_ttl_ms,
        state, priority) values (${org}, ${old.jobId(1)}, 1, 1, 1, 1, ${JobState.ready}, 128)`;
      return { retaining };
    });
    expect(await running.retaining).toMatchObject({
      dropped: [{ table: "jobs", day: old.label, rows: 1 }],
      kept: [{ table: "jobs", day: old.label, why: "a job of it has not ended" }],
    });
    expect(await kept("jobs", "job_id", org)).toEqual([old.jobId(1)]);
  });

  test("says what would go in a dry run, and removes nothing", async () => {
    const old = await day(100);
    await ended(org, old, 1);
    expect(await run({ isDryRun: true })).toMatchObject({
      isDryRun: true,
      dropped: [{ table: "jobs", day: old.label, rows: 1 }],
    });
    expect(await kept("artifacts", "job_id", org)).toHaveLength(1);
    expect(deleted).toEqual([]);
  });
});
