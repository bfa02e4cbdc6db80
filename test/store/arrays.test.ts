import { sql } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readArray, writeArray } from "../../server/store/arrays.ts";
import { call, param, runInOrg, statement } from "../../server/store/statement.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const texts = fc.array(
  fc.option(
    fc.oneof(
      fc.string(),
      fc.string({ unit: "binary" }),
      fc.constantFrom("", "NULL", "{}", '"', "\\", ",", "a b"),
    ),
  ),
);

test("what is written is read again", () => {
  fc.assert(
    fc.property(texts, (list) => {
      expect(readArray(writeArray(list))).toEqual(list);
    }),
  );
});

test("Postgres reads and writes lists of texts as they are", async () => {
  const orgId = await db.orgId();
  const echo = statement(sql`select ${param("list")}::text[] as list`);
  // Postgres keeps no NUL character, and no half of a surrogate pair.
  const kept = texts.map((list) => list.map((text) => text?.replaceAll("\0", "").toWellFormed() ?? null));
  await fc.assert(
    fc.asyncProperty(kept, async (list) => {
      const [rows] = await runInOrg(db.database.hot, orgId, [call(echo, { list })]);
      expect(rows?.[0]?.["list"]).toEqual(list);
    }),
    { numRuns: 60 },
  );
});
