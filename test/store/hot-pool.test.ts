import { sql } from "drizzle-orm";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { isConnectionLost, mayBeCommitted } from "../../server/store/connection-errors.ts";
import { type Database, inOrg, openDatabase } from "../../server/store/database.ts";
import { call, param, runInOrg, statement, transact } from "../../server/store/statement.ts";
import { type Blackhole, openBlackhole } from "../support/blackhole.ts";
import { createTestDatabase, type TestDatabase } from "../support/database.ts";

const timeoutMs = 1_500;
let db: TestDatabase;
let hole: Blackhole;
let database: Database;
let orgId: string;

beforeAll(async () => {
  db = await createTestDatabase();
});
afterAll(() => db.close());
beforeEach(async () => {
  const { muster_app, muster_hot, muster_sweep } = db.urls;
  hole = await openBlackhole(muster_hot);
  const through = (url: string) => Object.assign(new URL(url), { host: new URL(hole.url).host }).href;
  database = openDatabase({
    urls: {
      muster_app: through(muster_app),
      muster_hot: through(muster_hot),
      muster_sweep: through(muster_sweep),
    },
    appConnections: 1,
    hotConnections: 1,
    timeoutMs,
  });
  orgId = await db.orgId();
});
afterEach(async () => {
  await database.close();
  await hole.close();
});

const inserts = statement(sql`
  insert into muster.projects (org_id, name) values (${param("org")}::uuid, ${param("name")}::text)`);
const insert = (name: string) => call(inserts, { org: orgId, name });
const sleeps = statement(sql`select pg_sleep(${param("seconds")}::float8)`);
const projects = async () =>
  (await db.admin`select name from muster.projects where org_id = ${orgId} order by name`).map(
    (row) => row["name"],
  );

/** Whether it rejected because the connection was lost, in the time that it may take. */
async function loses(promise: Promise<unknown>): Promise<boolean> {
  const startedMs = performance.now();
  const error = await promise.then(
    () => null,
    (cause: unknown) => cause,
  );
  expect(performance.now() - startedMs).toBeLessThan(timeoutMs * 1.5 + 2_000);
  return isConnectionLost(error);
}

/** Kills the backends of a role as soon as one of them runs the text. */
async function killWhile(role: string, text: string): Promise<void> {
  const killed = async () =>
    (
      await db.admin`
        select pg_terminate_backend(pid) from pg_stat_activity
        where usename = ${role} and datname = current_database() and query like ${`%${text}%`}`
    ).length;
  await expect.poll(killed, { timeout: 5_000, interval: 10 }).toBeGreaterThan(0);
}

test("a connection whose other side falls silent is cut, and the next use has another", async () => {
  await runInOrg(database.hot, orgId, [insert("before")]);
  hole.swallow();
  expect(await loses(runInOrg(database.hot, orgId, [insert("lost")]))).toBe(true);
  expect(await loses(transact(database.hot, orgId, (tx) => tx.run(insert("lost too"))))).toBe(true);
  expect(await loses(inOrg(database.app, orgId, (tx) => tx.execute(sql`select 1`)))).toBe(true);
  hole.pass();
  await runInOrg(database.hot, orgId, [insert("on")]);
  await inOrg(database.app, orgId, (tx) => tx.execute(sql`select 1`));
  expect(await projects()).toEqual(["before", "on"]);
});

test("who waits for a connection is told in time that there is none", async () => {
  hole.swallow();
  const calls = Array.from({ length: 5 }, () => loses(runInOrg(database.hot, orgId, [insert("waits")])));
  expect(await Promise.all(calls)).toEqual([true, true, true, true, true]);
  hole.pass();
  await runInOrg(database.hot, orgId, [insert("served")]);
  expect(await projects()).toEqual(["served"]);
});

test("a COMMIT whose answer is lost rejects, and leaves all or nothing", async () => {
  for (const names of [
    ["a", "b"],
    ["c", "d"],
  ]) {
    hole.swallowAnswerTo("commit");
    expect(await loses(runInOrg(database.hot, orgId, names.map(insert)))).toBe(true);
    const found = (await projects()).filter((name) => names.includes(name));
    expect([0, 2]).toContain(found.length);
  }
  await runInOrg(database.hot, orgId, [insert("zz")]);
  expect(await projects()).toContain("zz");
});

test("a backend that is killed in the middle of a transaction leaves nothing of it", async () => {
  const sleep = call(sleeps, { seconds: 60 });
  const stepped = loses(
    transact(database.hot, orgId, async (tx) => {
      await tx.run(insert("stepped"));
      await tx.run(sleep);
      await tx.run(insert("stepped on"));
    }),
  );
  await killWhile("muster_hot", "pg_sleep");
  expect(await stepped).toBe(true);
  const piped = loses(runInOrg(database.hot, orgId, [insert("piped"), sleep, insert("piped on")]));
  await killWhile("muster_hot", "pg_sleep");
  expect(await piped).toBe(true);
  const drizzled = loses(
    inOrg(database.app, orgId, async (tx) => {
      await tx.execute(sql`insert into muster.projects (org_id, name) values (${orgId}, 'drizzled')`);
      await tx.execute(sql`select pg_sleep(60)`);
    }),
  );
  await killWhile("muster_app", "pg_sleep");
  expect(await drizzled).toBe(true);
  expect(await projects()).toEqual([]);
  await runInOrg(database.hot, orgId, [insert("after")]);
  expect(await projects()).toEqual(["after"]);
});

test("a transaction whose connection is lost while it thinks does not go on over another", async () => {
  const outcome = transact(database.hot, orgId, async (tx) => {
    await tx.run(insert("first"));
    await killWhile("muster_hot", "insert into muster.projects");
    await tx.run(insert("second"));
  });
  expect(await loses(outcome)).toBe(true);
  const alone = database.hot.use(async (connection) => {
    await connection.sql.unsafe("select 1");
    await killWhile("muster_hot", "select 1");
    return connection.sql.unsafe("commit");
  });
  expect(await loses(alone)).toBe(true);
  expect(await projects()).toEqual([]);
});

test("a slow server keeps the connection: what took too long left nothing, and nothing is prepared again", async () => {
  const backend = () =>
    database.hot.use(async ({ sql: own }) => (await own`select pg_backend_pid() as pid`)[0]?.["pid"]);
  const before = await backend();
  const error = await runInOrg(database.hot, orgId, [insert("slow"), call(sleeps, { seconds: 60 })]).catch(
    (cause: unknown) => cause,
  );
  expect([isConnectionLost(error), mayBeCommitted(error)]).toEqual([true, false]);
  expect(await backend()).toBe(before);
  const [each, nearly] = [call(sleeps, { seconds: 1 }), timeoutMs / 1_000 + 1];
  await runInOrg(database.hot, orgId, [
    insert("long"),
    ...Array.from({ length: Math.ceil(nearly) }, () => each),
  ]);
  expect([await backend(), await projects()]).toEqual([before, ["long"]]);
});

test("a statement that takes too long is ended at the server as well", async () => {
  expect(await loses(runInOrg(database.hot, orgId, [call(sleeps, { seconds: 60 })]))).toBe(true);
  const asleep = async () =>
    (
      await db.admin`
        select pid from pg_stat_activity where datname = current_database() and state = 'active'
          and pid <> pg_backend_pid() and query like '%pg_sleep%'`
    ).length;
  await expect.poll(asleep, { timeout: 5_000 }).toBe(0);
});
