import { sql } from "drizzle-orm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { call, param, runInOrg, statement, transact } from "../../server/store/statement.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());

const echo = statement(sql`
  select * from unnest(${param("flags")}::boolean[], ${param("numbers")}::int[], ${param("texts")}::text[]) as d(flag, number, text)`);

test("sends lists of booleans, numbers and texts with nulls as they are", async () => {
  const values = {
    flags: [true, false, null],
    numbers: [1, null, -3],
    texts: [null, 'a "quoted", \\ {text}', "ü\n"],
  };
  const [rows] = await runInOrg(db.database.hot, await db.orgId(), [call(echo, values)]);
  expect(rows?.map((row) => [row["flag"], row["number"], row["text"]])).toEqual([
    [true, 1, null],
    [false, null, 'a "quoted", \\ {text}'],
    [null, -3, "ü\n"],
  ]);
});

test("sends a parameter that stands in several places once", () => {
  const twice = statement(sql`select ${param("a")}::int + ${param("b")}::int + ${param("a")}::int as sum`);
  expect(twice).toMatchObject({ text: "select $1::int + $2::int + $1::int as sum", names: ["a", "b"] });
});

test("commits all statements of a transaction or none", async () => {
  const orgId = await db.orgId();
  const fails = statement(sql`select 1 / ${param("zero")}::int`);
  const inserts = statement(sql`
    insert into muster.projects (org_id, name) values (${param("org")}::uuid, ${param("name")}::text)`);
  const calls = [call(inserts, { org: orgId, name: "one" }), call(fails, { zero: 0 })];
  await expect(runInOrg(db.database.hot, orgId, calls)).rejects.toThrow("division by zero");
  await expect(
    transact(db.database.hot, orgId, async (tx) => {
      await tx.run(call(inserts, { org: orgId, name: "two" }));
      throw new Error("after it");
    }),
  ).rejects.toThrow("after it");
  expect(await db.admin`select * from muster.projects where org_id = ${orgId}`).toHaveLength(0);
  await runInOrg(db.database.hot, orgId, [call(inserts, { org: orgId, name: "three" })]);
  expect(await db.admin`select * from muster.projects where org_id = ${orgId}`).toHaveLength(1);
});

test("refuses a statement of another org than the transaction's", async () => {
  const [one, other] = [await db.orgId(), await db.orgId()];
  const inserts = statement(sql`
    insert into muster.projects (org_id, name) values (${param("org")}::uuid, 'p')`);
  await expect(runInOrg(db.database.hot, one, [call(inserts, { org: other })])).rejects.toThrow(
    "in a transaction of another",
  );
});
