import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase, testCoordinator } from "../../../support/database.ts";
import { onServer } from "../../../support/postgres.ts";
import { RecordedRun, wrongIn } from "./recorded-run.ts";

let db: TestDatabase;

beforeAll(async () => {
  db = await createTestDatabase();
  await onServer(
    db.url,
    `create function muster.refuse() returns trigger language plpgsql as
      $$ begin raise exception 'the disk is full' using errcode = '53100'; end $$`,
  );
});
afterAll(() => db.close());

const begin = async () => RecordedRun.begin({ c: testCoordinator(db), admin: db.admin }, await db.orgId());

describe("a submission", () => {
  test("is acknowledged after its commit, which may fail when every statement succeeded", async () => {
    const run = await begin();
    await onServer(
      db.url,
      `create constraint trigger refused_at_commit after insert on muster.job_queue
        deferrable initially deferred for each row execute function muster.refuse()`,
    );
    const submitted = await run.submit().catch((error: unknown) => error);
    await onServer(db.url, "drop trigger refused_at_commit on muster.job_queue");
    expect(wrongIn(await run.verdict())).toEqual({});
    expect(submitted).toBeInstanceOf(Error);
  });

  test("of a batch leaves nothing behind when a part of it is refused", async () => {
    const run = await begin();
    await onServer(
      db.url,
      "create trigger refused before insert on muster.batches for each row execute function muster.refuse()",
    );
    const refused = await run.submitBatch([{}, {}, {}], "batch").catch((error: unknown) => error);
    await onServer(db.url, "drop trigger refused on muster.batches");
    expect(refused).toBeInstanceOf(Error);
    const jobIds = await run.submitBatch([{}, {}, {}], "batch");
    const worker = await run.attach("worker", 8);
    for (const _ of jobIds) await run.finish(await run.startNext(worker));
    // What the refused call left would be here, without anybody who asked for it.
    expect(wrongIn(await run.verdict())).toEqual({});
  });
});
