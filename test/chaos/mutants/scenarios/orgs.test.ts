import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../../../support/database.ts";
import { RecordedRun, wrongIn } from "./recorded-run.ts";

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

test("one idempotency key in two orgs names two jobs, each of its org", async () => {
  const stage = { c: testCoordinator(db), admin: db.admin };
  const runs = [
    await RecordedRun.begin(stage, await db.orgId()),
    await RecordedRun.begin(stage, await db.orgId()),
  ];
  const jobIds: string[] = [];
  for (const run of runs) {
    jobIds.push(await run.submit({}, { key: "nightly" }));
    expect(await run.submit({}, { key: "nightly" })).toBe(jobIds.at(-1));
  }
  for (const [index, run] of runs.entries()) {
    await run.cancel(jobIds[index] ?? "").catch(() => {});
    expect(wrongIn(await run.verdict())).toEqual({});
  }
  expect(new Set(jobIds).size).toBe(2);
});
