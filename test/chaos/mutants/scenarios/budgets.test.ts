import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../../../support/database.ts";
import { failing, RecordedRun, type Stage, wrongIn } from "./recorded-run.ts";

let db: TestDatabase;
let stage: Stage;

beforeAll(async () => {
  db = await createTestDatabase();
  stage = { c: testCoordinator(db), admin: db.admin };
});
afterAll(() => db.close());

const begin = async () => RecordedRun.begin(stage, await db.orgId());

describe("a failure", () => {
  test("is counted when the job reports it, and by nothing else", async () => {
    const run = await begin();
    const jobId = await run.submit({ maxAttempts: 3 });
    const first = await run.startNext(await run.attach("first", 1));
    await run.lose(first);
    const second = await run.startNext(await run.attach("second"));
    await run.finish(second);
    const rows = await db.admin`
      select failures, losses from muster.attempts where job_id = ${jobId} order by attempt`;
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(rows.map((row) => [row["failures"], row["losses"]])).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });
});

describe("a replay", () => {
  test("goes on with the attempt numbers of the run before", async () => {
    const run = await begin();
    const worker = await run.attach("worker");
    const jobId = await run.submit(failing);
    const first = await run.startNext(worker);
    await run.finish(first, "failed");
    worker.link.drop(first.fence.leaseId);
    await run.replay(jobId);
    const second = await run.startNext(worker);
    await run.finish(second).catch(() => {});
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(second.fence.attempt).toBe(2);
  });
});
