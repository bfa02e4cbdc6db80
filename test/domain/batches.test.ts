import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getBatch, listBatches } from "../../server/domain/batches.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { insertJob } from "../support/rows.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

/** A batch of jobs with these live states, after which so many others have ended. */
async function insertBatch(
  orgId: string,
  live: readonly JobState[],
  ended = { succeeded: 0, cancelled: 0, dead: 0 },
) {
  const batchId = db.newId();
  const first = db.newId();
  for (const state of live) {
    const isLeased = state === JobState.running;
    const worker = isLeased ? { worker: { workerId: db.newId() } } : {};
    await insertJob(db, orgId, { state, batchId, ...worker });
    // A job of nobody's between them.
    await insertJob(db, orgId);
  }
  const { succeeded, cancelled, dead } = ended;
  await db.admin`insert into muster.batches (org_id, batch_id, title, first_job_id, last_job_id, total, pending,
    succeeded, cancelled, dead) values (${orgId}, ${batchId}, 'nightly', ${first}, ${db.newId()},
    ${live.length + succeeded + cancelled + dead}, ${live.length}, ${succeeded}, ${cancelled}, ${dead})`;
  return batchId;
}

describe("reading a batch", () => {
  test("counts its jobs by state", async () => {
    const orgId = await db.orgId();
    const { ready, running, scheduled } = JobState;
    const live = [ready, running, ready, scheduled];
    const batchId = await insertBatch(orgId, live, { succeeded: 5, cancelled: 0, dead: 2 });
    const batch = await getBatch(c, testCaller(orgId), batchId);
    expect(batch).toEqual({
      batchId,
      title: "nightly",
      total: 11,
      pending: 4,
      succeeded: 5,
      cancelled: 0,
      dead: 2,
      createdAt: expect.any(Date),
      states: [
        { state: JobState.scheduled, count: 1 },
        { state: JobState.ready, count: 2 },
        { state: JobState.running, count: 1 },
        { state: JobState.succeeded, count: 5 },
        { state: JobState.dead, count: 2 },
      ],
    });
  });

  test("answers alike for a batch of another org and for none", async () => {
    const theirs = await insertBatch(await db.orgId(), []);
    const caller = testCaller(await db.orgId());
    for (const id of [theirs, db.newId()]) {
      const answer = getBatch(c, caller, id);
      await expect(answer).rejects.toMatchObject({
        reason: "BATCH_NOT_FOUND",
        details: { id: encodeId("batch", id) },
      });
    }
  });
});

describe("listing batches", () => {
  test("goes from the newest, page by page", async () => {
    const orgId = await db.orgId();
    await insertBatch(await db.orgId(), []);
    const expected: string[] = [];
    for (let n = 0; n < 5; n++) expected.unshift(await insertBatch(orgId, []));
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await listBatches(c, testCaller(orgId), { pageSize: 2, pageToken });
      found.push(...page.items.map((batch) => batch.batchId));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(found).toEqual(expected);
  });
});
