import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Grant } from "../../server/dispatch/link.ts";
import { encodeId } from "../../server/domain/ids.ts";
import { getJob } from "../../server/domain/job-views.ts";
import { cancelJob, submitBatch, submitJob } from "../../server/domain/jobs.ts";
import { createResultBatcher, endLeases } from "../../server/domain/leases.ts";
import { attachLink, type Hello } from "../../server/domain/links.ts";
import { createReportBatcher } from "../../server/domain/reports.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import { lapseAvoids } from "../../server/maintain/due.ts";
import { Expiry } from "../../server/maintain/expiry.ts";
import { refreshStandingOf } from "../../server/maintain/standing.ts";
import { suspectLink } from "../../server/store/links.ts";
import { readReadyShapes, shapeOfRow } from "../../server/store/ready-shapes.ts";
import { call, runInOrg } from "../../server/store/statement.ts";
import { claimOf } from "../support/claims.ts";
import {
  createTestDatabase,
  type TestCoordinator,
  type TestDatabase,
  testCaller,
  testCoordinator,
} from "../support/database.ts";
import { attachWorker, hello, jobRequest, testDispatcher, workerCaller } from "../support/fleet.ts";

let db: TestDatabase;
let c: TestCoordinator;

beforeAll(async () => {
  db = await createTestDatabase();
  c = testCoordinator(db);
});
afterAll(() => db.close());

async function org() {
  const orgId = await db.orgId();
  const caller = testCaller(orgId);
  const dispatcher = testDispatcher(c);
  const submit = async () => {
    const job = jobRequest();
    const { jobId } = await submitJob(c, caller, { job, idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    return jobId;
  };
  const submitMany = async (count: number) => {
    const jobs = Array.from({ length: count }, (_, n) => jobRequest({ payload: String(n) }));
    const batch = await submitBatch(c, caller, { jobs, title: "", idempotencyKey: null, parent: null });
    await dispatcher.refresh(orgId);
    return batch;
  };
  const read = (jobId: string) => getJob(c, caller, { jobId, externalId: null, isFull: true });
  return { orgId, caller, dispatcher, submit, submitMany, read };
}

const quarantineOf = async (workerId: string) =>
  (
    await db.admin`select quarantine_reason as reason from muster.workers
    where worker_id = ${workerId} and quarantined_at is not null`
  )[0]?.["reason"];

const lose = (orgId: string, grants: readonly Grant[]) =>
  endLeases(
    c,
    orgId,
    grants.map(({ fence }) => ({
      fence,
      event: { type: "lost" as const, isFleetEvent: false },
      reason: "silent",
    })),
  );

describe("two processes with one identity", () => {
  const at = (host: string, bootId = randomUUID()): Hello => {
    const { declared } = hello();
    return hello({ bootId, hostBootId: host, declared: { ...declared, host } });
  };

  test("are named when the newer takes over, and quarantined at the third flip in ten minutes", async () => {
    const { orgId } = await org();
    const caller = await workerCaller(c, orgId, "cloned");
    const [first, second] = [at("one"), at("two")];
    expect(await attachLink(c, caller, first)).toMatchObject({ replaced: null, isQuarantined: false });
    expect(await attachLink(c, caller, second)).toMatchObject({
      replaced: { host: "one", bootId: first.bootId },
      isQuarantined: false,
    });
    expect(await attachLink(c, caller, first)).toMatchObject({ isQuarantined: false });
    const third = await attachLink(c, caller, second);
    expect(third).toMatchObject({ isQuarantined: true, replaced: { host: "one" } });
    const reason = await quarantineOf(third.workerId);
    for (const part of ["host one", "host two", first.bootId, second.bootId]) expect(reason).toContain(part);
    expect(
      c.counters.value("muster_quarantines_total", { cause: "identity", org: encodeId("org", orgId) }),
    ).toBe(1);
  });

  test("are left alone when their flips are ten minutes apart", async () => {
    const { orgId } = await org();
    const caller = await workerCaller(c, orgId, "seldom");
    for (const host of ["one", "two", "one", "two", "one"]) {
      const attached = await attachLink(c, caller, at(host));
      await db.advanceClock(300_100);
      await db.admin`update muster.links set seen_at = muster.muster_clock() where worker_id = ${attached.workerId}`;
      expect(attached.isQuarantined).toBe(false);
    }
  });

  test("are not what a worker is that restarts after its link was closed", async () => {
    const { orgId } = await org();
    const caller = await workerCaller(c, orgId, "restarting");
    for (let n = 0; n < 5; n++) {
      const attached = await attachLink(c, caller, at("one"));
      expect(attached).toMatchObject({ replaced: null, isQuarantined: false });
      await db.admin`update muster.links set is_attached = false where worker_id = ${attached.workerId}`;
    }
  });
});

describe("a worker that loses jobs", () => {
  test("three different ones, one after the other, is quarantined instead of the jobs", async () => {
    const { orgId, dispatcher, submitMany, read } = await org();
    const worker = await attachWorker(c, orgId, { name: "lossy", dispatcher });
    await submitMany(3);
    const grants = await worker.offers(3);
    const losses: number[] = [];
    for (const grant of grants) {
      await lose(orgId, [grant]);
      losses.push((await read(grant.fence.jobId)).losses);
    }
    expect(losses).toEqual([1, 1, 0]);
    expect(await quarantineOf(worker.link.workerId)).toBe("it lost 3 different jobs within 10 min");
  });

  test("is not, when one power cut took all of them, nor when it is the same job each time", async () => {
    const { orgId, dispatcher, submitMany, read } = await org();
    const worker = await attachWorker(c, orgId, { name: "unlucky", dispatcher });
    await submitMany(4);
    const grants = await worker.offers(4);
    await lose(orgId, grants);
    for (const { fence } of grants) {
      expect((await read(fence.jobId)).losses).toBe(1);
      worker.link.drop(fence.leaseId);
    }
    expect(await quarantineOf(worker.link.workerId)).toBeUndefined();
  });

  test("is not, when its losses are our doing or their leases passed the cap", async () => {
    const { orgId, dispatcher, submitMany } = await org();
    const worker = await attachWorker(c, orgId, { name: "innocent", dispatcher });
    await submitMany(4);
    for (const [n, { fence }] of (await worker.offers(4)).entries()) {
      const event = { type: "lost" as const, isFleetEvent: n % 2 === 0 };
      await endLeases(c, orgId, [{ fence, event, reason: "r", isWorkersLoss: n % 2 === 0 }]);
    }
    expect(await db.admin`select 1 from muster.worker_losses where org_id = ${orgId}`).toHaveLength(0);
  });

  test("that are ten minutes apart, is not quarantined", async () => {
    const { orgId, dispatcher, submitMany } = await org();
    const worker = await attachWorker(c, orgId, { name: "rare", dispatcher });
    await submitMany(3);
    for (const grant of await worker.offers(3)) {
      await lose(orgId, [grant]);
      await db.advanceClock(300_100);
    }
    expect(await quarantineOf(worker.link.workerId)).toBeUndefined();
  });

  test("counts a stale fence for nothing", async () => {
    const { orgId, dispatcher, submit } = await org();
    const worker = await attachWorker(c, orgId, { name: "fenced", dispatcher });
    await submit();
    const [grant] = await worker.offers(1);
    if (!grant) throw new Error("offered");
    await lose(orgId, [{ ...grant, fence: { ...grant.fence, leaseId: randomUUID() } }]);
    expect(await db.admin`select 1 from muster.worker_losses where org_id = ${orgId}`).toHaveLength(0);
  });
});

describe("a worker that may get nothing new", () => {
  const hold = {
    quarantined: (workerId: string) =>
      db.admin`update muster.workers set quarantined_at = muster.muster_clock() where worker_id = ${workerId}`,
    pending: (workerId: string) =>
      db.admin`update muster.workers set approval = 'pending' where worker_id = ${workerId}`,
    "off hours": (workerId: string) =>
      db.admin`update muster.workers set hours = '{"zone":"UTC","windows":[]}' where worker_id = ${workerId}`,
    "at its limit of pull requests": (workerId: string) =>
      db.admin.begin(async (tx) => {
        await tx`update muster.workers set max_open_prs = 1 where worker_id = ${workerId}`;
        await tx`insert into muster.pull_requests (org_id, url, project, job_id, worker_id)
        select org_id, ${`https://example.test/${randomUUID()}`}, 'acme/web', ${randomUUID()}, worker_id
        from muster.workers where worker_id = ${workerId}`;
      }),
    suspect: (workerId: string) =>
      db.admin`update muster.links set suspect_at = muster.muster_clock() where worker_id = ${workerId}`,
  };

  test.each(["quarantined", "suspect", "pending", "off hours", "at its limit of pull requests"] as const)(
    "because it is %s is refused by the claim itself",
    async (why) => {
      const { orgId, submit } = await org();
      await submit();
      const held = await attachWorker(c, orgId, { name: "held back" });
      const other = await attachWorker(c, orgId, { name: "other" });
      await hold[why](held.link.workerId);
      const claim = async ({ workerId, linkEpoch }: typeof held.link) => {
        const [shapes = []] = await runInOrg(db.database.hot, orgId, [call(readReadyShapes, { org: orgId })]);
        const shape = String(shapes.map(shapeOfRow)[0]?.shapeId);
        const [rows] = await runInOrg(db.database.hot, orgId, [
          claimOf({ org: orgId, shape, slots: [workerId], epoch: linkEpoch }),
        ]);
        return rows?.length;
      };
      expect(await claim(held.link)).toBe(0);
      expect(await claim(other.link)).toBe(1);
    },
  );

  test("is not planned for once its standing is read, and again when it is cleared", async () => {
    const { orgId, dispatcher, submit } = await org();
    const worker = await attachWorker(c, orgId, { name: "cleared", dispatcher });
    await hold.quarantined(worker.link.workerId);
    await refreshStandingOf({ coordinator: c, dispatcher }, orgId);
    expect(worker.link.isOpen).toBe(false);
    await submit();
    expect(worker.offered).toHaveLength(0);
    await db.admin`update muster.workers set quarantined_at = null where worker_id = ${worker.link.workerId}`;
    await refreshStandingOf({ coordinator: c, dispatcher }, orgId);
    await dispatcher.refresh(orgId);
    expect(await worker.offers(1)).toHaveLength(1);
  });

  test("does not keep a job waiting that avoids the only other one", async () => {
    const { orgId, dispatcher, submit } = await org();
    const worker = await attachWorker(c, orgId, { name: "only", dispatcher });
    await submit();
    const [grant] = await worker.offers(1);
    if (!grant) throw new Error("offered");
    const suspect = await attachWorker(c, orgId, { name: "suspect" });
    await suspectLink(db.database, orgId, { ...suspect.link, isSuspect: true });
    await lose(orgId, [grant]);
    worker.link.drop(grant.fence.leaseId);
    await lapseAvoids(c, orgId);
    await dispatcher.refresh(orgId);
    expect((await worker.offers(2))[1]?.fence.attempt).toBe(2);
  });

  test("is above suspicion when it attaches anew", async () => {
    const { orgId } = await org();
    const { caller, link } = await attachWorker(c, orgId, { name: "anew" });
    await suspectLink(db.database, orgId, { ...link, isSuspect: true });
    await attachLink(c, caller, hello());
    const rows = await db.admin`select suspect_at from muster.links where worker_id = ${link.workerId}`;
    expect(rows[0]?.["suspect_at"]).toBeNull();
  });
});

describe("what a stale sender brings", () => {
  async function superseded() {
    const { orgId, caller, dispatcher, submit } = await org();
    const worker = await attachWorker(c, orgId, { name: "stale", dispatcher });
    const jobId = await submit();
    const [grant] = await worker.offers(1);
    if (!grant) throw new Error("offered");
    await lose(orgId, [grant]);
    const other = await attachWorker(c, orgId, { name: "current", dispatcher });
    await dispatcher.refresh(orgId);
    const [current] = await other.offers(1);
    if (!current) throw new Error("offered again");
    return { orgId, caller, jobId, grant, current };
  }
  const log = { type: "log", sequence: 1, timeMs: 0, stream: 1, level: "info", text: "hello" } as const;
  const progress = { fraction: 0.5, message: "half" };

  test.each([
    ["a log", { events: [log], progress: null }],
    ["progress", { events: [], progress }],
    ["both", { events: [log], progress }],
  ])("as %s is refused with the current attempt, and the current attempt's is kept", async (_, said) => {
    const { orgId, grant, current } = await superseded();
    const reports = createReportBatcher(c);
    const [stale, own] = await Promise.all([
      reports.add(orgId, { fence: grant.fence, ...said }),
      reports.add(orgId, { fence: current.fence, ...said }),
    ]);
    expect(stale).toEqual({ status: "superseded", currentAttempt: 2 });
    expect(own).toEqual({ status: "kept" });
  });

  test("as the tail of an attempt that ended itself is kept up to what it declared, for a minute", async () => {
    const { orgId, dispatcher, submit } = await org();
    const worker = await attachWorker(c, orgId, { name: "tail", dispatcher });
    await submit();
    const [grant] = await worker.offers(1);
    if (!grant) throw new Error("offered");
    await createResultBatcher(c).add(orgId, {
      fence: grant.fence,
      resultId: randomUUID(),
      event: { type: "succeeded" },
      result: "1",
      error: null,
      prUrl: null,
      lastSequence: 1,
      reason: null,
      hasProgress: false,
    });
    const reports = createReportBatcher(c);
    const tail = { fence: grant.fence, events: [log], progress: null };
    expect(await reports.add(orgId, tail)).toEqual({ status: "kept" });
    // Its own result ended it: nobody took over, so its handler is not told that.
    expect(await reports.add(orgId, { fence: grant.fence, events: [], progress })).toEqual({
      status: "late",
    });
    await db.advanceClock(61_000);
    expect(await reports.add(orgId, tail)).toEqual({ status: "late" });
    const other = { ...grant.fence, workerId: randomUUID() };
    const rows =
      await db.admin`select last_sequence::int as last from muster.log_chunks where org_id = ${orgId}`;
    expect(rows).toEqual([{ last: 1 }]);
    expect((await reports.add(orgId, { ...tail, fence: other })).status).not.toBe("kept");
  });

  test("as a cancel that names its lease cancels nothing", async () => {
    const { caller, jobId, grant, current } = await superseded();
    const cancel = (lease: Grant["fence"]) =>
      cancelJob(c, caller, { jobId, reason: "", isForced: true, lease });
    await expect(cancel(grant.fence)).rejects.toMatchObject({
      reason: "SUPERSEDED",
      details: { attempt: "1", currentAttempt: "2" },
    });
    expect(await cancel(current.fence)).toBe("cancelled");
    await expect(cancel(current.fence)).rejects.toMatchObject({ reason: "SUPERSEDED" });
  });
});

describe("expiry", () => {
  test("notices a fleet whose streams broke, although their links were closed, and counts no loss", async () => {
    const { orgId, dispatcher, submitMany, read } = await org();
    const declared = { ...hello().declared, slots: 1, points: 1 };
    const fleet = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        attachWorker(c, orgId, { name: `fleet ${n}`, dispatcher, hello: hello({ declared }) }),
      ),
    );
    const { jobIds } = await submitMany(20);
    await Promise.all(fleet.map((worker) => worker.offers(1)));
    await db.admin`update muster.links set is_attached = false where org_id = ${orgId}`;
    let nowMs = 0;
    const expiry = new Expiry(testCoordinator(db, { config: { outageGraceMs: 5_000 } }), () => nowMs);
    nowMs = 10_000;
    await db.advanceClock(20_000);
    await expiry.pass(orgId);
    await db.advanceClock(11_000);
    nowMs = 14_000;
    await expiry.pass(orgId);
    expect((await read(jobIds[0] ?? "")).state).toBe(JobState.offered);
    nowMs = 16_000;
    await expiry.pass(orgId);
    expect(await read(jobIds[0] ?? "")).toMatchObject({ state: JobState.ready, losses: 0 });
    expect(await db.admin`select 1 from muster.worker_losses where org_id = ${orgId}`).toHaveLength(0);
  });

  test("waits after an outage that only a renewal noticed", async () => {
    const { orgId, dispatcher, submit, read } = await org();
    const worker = await attachWorker(c, orgId, { name: "unheard", dispatcher });
    const jobId = await submit();
    await worker.offers(1);
    await db.advanceClock(31_000);
    let nowMs = 0;
    const expiry = new Expiry(testCoordinator(db, { config: { outageGraceMs: 1_000 } }), () => nowMs);
    nowMs = 5_000;
    expiry.outage();
    await expiry.pass(orgId);
    expect((await read(jobId)).state).toBe(JobState.offered);
    nowMs = 6_000;
    await expiry.pass(orgId);
    expect((await read(jobId)).state).toBe(JobState.ready);
  });
});
