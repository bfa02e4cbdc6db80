import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

describe("x", () => {
  test("y", async () => {
    const org = await db.orgId();
    expect(org).toBeTruthy();
    const a = await db.admin`select muster.muster_clock() as t`;
    await db.advanceClock(3600_000);
    const b = await db.admin`select muster.muster_clock() as t`;
    console.log(a, b);
  });
});
