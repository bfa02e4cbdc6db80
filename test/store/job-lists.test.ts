import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { JobState, Outcome } from "../../server/domain/rules/states.ts";
import { anyJob, type JobFilter, readJobIds } from "../../server/store/job-lists.ts";
import { readOrg } from "../../server/store/snapshot.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";
import { insertAttempt, insertJob } from "../support/rows.ts";

let db: TestDatabase;
let orgId: string;
let oldest: string;
beforeAll(async () => {
  db = await createTestDatabase();
  orgId = await db.orgId();
  oldest = (await insertJob(db, orgId, { kind: "rare" })).jobId;
  await insertAttempt(db, orgId, oldest, { outcome: Outcome.failed, state: JobState.dead });
  for (let n = 0; n < 60; n++) await insertJob(db, orgId);
});
afterAll(() => db.close());

function page(
  filter: Partial<JobFilter>,
  options: { after: string | null; limit: number; mostExamined?: number },
) {
  return readOrg(db.database.app, orgId, (tx) => readJobIds(tx, orgId, { ...anyJob, ...filter }, options));
}

describe.each([[{ kind: "rare" }], [{ states: [JobState.dead] }]])(
  "a list whose matches are rare: %j",
  (filter) => {
    test("is found in one page by windows that grow", async () => {
      expect(await page(filter, { after: null, limit: 2 })).toEqual({ ids: [oldest], next: null });
    });

    test("ends a page that looked at enough, and goes on from there to the end", async () => {
      const found: string[] = [];
      let before: string | null = null;
      let pages = 0;
      do {
        const { ids, next } = await page(filter, { after: before, limit: 2, mostExamined: 15 });
        expect(next === null || before === null || next < before).toBe(true);
        found.push(...ids);
        before = next;
        pages++;
      } while (before !== null);
      expect(found).toEqual([oldest]);
      expect(pages).toBe(5);
    });
  },
);

test("a list of live states does not count jobs that have ended", async () => {
  const filter = { states: [JobState.ready] };
  const { ids } = await page(filter, { after: null, limit: 100, mostExamined: 60 });
  expect(ids).toHaveLength(60);
  expect(ids).not.toContain(oldest);
});
