import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { keepToPolicy, type RetentionPolicy } from "../../server/domain/retention.ts";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { dayLabel, lowestUuid, partitionOf } from "../../server/store/partitions.ts";
import { insertAnything } from "../support/any-row.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

let db: TestDatabase;
let org: string;
const deleted: string[] = [];

beforeEach(async () => {
  db = await createTestDatabase();
  org = await db.orgId();
  deleted.splice(0);
});
afterEach(() => db.close());

const policy = { jobsDays: 90, logsDays: null, isDryRun: false };
const run = (asked: Partial<RetentionPolicy> = {}) =>
  keepToPolicy(
    {
      ownerUrl: db.url,
      sweepUrl: db.urls.muster_sweep,
      artifacts: { delete: async ({ artifactId }) => void deleted.push(artifactId) },
    },
    { ...policy, ...asked },
    { signal: new AbortController().signal, told: () => {} },
  );

/** A day so long ago, with its partitions. */
async function day(daysAgo: number): Promise<{ label: string; jobId: (n: number) => string }> {
  const time = new Date(db.nowMs() - daysAgo * 86_400_000);
  const label = dayLabel(time);
  for (const table of ["jobs", "attempts", "log_chunks"]) {
    await db.admin.unsafe(`set role muster_owner; ${partitionOf(table, label)}; reset role`);
  }
  const noon = new Date(Math.floor(time.getTime() / 86_400_000) * 86_400_000 + 43_200_000);
  return {
    label,
    jobId: (n) => `${lowestUuid(noon).slice(0, 14)}7000-8000-${String(n).padStart(12, "0")}`,
  };
}

async function ended(jobId: string, of = org): Promise<void> {
  await insertJob(db, of, { jobId, state: JobState.succeeded });
  await insertAttempt(db, of, jobId, { outcome: Outcome.succeeded, state: JobState.succeeded });
}

async function days(): Promise<string[]> {
  const rows = await db.admin`
    select relname::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where nspname = 'muster' and relkind = 'r' and relname ~ '^(jobs|attempts|log_chunks)_' order by 1`;
  const young = dayLabel(new Date(db.nowMs() - 10 * 86_400_000));
  return rows.map((row) => String(row["name"])).filter((name) => name.slice(-8) < young);
}

describe("maintenance.retention", () => {
  test("drops the days that are older, with all that is kept of their jobs, and no other", async () => {
    const [old, young] = [await day(100), await day(80)];
    for (const { jobId } of [old, young]) {
      await ended(jobId(1));
      for (const table of ["dead_letters", "late_results", "artifacts"]) {
        await insertAnything(db, table, org, { job_id: `'${jobId(1)}'` });
      }
      const key = { type: "'external'", target_id: `'${jobId(1)}'` };
      await insertAnything(db, "job_keys", org, key);
    }
    const result = await run();
    expect(result).toMatchObject({ isDryRun: false, kept: [], files: 1 });
    expect(result.dropped.map(({ table, day: of }) => `${table}_${of}`).sort()).toEqual([
      `attempts_${old.label}`,
      `jobs_${old.label}`,
      `log_chunks_${old.label}`,
    ]);
    expect(await days()).toEqual([
      `attempts_${young.label}`,
      `jobs_${young.label}`,
      `log_chunks_${young.label}`,
    ]);
    expect(deleted).toHaveLength(1);
    for (const [table, column] of [
      ["dead_letters", "job_id"],
      ["late_results", "job_id"],
      ["artifacts", "job_id"],
      ["job_keys", "target_id"],
    ]) {
      const rows = await db.admin.unsafe(`select ${column} as id from muster.${table}`);
      expect([table, ...rows.map((row) => row["id"])]).toEqual([table, young.jobId(1)]);
    }
  });

  test("leaves a day that something lives in, of whichever org, and says why", async () => {
    const [live, needed, free] = [await day(120), await day(110), await day(100)];
    const other = await db.orgId();
    await insertJob(db, other, { jobId: live.jobId(1), state: JobState.parked });
    await ended(needed.jobId(1));
    const { jobId: child } = await insertJob(db, org, { state: JobState.blocked });
    await db.admin`update muster.jobs set depends_on = ${[needed.jobId(1)]}::uuid[] where job_id = ${child}`;
    const result = await run();
    const kept = result.kept.filter(({ table }) => table === "jobs").map(({ day: of, why }) => [of, why]);
    expect(kept).toEqual([
      [live.label, "a job of it has not ended"],
      [needed.label, "a job that waits depends on one of it"],
    ]);
    const left = await days();
    expect(left).toEqual(expect.arrayContaining([`jobs_${live.label}`, `log_chunks_${live.label}`]));
    expect(left).not.toContain(`jobs_${free.label}`);
  });

  test("says what would go in a dry run, and drops nothing", async () => {
    const old = await day(100);
    await ended(old.jobId(1));
    const before = await days();
    const result = await run({ isDryRun: true });
    expect(result.dropped.map(({ table }) => table)).toEqual(["attempts", "jobs", "log_chunks"]);
    expect(await days()).toEqual(before);
  });

  test("lets logs go before their jobs where the policy says so", async () => {
    const young = await day(20);
    await ended(young.jobId(1));
    expect((await run({ logsDays: 7 })).dropped).toMatchObject([{ table: "log_chunks", day: young.label }]);
    expect(await days()).toEqual([`attempts_${young.label}`, `jobs_${young.label}`]);
  });

  test("brings a day back whose job was given another run while it was taken out", async () => {
    const old = await day(100);
    await ended(old.jobId(1));
    const revive = db.admin.begin(async (tx) => {
      // Whoever reads the day holds the detach up; then its job lives again.
      await tx.unsafe(`select 1 from muster.jobs where job_id = '${old.jobId(1)}'`);
      const running = run();
      await waitUntilDetaching();
      await db.admin`insert into muster.job_queue (org_id, job_id, shape_id, points, reclaim_after_ms, lease_ttl_ms,
        state, priority) values (${org}, ${old.jobId(1)}, 1, 1, 30000, 14400000, 6, 128)`;
      return { running };
    });
    const { running } = await revive;
    const result = await running;
    expect(result.kept).toMatchObject([
      { why: "a job of it has not ended" },
      { why: "a job of it has not ended" },
    ]);
    expect(await db.admin`select 1 from muster.jobs where job_id = ${old.jobId(1)}`).toHaveLength(1);
  });

  test("finishes what another pass left", async () => {
    const old = await day(100);
    await db.admin.unsafe(`alter table muster.jobs detach partition muster.jobs_${old.label}`);
    await run();
    expect(await days()).toEqual([]);
  });
});

async function waitUntilDetaching(): Promise<void> {
  for (;;) {
    const rows = await db.admin`select 1 from pg_stat_activity
      where query like 'alter table muster.jobs detach%' and wait_event_type = 'Lock'`;
    if (rows.length > 0) return;
  }
}
