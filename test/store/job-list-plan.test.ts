import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createJobCountsReader } from "../../server/domain/job-counts.ts";
import { readJobFilterText } from "../../server/domain/job-lists.ts";
import type { Tx } from "../../server/store/database.ts";
import { sql } from "../../server/store/drizzle.ts";
import { anyJob, type JobFilter, readJobIds, readMatchingIds } from "../../server/store/job-lists.ts";
import { readOrgByIndex } from "../../server/store/snapshot.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

/*
 * An org with 200,000 jobs, of which all but a few wait; what a page reads is counted by the database itself.
 */
const jobCount = 200_000;

let db: TestDatabase;
let orgId: string;
let parked: string;

beforeAll(async () => {
  db = await createTestDatabase();
  orgId = await db.orgId();
  const others = await db.orgId();
  // Ids that grow, made now, as UUIDv7 are.
  const time = Date.now().toString(16).padStart(12, "0");
  const start = `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-`;
  const id = `('${start}' || lpad(to_hex(n), 12, '0'))::uuid`;
  for (const [org, count] of [
    [orgId, jobCount],
    [others, 20_000],
  ] as const) {
    await db.admin.unsafe(`
      insert into muster.jobs (org_id, job_id, points, lease_ttl_ms, reclaim_after_ms, max_attempts, backoff_initial_ms,
        backoff_max_ms, backoff_factor, priority, exclusive, at_most_once, opens_pull_request, kind, queue, title,
        payload, submitted_by)
      select '${org}', ${id}, 1, 1, 1, 3, 1, 1, 2, 128, false, false, true, 'k' || n % 10, 'default', 'a job', '{}', 'x'
      from generate_series(1, ${count}) n`);
    await db.admin.unsafe(`
      insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state,
        priority, worker_id, lease_id)
      select '${org}', ${id}, 1, now(), 1, 1, 1, case when n % 50000 = 7 then 6 when n % 40000 = 9 then 5 else 3 end,
        128, case when n % 40000 = 9 then gen_random_uuid() end, case when n % 40000 = 9 then gen_random_uuid() end
      from generate_series(1, ${count}) n`);
  }
  parked = `${start}000000000007`;
}, 120_000);
afterAll(() => db.close());

const filterOf = (text: string): JobFilter => ({ ...anyJob, terms: readJobFilterText(text) });

/** Rows that a read touched, by index and by scans of whole tables. */
async function touched(read: (tx: Tx) => Promise<unknown>) {
  return readOrgByIndex(db.database.app, orgId, async (tx) => {
    const counters = async () => {
      const [row] = await tx.execute<{ indexed: number; scanned: number }>(sql`
        select sum(coalesce(idx_tup_fetch, 0))::int as indexed, sum(seq_tup_read)::int as scanned
        from pg_stat_xact_user_tables
        where relname = 'job_queue' or relname like 'jobs%' or relname like 'attempts%' or relname = 'dead_letters'`);
      return { indexed: row?.indexed ?? 0, scanned: row?.scanned ?? 0 };
    };
    const before = await counters();
    const result = await read(tx);
    const after = await counters();
    return { result, indexed: after.indexed - before.indexed, scanned: after.scanned - before.scanned };
  });
}

describe.each(["without statistics", "with statistics"])("a list of %s", (statistics) => {
  beforeAll(async () => {
    if (statistics === "with statistics")
      await db.admin`analyze muster.jobs, muster.job_queue, muster.attempts`;
  }, 60_000);

  test.each([
    ["", 500],
    ["state:parked", 500],
    ["state:parked,scheduled,blocked", 500],
    ["state:running", 500],
    ["state:ready kind:k3", 5_000],
    ["kind:k3", 5_000],
    ["fingerprint:*", 500],
    ["external:shot-1", 500],
    ["worker:nobody", 500],
    ["age<1h", 500],
  ])("%j reads what it shows and little more", async (text, most) => {
    for (const direction of ["newest-first", "oldest-first"] as const) {
      const { indexed, scanned } = await touched((tx) =>
        readJobIds(tx, orgId, filterOf(text), { direction, after: null, limit: 50 }),
      );
      expect({ text, scanned }).toEqual({ text, scanned: 0 });
      expect(indexed).toBeLessThan(most);
    }
  });

  test("whose matches are rare ends at its bound", async () => {
    const { result, indexed, scanned } = await touched((tx) =>
      readJobIds(tx, orgId, filterOf("kind:none"), { after: null, limit: 50, mostExamined: 10_000 }),
    );
    expect(result).toMatchObject({ ids: [], next: expect.any(String) });
    expect(scanned).toBe(0);
    // The rows, and the run of each that may match.
    expect(indexed).toBeLessThan(60_000);
  });

  test("reads of changed jobs those alone", async () => {
    const { result, indexed, scanned } = await touched((tx) =>
      readMatchingIds(tx, orgId, filterOf("state:parked"), [parked]),
    );
    expect(result).toEqual([parked]);
    expect(scanned).toBe(0);
    expect(indexed).toBeLessThan(20);
  });
});

test("a count without conditions reads no job, and one with conditions is bounded", async () => {
  const counts = createJobCountsReader({ db: db.database });
  expect((await counts.countJobs(orgId, anyJob)).isAtLeast).toBe(false);
  const { isAtLeast, states } = await counts.countJobs(orgId, filterOf("kind:k3"));
  expect(isAtLeast).toBe(true);
  expect(states.reduce((sum, { count }) => sum + count, 0)).toBeLessThan(20_000);
});
