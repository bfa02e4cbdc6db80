import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAlertParts } from "../../server/domain/alert-parts.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { submitJob } from "../../server/domain/jobs.ts";
import { createAcceptBatcher, createResultBatcher, endLeases } from "../../server/domain/leases.ts";
import type { JobRequest } from "../../server/domain/rules/job-spec.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { dropAll, lapseAvoids, promoteDueJobs } from "../../server/maintain/due.ts";
import { Expiry } from "../../server/maintain/expiry.ts";
import { WantedWorkers } from "../../server/maintain/own-workers.ts";
import { ReleaseSweep } from "../../server/maintain/releases.ts";
import { orgSweeps } from "../../server/maintain/sweeps.ts";
import { removeCoordinator, upsertCoordinator } from "../../server/store/coordinators.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { dropChanges, dropExpiredKeys, dropLateResults, foldTallies } from "../../server/store/sweeps.ts";
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

const signal = () => AbortSignal.timeout(10_000);

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const dispatcher = testDispatcher(c);
  const submit = async (overrides: Partial<JobRequest> = {}) =>
    (await submitJob(c, caller, { job: jobRequest(overrides), idempotencyKey: null, parent: null })).jobId;
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: false });
  const offered = async (name: string, jobId?: string) => {
    const worker = await attachWorker(c, orgId, { name, dispatcher });
    const id = jobId ?? (await submit());
    await dispatcher.refresh(orgId);
    const [grant] = await worker.offers(1);
    if (!grant) throw new Error("offered");
    return { worker, jobId: id, grant };
  };
  return { orgId, caller, dispatcher, submit, read, offered };
}

describe("a job with a run time", () => {
  test("is scheduled until then, and ready after", async () => {
    const { orgId, submit, read } = await org();
    const jobId = await submit({ runAt: new Date(db.nowMs() + 60_000) });
    await promoteDueJobs(c, orgId, signal());
    expect((await read(jobId)).state).toBe(JobState.scheduled);
    await db.advanceClock(61_000);
    await promoteDueJobs(c, orgId, signal());
    expect((await read(jobId)).state).toBe(JobState.ready);
  });
});

describe("expiry", () => {
  const expiry = () =>
    new Expiry(testCoordinator(db, { config: { outageGraceMs: 0 } }), () => performance.now());

  test("takes a lease back from a worker that is silent for reclaim_after, and no earlier", async () => {
    const { orgId, read, offered } = await org();
    const { jobId } = await offered("silent");
    await db.advanceClock(29_000);
    await expiry().pass(orgId);
    expect((await read(jobId)).state).toBe(JobState.offered);
    await db.advanceClock(2_000);
    await expiry().pass(orgId);
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, losses: 1 });
  });

  test("gives back what a worker leaves that fell silent while it drained: no attempt is spent", async () => {
    const { orgId, read, offered } = await org();
    const seen = await offered("drains");
    await createAcceptBatcher(c).add(orgId, { ...seen.grant.fence, isDone: () => false });
    const unseen = await offered("drains too");
    await db.admin`update muster.links set is_draining = true where org_id = ${orgId}`;
    await db.advanceClock(31_000);
    await expiry().pass(orgId);
    expect(await read(seen.jobId)).toMatchObject({ state: JobState.ready, losses: 0, releases: 1 });
    expect(await read(unseen.jobId)).toMatchObject({ state: JobState.ready, losses: 0, releases: 0 });
  });

  test("counts no loss where the coordinator fell silent with the link", async () => {
    const { orgId, read, offered } = await org();
    await upsertCoordinator(c.db.sweep, { coordinatorId: c.coordinatorId, apiAddress: "", links: 1 });
    const { jobId } = await offered("unheard");
    await db.advanceClock(31_000);
    await expiry().pass(orgId);
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, losses: 0 });
    const again = await offered("heard", jobId);
    await db.advanceClock(29_000);
    await upsertCoordinator(c.db.sweep, { coordinatorId: c.coordinatorId, apiAddress: "", links: 1 });
    await db.advanceClock(2_000);
    await expiry().pass(orgId);
    expect(await read(again.jobId)).toMatchObject({ state: JobState.ready, losses: 1 });
    await removeCoordinator(c.db.sweep, c.coordinatorId);
  });

  test("takes a lease back that passed its cap, however lively its worker is", async () => {
    const { orgId, submit, read, offered } = await org();
    const { jobId, worker } = await offered("lively", await submit({ leaseTtlMs: 60_000 }));
    await db.advanceClock(61_000);
    await db.admin`update muster.links set seen_at = muster.muster_clock() where worker_id = ${worker.link.workerId}`;
    await expiry().pass(orgId);
    expect(await read(jobId)).toMatchObject({
      state: JobState.ready,
      losses: 1,
      error: { message: expect.stringContaining("cap") },
    });
  });

  test("waits after the coordinator's own start", async () => {
    const { orgId, read, offered } = await org();
    const { jobId } = await offered("silent");
    await db.advanceClock(31_000);
    let nowMs = 0;
    const waiting = new Expiry(c, () => nowMs);
    await waiting.pass(orgId);
    expect((await read(jobId)).state).toBe(JobState.offered);
    // Passes come each second; long pauses between them would be an outage of their own.
    for (const atMs of [10_000, 20_000, c.config.outageGraceMs]) {
      nowMs = atMs;
      await waiting.pass(orgId);
    }
    expect((await read(jobId)).state).toBe(JobState.ready);
  });

  test("waits when a third of the links vanish together, and then counts no loss", async () => {
    const { orgId, read, offered } = await org();
    const { jobId } = await offered("one");
    for (let n = 0; n < 20; n++) await attachWorker(c, orgId, { name: `fleet-${n}` });
    await db.advanceClock(31_000);
    let nowMs = 0;
    const fleet = new Expiry(testCoordinator(db, { config: { outageGraceMs: 1_000 } }), () => nowMs);
    nowMs = 1_000;
    await fleet.pass(orgId);
    expect((await read(jobId)).state).toBe(JobState.offered);
    nowMs = 2_000;
    await fleet.pass(orgId);
    expect(await read(jobId)).toMatchObject({ state: JobState.ready, losses: 0 });
  });
});

describe("the count of an org's links", () => {
  test("is taken again until no vanished link is in it, and once more when all links are gone", async () => {
    const { orgId, offered } = await org();
    const { jobId } = await offered("one");
    await db.advanceClock(16_000);
    const expiry = new Expiry(testCoordinator(db, { config: { outageGraceMs: 0 } }), () => performance.now());
    const linked = new Set([orgId]);
    expect([expiry.unsettled(new Set()), expiry.unsettled(linked)]).toEqual([[], [orgId]]);
    await expiry.pass(orgId);
    expect(expiry.unsettled(linked)).toEqual([orgId]);
    await db.admin`update muster.links set seen_at = muster.muster_clock() where org_id = ${orgId}`;
    await expiry.pass(orgId);
    expect([expiry.unsettled(linked), expiry.unsettled(new Set())]).toEqual([[], [orgId]]);
    await db.admin`update muster.links set is_attached = false where org_id = ${orgId}`;
    await db.admin`delete from muster.job_queue where job_id = ${jobId}`;
    await expiry.pass(orgId);
    expect(expiry.unsettled(new Set())).toEqual([]);
  });
});

describe("a lost job", () => {
  test("goes back to its worker when there is no other, and avoids it while there is", async () => {
    const { orgId, dispatcher, read, offered } = await org();
    const { jobId, grant, worker } = await offered("only");
    const lost = { type: "lost", isFleetEvent: false } as const;
    await endLeases(c, orgId, [{ fence: grant.fence, event: lost, reason: "gone" }]);
    worker.link.drop(grant.fence.leaseId);
    // One that could run it is attached: the job waits for that one. One that could not does not count.
    const declared = { ...hello().declared, skills: [] };
    await attachWorker(c, orgId, {
      name: "cannot",
      hello: hello({ declared: { ...declared, kinds: ["other"] } }),
    });
    const other = await attachWorker(c, orgId, { name: "could", hello: hello({ declared }) });
    await lapseAvoids(c, orgId);
    await dispatcher.refresh(orgId);
    expect((await read(jobId)).attempt).toBe(1);
    await db.admin`update muster.links set is_attached = false where worker_id = ${other.link.workerId}`;
    await lapseAvoids(c, orgId);
    await dispatcher.refresh(orgId);
    expect((await worker.offers(2))[1]?.fence).toMatchObject({ jobId, attempt: 2 });
  });
});

describe("a deadline", () => {
  test("cancels a job that waits, and asks the worker of one that runs", async () => {
    const { orgId, submit, read, offered } = await org();
    const deadline = new Date(db.nowMs() + 60_000);
    const waiting = await submit({ deadline, kind: "nobody" });
    const { jobId: running, grant } = await offered("one", await submit({ deadline }));
    await createAcceptBatcher(c).add(orgId, { ...grant.fence, isDone: () => false });
    await db.advanceClock(61_000);
    const parts = {
      coordinator: c,
      dispatcher: testDispatcher(c),
      sessions: new Set<never>(),
      expiry: new Expiry(c, () => performance.now()),
      releases: new ReleaseSweep(c),
      webhooks: { pass: async () => {} },
      apiAddress: "",
      nowMs: () => performance.now(),
      checkPeers: async () => {},
      prunePolls: () => {},
      ensurePartitions: async () => {},
      sawEpoch: () => {},
      alerts: createAlertParts(c, ["secret"]),
      wanted: new WantedWorkers(),
      attempt: async () => {},
    };
    await orgSweeps(parts)
      .find(({ name }) => name === "deadlines")
      ?.pass(orgId, signal());
    expect(await read(waiting)).toMatchObject({ state: JobState.cancelled, reason: "the deadline passed" });
    expect(await read(running)).toMatchObject({ state: JobState.running, isCancelRequested: true });
  });
});

describe("retention", () => {
  test("folds counts without changing their sums, and drops changes that are an hour old", async () => {
    const { orgId, offered } = await org();
    const { grant } = await offered("one");
    const result = {
      fence: grant.fence,
      resultId: randomUUID(),
      event: { type: "succeeded" as const },
      result: "1",
      error: null,
      prUrl: null,
      lastSequence: 0,
      reason: null,
      hasProgress: false,
    };
    await createResultBatcher(c).add(orgId, result);
    const sums = () =>
      db.admin`select sum(submitted)::int as submitted, sum(succeeded)::int as succeeded, sum(ready)::int as ready,
        sum(offered)::int as offered, sum(running)::int as running, count(*)::int as rows from muster.tallies where org_id = ${orgId}`;
    const ended = { submitted: 1, succeeded: 1, ready: 0, offered: 0, running: 0 };
    // The submit, the claim and the result.
    expect((await sums())[0]).toEqual({ ...ended, rows: 3 });
    const fold = () =>
      runInOrg(c.db.sweepClient, orgId, [call(foldTallies, { org: orgId, tally: c.newId() })]);
    await db.advanceClock(120_000);
    await fold();
    expect((await sums())[0]).toMatchObject(ended);
    await fold();
    expect((await sums())[0]).toEqual({ ...ended, rows: 1 });
    const changes = () => db.admin`select count(*)::int as n from muster.changes where org_id = ${orgId}`;
    expect((await changes())[0]?.["n"]).toBeGreaterThan(0);
    await db.advanceClock(3_600_000);
    const drop = call(dropChanges, { org: orgId, keep: 3_600_000, most: 86_400_000 });
    await dropAll(c, orgId, drop, signal());
    // The newest of them tells how far the feed was dropped.
    expect((await changes())[0]?.["n"]).toBe(1);
  });

  test("drops many expired keys in steps, and none that still counts", async () => {
    const { orgId } = await org();
    await db.admin`
      insert into muster.job_keys (org_id, type, key, target_id, fingerprint, expires_at)
      select ${orgId}, 'idempotency', n::text, gen_random_uuid(), '',
        case when n > 2 then muster.muster_clock() else muster.muster_clock() + interval '1 hour' end
      from generate_series(1, 10050) n`;
    await dropAll(c, orgId, call(dropExpiredKeys, { org: orgId }), signal());
    const left = await db.admin`select key from muster.job_keys where org_id = ${orgId} order by key`;
    expect(left.map((row) => row["key"])).toEqual(["1", "2"]);
  });

  test("drops results that came too late once they are old, and none of another org", async () => {
    const [{ orgId }, other] = [await org(), await org()];
    for (const each of [orgId, other.orgId]) {
      await db.admin`
        insert into muster.late_results (org_id, result_id, job_id, attempt, lease_id, worker_id, outcome, received_at)
        select ${each}, gen_random_uuid(), gen_random_uuid(), n, gen_random_uuid(), gen_random_uuid(), 1,
          muster.muster_clock() - n * interval '1 hour'
        from generate_series(1, 3) n`;
    }
    await dropAll(c, orgId, call(dropLateResults, { org: orgId, keep: 2.5 * 3_600_000 }), signal());
    const left = async (of: string) =>
      (await db.admin`select attempt from muster.late_results where org_id = ${of} order by attempt`).map(
        (row) => row["attempt"],
      );
    expect(await left(orgId)).toEqual([1, 2]);
    expect(await left(other.orgId)).toEqual([1, 2, 3]);
  });
});
