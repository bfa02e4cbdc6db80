import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { submitJob } from "../../server/domain/jobs.ts";
import { endLeases } from "../../server/domain/leases.ts";
import { attachLink, type Hello, leaveLink } from "../../server/domain/links.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { HotPool } from "../../server/store/hot-pool.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;
beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function offered(overrides = {}) {
  const orgId = await db.orgId();
  const dispatcher = testDispatcher(c);
  const said = hello();
  const worker = await attachWorker(c, orgId, { name: "one", hello: said, dispatcher });
  const request = { job: jobRequest(overrides), idempotencyKey: null, parent: null };
  await submitJob(c, testCaller(orgId), request);
  await dispatcher.refresh(orgId);
  const [grant] = await worker.offers(1);
  if (!grant) throw new Error("offered");
  const again = (parts: Partial<Hello>) => attachLink(c, worker.caller, { ...said, ...parts });
  return { orgId, worker, grant, again, bootId: said.bootId };
}

const ids = (leases: readonly { readonly leaseId: string }[]) => leases.map(({ leaseId }) => leaseId);

describe("an offer whose accept is not committed", () => {
  test("was never seen by a boot that says Hello again without it", async () => {
    const { grant, again } = await offered();
    const attached = await again({});
    expect(ids(attached.unseen)).toEqual([grant.fence.leaseId]);
    expect([...attached.dead, ...attached.doubtful]).toEqual([]);
  });

  test("may have run in an earlier boot: it is lost with that, at once where its processes are dead", async () => {
    const { grant, again } = await offered();
    const proven = await again({ bootId: randomUUID(), areOrphansDead: true });
    expect(proven.unseen).toEqual([]);
    expect(ids(proven.dead)).toEqual([grant.fence.leaseId]);
  });

  test("was never seen by an earlier boot that ended by itself", async () => {
    const { grant, again, bootId } = await offered();
    const attached = await again({
      bootId: randomUUID(),
      areOrphansDead: true,
      endedBoots: [randomUUID(), bootId],
    });
    expect(ids(attached.left)).toEqual([grant.fence.leaseId]);
    expect([...attached.unseen, ...attached.dead, ...attached.doubtful]).toEqual([]);
  });

  test("is not that boot's to leave when it is listed as held or in the outbox", async () => {
    const { grant, again, bootId } = await offered();
    const attached = await again({ bootId: randomUUID(), endedBoots: [bootId], outbox: [grant.fence] });
    expect(attached.left).toEqual([]);
    expect(attached.verdicts).toMatchObject([{ verdict: "send-result" }]);
  });

  test("is in doubt until the old boot counts as lost, where nothing is proven", async () => {
    const { grant, again } = await offered();
    const unproven = await again({ bootId: randomUUID() });
    expect(unproven.unseen).toEqual([]);
    expect(unproven.doubtful.map(({ lease }) => lease.leaseId)).toEqual([grant.fence.leaseId]);
  });

  test("is judged by the present link of its worker alone", async () => {
    const { orgId, worker, grant, again } = await offered();
    const older = { workerId: worker.link.workerId, linkEpoch: worker.link.linkEpoch };
    const { linkEpoch } = await again({ held: [grant.fence] });
    const end = { fence: grant.fence, event: { type: "offer-timed-out" as const }, reason: "no answer" };
    expect(await endLeases(c, orgId, [end], undefined, older)).toEqual(new Set());
    expect(await endLeases(c, orgId, [end], undefined, { ...older, linkEpoch })).toEqual(
      new Set([grant.fence.leaseId]),
    );
  });
});

describe("a goodbye", () => {
  test("tells what the worker still has, and nothing more is granted to it", async () => {
    const { orgId, worker, grant } = await offered();
    const left = await leaveLink(c, orgId, worker.link);
    expect(ids(left ?? [])).toEqual([grant.fence.leaseId]);
    const dispatcher = testDispatcher(c);
    dispatcher.attach(worker.link);
    const { jobId } = await submitJob(c, testCaller(orgId), {
      job: jobRequest(),
      idempotencyKey: null,
      parent: null,
    });
    await dispatcher.refresh(orgId);
    const [row] = await db.admin`select state from muster.job_queue where job_id = ${jobId}`;
    expect(row?.["state"]).toBe(JobState.ready);
  });

  test("over a link that is no longer the worker's says nothing", async () => {
    const { orgId, worker, again } = await offered();
    await again({});
    expect(await leaveLink(c, orgId, worker.link)).toBeNull();
  });
});

test("a job that may run once at most starts only when its accept is committed", async () => {
  expect((await offered({ atMostOnce: true })).grant.isExclusive).toBe(true);
  expect((await offered()).grant.isExclusive).toBe(false);
});

test("an answer to a claim that comes after the worker's next Hello offers nothing over its new link", async () => {
  const orgId = await db.orgId();
  const said = hello();
  const first = await attachWorker(c, orgId, { name: "one", hello: said });
  await submitJob(c, testCaller(orgId), { job: jobRequest(), idempotencyKey: null, parent: null });
  // From the first claim on the answers of the database wait.
  const gate = Promise.withResolvers<void>();
  const leased = () => db.admin`select 1 from muster.job_queue where org_id = ${orgId} and state = 4`;
  const use: HotPool["use"] = async (body) => {
    const answer = await c.db.hot.use(body);
    if ((await leased()).length > 0) await gate.promise;
    return answer;
  };
  const hot: HotPool = Object.assign(Object.create(HotPool.prototype), { use });
  const dispatcher = testDispatcher({ ...c, db: { ...c.db, hot } });
  dispatcher.attach(first.link);
  await expect.poll(async () => (await leased()).length).toBe(1);
  const second = await attachWorker(c, orgId, { name: "one", hello: said, caller: first.caller });
  dispatcher.attach(second.link);
  gate.resolve();
  await dispatcher.stop();
  expect([first.offered, second.offered]).toEqual([[], []]);
  expect(second.link.held.size).toBe(0);
});
