import postgres from "postgres";
import { afterEach, beforeEach, describe, expect, inject, test } from "vitest";
import { settled } from "../../support/worker-clock.ts";
import type { FaultProxy } from "./fault-proxy.ts";
import { type PostgresFault, startPostgresProxy } from "./postgres-proxy.ts";

let proxy: FaultProxy<PostgresFault>;
let client: postgres.Sql;
let direct: postgres.Sql;
let table: string;
let tables = 0;

beforeEach(async () => {
  const url = new URL(inject("postgresUrl"));
  proxy = await startPostgresProxy({ target: url.host });
  direct = postgres(url.href, { max: 1, onnotice: () => {} });
  url.host = proxy.address;
  client = postgres(url.href, { max: 1, onnotice: () => {} });
  tables += 1;
  table = `proxy_${process.pid}_${tables}`;
  await direct`create table ${direct(table)} (n int)`;
});

afterEach(async () => {
  await proxy.close();
  await client.end({ timeout: 1 });
  await direct`drop table ${direct(table)}`;
  await direct.end({ timeout: 1 });
});

/** The driver forgets what it is given between the error of a connection and its close. */
async function gone(): Promise<void> {
  await expect.poll(() => proxy.connections()).toEqual([]);
  await settled();
}

const rows = async (): Promise<number> => (await direct`select n from ${direct(table)}`).length;

/** A transaction in one go, as the hot path sends it: simple, prepared, simple. */
async function pipelined(): Promise<void> {
  const sent = [
    client.unsafe("begin; set local muster.org = 'x'").execute(),
    client.unsafe(`insert into ${table} values (1)`, [], { prepare: true }).execute(),
    client.unsafe("commit").execute(),
  ];
  for (const one of await Promise.allSettled(sent)) if (one.status === "rejected") throw one.reason;
}

/** A transaction step by step. */
function stepped(): Promise<unknown> {
  return client.begin((tx) => tx`insert into ${tx(table)} values (2)`);
}

describe("the answer to a COMMIT", () => {
  test.each([
    ["pipelined", pipelined],
    ["step by step", stepped],
  ])("is swallowed after the server has committed: %s", async (_, run) => {
    await run();
    proxy.fault({ kind: "swallow-commit", leaving: "reset", limit: 1 });
    await expect(run()).rejects.toThrow();
    await gone();
    await expect.poll(rows).toBe(2);
    await run();
    expect(await rows()).toBe(3);
    expect(proxy.counts()["swallow-commit"]).toBe(1);
  });

  test("is swallowed from the k-th on, and only for a role", async () => {
    const [{ user } = { user: "" }] = await client<{ user: string }[]>`select current_user as user`;
    expect(proxy.connections()).toMatchObject([{ id: 1, name: user }]);
    proxy.fault({ kind: "swallow-commit", leaving: "reset", user: "somebody else" });
    const heal = proxy.fault({ kind: "swallow-commit", leaving: "reset", skip: 2, user });
    await pipelined();
    await stepped();
    await expect(pipelined()).rejects.toThrow();
    await gone();
    heal();
    await pipelined();
    await expect.poll(rows).toBe(4);
  });

  test("leaves a connection that says nothing, until the heal", async () => {
    const heal = proxy.fault({ kind: "swallow-commit", leaving: "half-open" });
    const waiting = pipelined();
    let isSettled = false;
    const settled = waiting
      .catch(() => {})
      .then(() => {
        isSettled = true;
      });
    await expect.poll(rows).toBe(1);
    await expect.poll(() => proxy.counts()["swallow-commit"]).toBe(1);
    expect(isSettled).toBe(false);
    heal();
    await settled;
    await expect(waiting).rejects.toThrow();
  });

  test("that rolled back passes", async () => {
    proxy.fault({ kind: "swallow-commit", leaving: "reset" });
    await client`begin`.simple().catch(() => {});
    await expect(client`select 1 / 0`).rejects.toThrow("division by zero");
    expect((await client`commit`.simple()).command).toBe("ROLLBACK");
    expect(proxy.counts()["swallow-commit"]).toBeUndefined();
  });
});

test("a NOTIFY is lost, and the connection lives", async () => {
  const heard: string[] = [];
  const url = new URL(inject("postgresUrl"));
  url.host = proxy.address;
  const listener = postgres(url.href, { max: 1 });
  await listener.listen(table, (text) => heard.push(text));
  const heal = proxy.fault({ kind: "drop-notification" });
  await direct.notify(table, "lost");
  await expect.poll(() => proxy.counts()["drop-notification"]).toBe(1);
  heal();
  await direct.notify(table, "heard");
  await expect.poll(() => heard).toEqual(["heard"]);
  await listener.end({ timeout: 1 });
});

test("a terminated client is thrown out, and connects again", async () => {
  await client`select 1`;
  const sleeping = client`select pg_sleep(60)`.execute();
  const thrownOut = sleeping.catch((error: { code: string }) => error.code);
  const active = () => direct`select 1 from pg_stat_activity where query = 'select pg_sleep(60)'`;
  await expect.poll(active).toHaveLength(1);
  proxy.fault({ kind: "terminate" });
  expect(["57P01", "CONNECTION_CLOSED"]).toContain(await thrownOut);
  await gone();
  // The driver keeps the error, too, and gives it to whoever asks next.
  await client`select 1`.catch(() => {});
  expect(await client`select 1 as one`).toEqual([{ one: 1 }]);
});

test("large rows pass whole, in slices too", async () => {
  proxy.fault({ kind: "slice", bytes: 16_384 });
  const [row] = await client<{ text: string }[]>`select repeat('x', 3000000) as text`;
  expect(row?.text).toHaveLength(3_000_000);
});
