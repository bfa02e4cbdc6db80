import postgres from "postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { inOrg, openDatabase } from "../../server/store/database.ts";
import { migrateDatabase } from "../../server/store/migrate.ts";
import { nilUuid } from "../../server/store/names.ts";
import { readFeedLagMs, readOwnerFacts } from "../../server/store/system.ts";
import { type OwnPostgres, startOwnPostgres } from "../support/own-postgres.ts";

let own: OwnPostgres;
beforeAll(async () => {
  own = await startOwnPostgres();
}, 120_000);
afterAll(() => own?.close());

test("a transaction that was left open is found, with what it holds back", { timeout: 60_000 }, async () => {
  const urls = await migrateDatabase({ url: own.url, secret: "test" });
  const connection = { application_name: "a forgotten psql" };
  const forgotten = postgres(own.url, { max: 1, onnotice: () => {}, connection });
  const admin = postgres(own.url, { max: 1, onnotice: () => {} });
  const database = openDatabase({ urls, appConnections: 1, hotConnections: 1 });
  try {
    await forgotten.unsafe("begin; select pg_current_xact_id()");
    const [{ pid } = { pid: 0 }] = await forgotten`select pg_backend_pid() as pid`;
    const change = (orgId: string) => admin`
      insert into muster.changes (org_id, n, at, job_ids, states, attempts, worker_ids)
      values (${orgId}, 0, muster.muster_clock() - interval '20 seconds', '{}', '{}', '{}', '{}')`;
    await change(nilUuid);
    const { transactions, appliedMigrations } = await readOwnerFacts(own.url);
    expect(transactions[0]).toMatchObject({
      pid,
      application: "a forgotten psql",
      state: "idle in transaction",
      ageMs: expect.any(Number),
      isWriting: true,
    });
    expect(appliedMigrations).toBeGreaterThanOrEqual(4);
    const lag = () => inOrg(database.app, nilUuid, (tx) => readFeedLagMs(tx, nilUuid));
    expect(await lag()).toBeGreaterThan(19_000);

    // An owner who is no superuser sees who it is, and not for how long.
    await admin.unsafe("create role plain login password 'x'; grant muster_owner to plain");
    const plain = new URL(own.url);
    plain.username = "plain";
    plain.password = "x";
    const [seen] = (await readOwnerFacts(plain.href)).transactions;
    expect(seen).toMatchObject({
      pid,
      application: "a forgotten psql",
      state: null,
      ageMs: null,
      isWriting: true,
    });

    await forgotten.unsafe("rollback");
    expect(await lag()).toBeNull();
  } finally {
    await Promise.all([forgotten.end({ timeout: 1 }), admin.end({ timeout: 1 }), database.close()]);
  }
});
