import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { submitJob } from "../../server/domain/jobs.ts";
import { Expiry } from "../../server/maintain/expiry.ts";
import { silenceAsked, tellSilence } from "../../server/maintain/worker-silence.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, jobRequest, testDispatcher } from "../support/fleet.ts";
import { insertAble } from "../support/routed-rows.ts";

let db: TestDatabase;
let coordinators: readonly TestCoordinator[];
beforeAll(async () => {
  db = await createTestDatabase();
  coordinators = Array.from({ length: 4 }, () => testCoordinator(db, { config: { outageGraceMs: 0 } }));
});
afterAll(() => db.close());

const signal = () => AbortSignal.timeout(20_000);

/** All coordinators look at an org at the same time. */
async function pass(orgId: string, mayBeSilent = true, looking = coordinators): Promise<void> {
  await Promise.all(looking.map((c) => tellSilence(c, orgId, { mayBeSilent, signal: signal() })));
}

/** What the event feed tells, in its order. */
async function told(orgId: string): Promise<readonly string[]> {
  const rows = await db.admin`select type, data ->> 'name' as name from muster.events
    where org_id = ${orgId} and type in ('worker.stale', 'worker.lost', 'worker.recovered') order by at, data ->> 'name'`;
  return rows.map(({ type, name }) => `${type} ${name}`);
}

async function hear(orgId: string, workerId?: string): Promise<void> {
  await db.admin`update muster.links set seen_at = muster.muster_clock(), is_attached = true
    where org_id = ${orgId} and worker_id = coalesce(${workerId ?? null}::uuid, worker_id)`;
}

describe("a worker that falls silent", () => {
  test("is told of once, and once that it is heard again, whatever number of coordinators look", async () => {
    const orgId = await db.orgId();
    const link = { silentMs: 20_000 };
    const one = await insertAble(db, orgId, { name: "one", link });
    await insertAble(db, orgId, { name: "broken off", link: { ...link, isAttached: false } });
    await insertAble(db, orgId, {
      name: "said goodbye",
      link: { ...link, isAttached: false, isDraining: true },
    });
    await insertAble(db, orgId, { name: "off", link, isDisabled: true });
    await insertAble(db, orgId, { name: "well", link: { silentMs: 10_000 } });
    await insertAble(db, orgId, { name: "never came", link: null });
    await pass(orgId);
    await pass(orgId);
    const silent = ["worker.stale broken off", "worker.stale one"];
    expect(await told(orgId)).toEqual(silent);
    const [event] = await db.admin`select worker_id, data from muster.events
      where org_id = ${orgId} and data ->> 'name' = 'one'`;
    const sinceMs = db.nowMs() - Date.parse(event?.["data"].lastSeen);
    expect(event?.["worker_id"]).toBe(one);
    expect(sinceMs).toBeGreaterThanOrEqual(20_000);
    expect(sinceMs).toBeLessThan(60_000);
    await hear(orgId, one);
    await pass(orgId);
    await pass(orgId);
    expect(await told(orgId)).toEqual([...silent, "worker.recovered one"]);
    await db.advanceClock(20_000);
    await hear(orgId, one);
    await db.advanceClock(16_000);
    await pass(orgId);
    expect((await told(orgId)).filter((text) => text.endsWith("one"))).toEqual([
      ...["worker.stale one", "worker.recovered one", "worker.stale one"],
    ]);
  });

  test("is not told of while it may only not have been heard", async () => {
    const orgId = await db.orgId();
    const workerId = await insertAble(db, orgId, { name: "one", link: { silentMs: 20_000 } });
    await pass(orgId, false);
    expect(await told(orgId)).toEqual([]);
    await pass(orgId);
    await hear(orgId, workerId);
    await pass(orgId, false);
    expect(await told(orgId)).toEqual(["worker.stale one", "worker.recovered one"]);
  });

  test("is one of a thousand, each told of once", async () => {
    const orgId = await db.orgId();
    await insertAble(db, orgId, { name: "w0", link: { silentMs: 20_000 } });
    await db.admin`
      with made as (
        insert into muster.workers (org_id, worker_id, name)
        select ${orgId}, gen_random_uuid(), 'w' || n from generate_series(1, 999) n returning worker_id)
      insert into muster.links (org_id, worker_id, boot_id, host_boot_id, link_epoch, coordinator_id, seen_at, connected_at,
        transport, is_attached, is_draining)
      select l.org_id, m.worker_id, boot_id, host_boot_id, link_epoch, coordinator_id, seen_at, connected_at, transport,
        is_attached, is_draining from made m, muster.links l where l.org_id = ${orgId}`;
    // They share two connections, for which none waits here.
    await pass(orgId, true, coordinators.slice(0, 2));
    await pass(orgId, true, coordinators.slice(2));
    const all = await told(orgId);
    expect(all).toHaveLength(1_000);
    expect(new Set(all).size).toBe(1_000);
    const [most] = await db.admin`select max(n)::int as n from (
      select count(*) as n from muster.events where org_id = ${orgId} group by xid) y`;
    expect(most?.["n"]).toBeLessThanOrEqual(200);
  });
});

test("is looked for every five seconds, and more often where heartbeats are late soon", () => {
  let nowMs = 0;
  const [asked, soon] = [
    silenceAsked({ staleMs: 15_000 }, () => nowMs),
    silenceAsked({ staleMs: 300 }, () => nowMs),
  ];
  const seen = Array.from({ length: 12 }, () => {
    const answer = [asked(), soon()];
    nowMs += 1_000;
    return answer;
  });
  expect(seen.flatMap(([slow], second) => (slow === 15_000 ? [second] : []))).toEqual([0, 5, 10]);
  expect(seen.every(([, quick]) => quick === 300)).toBe(true);
});

describe("a worker whose leases are taken back", () => {
  async function holding(leases: number, leaseTtlMs?: number) {
    const orgId = await db.orgId();
    const [c] = coordinators;
    if (c === undefined) throw new Error("a coordinator");
    const dispatcher = testDispatcher(c);
    for (let n = 0; n < leases; n++) {
      const job = jobRequest();
      await submitJob(c, testCaller(orgId), { job, idempotencyKey: null, parent: null });
    }
    const worker = await attachWorker(c, orgId, { name: "one", dispatcher });
    await dispatcher.refresh(orgId);
    expect(await worker.offers(leases)).toHaveLength(leases);
    if (leaseTtlMs !== undefined) {
      await db.admin`update muster.job_queue set lease_ttl_ms = ${leaseTtlMs} where org_id = ${orgId}`;
    }
    const expire = () =>
      Promise.all(coordinators.map((one) => new Expiry(one, () => performance.now()).pass(orgId)));
    return { orgId, expire };
  }

  test("because it is silent is told of once, and when it is heard again", async () => {
    const { orgId, expire } = await holding(3);
    await db.advanceClock(16_000);
    await pass(orgId);
    await expire();
    expect(await told(orgId)).toEqual(["worker.stale one"]);
    await db.advanceClock(15_000);
    await expire();
    await expire();
    expect(await told(orgId)).toEqual(["worker.stale one", "worker.lost one"]);
    const [left] = await db.admin`select count(*)::int as n from muster.job_queue
      where org_id = ${orgId} and worker_id is not null`;
    expect(left?.["n"]).toBe(0);
    await hear(orgId);
    await pass(orgId);
    await pass(orgId);
    expect((await told(orgId)).slice(2)).toEqual(["worker.recovered one"]);
    const [event] = await db.admin`select data from muster.events
      where org_id = ${orgId} and type = 'worker.recovered'`;
    expect(event?.["data"]).toEqual({ name: "one", wasLost: true });
  });

  test("because they passed their cap is not told of", async () => {
    const { orgId, expire } = await holding(2, 10_000);
    await db.advanceClock(11_000);
    await hear(orgId);
    await expire();
    const [left] = await db.admin`select count(*)::int as n from muster.job_queue
      where org_id = ${orgId} and worker_id is not null`;
    expect(left?.["n"]).toBe(0);
    expect(await told(orgId)).toEqual([]);
  });
});
