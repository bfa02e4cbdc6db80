import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Tx } from "../../server/store/database.ts";
import { sql } from "../../server/store/drizzle.ts";
import { anyJob, type JobFilter } from "../../server/store/job-lists.ts";
import {
  countAhead,
  countReady,
  firstReady,
  oldestReady,
  readReadyLines,
  readReadyShapes,
} from "../../server/store/ready-lines.ts";
import { readRunnableIds } from "../../server/store/runnable-jobs.ts";
import { readOrgByIndex } from "../../server/store/snapshot.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertShape, insertShaped, shapeOf } from "../support/routed-rows.ts";

let db: TestDatabase;
let orgId: string;
const [one, two] = [shapeOf({ kind: "one" }), shapeOf({ kind: "two" })];
const ids = [one.shapeId, two.shapeId];
const many = 10_000;

// Two lines with ten priorities each, the oldest at the end.
beforeAll(async () => {
  db = await createTestDatabase();
  // Statistics are what a test sets, whenever the daemon would come.
  await db.admin`alter table muster.job_queue set (autovacuum_enabled = false)`;
  orgId = await db.orgId();
  for (const shape of [one, two]) {
    await insertShape(db, orgId, shape);
    await db.admin`
      insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority)
      select ${orgId}, gen_random_uuid(), ${shape.shapeId.toString()}, now() - (10 - n % 10) * interval '1 hour', 1, 30000,
        14400000, 3, 100 + n % 10 from generate_series(1, ${many}) n`;
  }
});
afterAll(() => db.close());

/** Runs a read, and answers how many rows of the queue it looked at, and how many of them by a scan of the table. */
async function looked(read: (tx: Tx) => Promise<unknown>): Promise<{ indexed: number; scanned: number }> {
  return readOrgByIndex(db.database.app, orgId, async (tx) => {
    const rows = () =>
      tx.execute<{ indexed: number; scanned: number }>(sql`
        select coalesce(idx_tup_fetch, 0)::int as indexed, seq_tup_read::int as scanned
        from pg_stat_xact_user_tables where relname = 'job_queue'`);
    const [before] = await rows();
    await read(tx);
    const [after] = await rows();
    if (before === undefined || after === undefined) throw new Error("there is no such table");
    return { indexed: after.indexed - before.indexed, scanned: after.scanned - before.scanned };
  });
}

const none: JobFilter = anyJob;

const reads: readonly (readonly [
  name: string,
  most: number,
  read: (tx: Tx, jobId: string) => Promise<unknown>,
])[] = [
  ["the shapes", 10, (tx) => readReadyShapes(tx, orgId, 100)],
  ["the lines", 12, (tx) => readReadyLines(tx, orgId, 100)],
  ["the oldest", 30, (tx) => oldestReady(tx, orgId, ids)],
  ["a count", 250, (tx) => countReady(tx, orgId, ids, 100)],
  ["the first", 25, (tx) => firstReady(tx, orgId, ids, 10)],
  // Those ahead are few; those behind it in the same lines are very many.
  ["a count of those ahead", 130, (tx, jobId) => countAhead(tx, orgId, { shapeIds: ids, jobId, most: 100 })],
  [
    "a page of what is runnable",
    300,
    (tx, jobId) =>
      readRunnableIds(tx, orgId, none, {
        shapeIds: ids,
        after: { priority: 104, readyAtMicros: "0", jobId },
        limit: 50,
      }),
  ],
];

describe.each(["no", "stale", "full"] as const)("with %s statistics", (statistics) => {
  beforeAll(async () => {
    if (statistics === "no") return;
    await db.admin`analyze muster.job_queue`;
    if (statistics === "full") return;
    await db.admin`
      insert into muster.job_queue (org_id, job_id, shape_id, ready_at, points, reclaim_after_ms, lease_ttl_ms, state, priority)
      select ${orgId}, gen_random_uuid(), ${one.shapeId.toString()}, now(), 1, 30000, 14400000, 3, 90
      from generate_series(1, ${many})`;
  });

  test.each(reads)("%s looks at a few rows of very many", async (_, most, read) => {
    const jobId = await insertShaped(db, orgId, { shape: one, priority: 129, readyForMs: 60_000 });
    const { indexed, scanned } = await looked((tx) => read(tx, jobId));
    expect(scanned).toBe(0);
    expect(indexed).toBeGreaterThan(0);
    expect(indexed).toBeLessThanOrEqual(most);
  });
});

test("the oldest of a line is found in whatever priority it is", async () => {
  const found = await readOrgByIndex(db.database.app, orgId, (tx) => oldestReady(tx, orgId, [...ids, 1n]));
  expect([...found.keys()].sort()).toEqual([...ids].sort());
  const ageMs = Date.now() - (found.get(one.shapeId)?.getTime() ?? 0);
  expect(Math.round(ageMs / 3_600_000)).toBe(10);
});

test("the counts and the first keep the order of the shapes that are asked for", async () => {
  const three = shapeOf({ kind: "three" });
  const jobId = await insertShaped(db, orgId, { shape: three });
  const [counts, first] = await readOrgByIndex(db.database.app, orgId, async (tx) => [
    await countReady(tx, orgId, [three.shapeId, 1n, one.shapeId], 50),
    await firstReady(tx, orgId, [three.shapeId, one.shapeId], 3),
  ]);
  expect(counts).toEqual([1, 0, 50]);
  expect(first.get(three.shapeId)).toEqual([jobId]);
  expect(first.get(one.shapeId)).toHaveLength(3);
});
