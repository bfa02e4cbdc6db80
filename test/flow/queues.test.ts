import { randomUUID } from "node:crypto";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { createMusterClient } from "@muster/client/node";
import { type Job, JobState } from "@muster/client/v1/job";
import { JobService, type LeaseRef } from "@muster/client/v1/job_service";
import type { ConnectResponse } from "@muster/client/v1/link";
import { QueueService, QueueType } from "@muster/client/v1/queue_service";
import { WorkerService } from "@muster/client/v1/worker_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { putGate } from "../../server/store/gates.ts";
import { transact } from "../../server/store/statement.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeEach(async () => {
  muster = await startTestServer({ heartbeatMs: 200, staleMs: 5_000, offerTtlMs: 15_000 });
});
afterEach(() => muster.close());

const queues = () => muster.client(QueueService);
const submit = async (kind: string, more: { queue?: string; pool?: string } = {}) =>
  (await muster.client(JobService).submitJob({ job: { kind, ...more } })).jobId;
const get = async (jobId: string): Promise<Job> => {
  const { job } = await muster.client(JobService).getJob({ jobId });
  if (!job) throw new Error("a job that was submitted is there");
  return job;
};
const many = (count: number, body: () => Promise<string>) => Promise.all(Array.from({ length: count }, body));

/** A worker of a few lines, over the twins: it takes offers, and answers when the test says so. */
async function slowWorker(address: string, slots = 4) {
  const client = createMusterClient(WorkerService, { address, key: await muster.workerKey() });
  const capacity = { slots, points: slots };
  const { welcome } = await client.attach({
    hello: {
      ...{ protocol: { major: 1, minor: 0 }, bootId: randomUUID(), hostBootId: "here", host: "here" },
      ...{ kinds: ["slow"], capacity, demand: capacity },
    },
  });
  const linkEpoch = welcome?.linkEpoch ?? 0n;
  const said: ConnectResponse[] = [];
  const next = async <C extends ConnectResponse["frame"]["case"]>(kind: C) => {
    for (;;) {
      const index = said.findIndex((one) => one.frame.case === kind);
      if (index >= 0) return said.splice(index, 1)[0]?.frame.value;
      said.push(...(await client.poll({ linkEpoch, wait: durationFromMs(1_000) })).frames);
    }
  };
  const offered: LeaseRef[] = [];
  let sequence = 0n;
  return {
    /** The next lease that is offered. */
    async offer(): Promise<LeaseRef> {
      while (offered.length === 0) {
        const offer = await next("offer");
        if (offer === undefined || !("leases" in offer)) continue;
        offered.push(...offer.leases.flatMap((one) => ("lease" in one && one.lease ? [one.lease] : [])));
      }
      const [lease] = offered.splice(0, 1);
      if (lease === undefined) throw new Error("an offer has a lease");
      return lease;
    },
    async cancelled(): Promise<LeaseRef | undefined> {
      const cancel = await next("cancel");
      return cancel !== undefined && "lease" in cancel ? cancel.lease : undefined;
    },
    accept: (lease: LeaseRef) =>
      client.answer({ linkEpoch, reply: { answers: [{ lease, heartbeatSequence: sequence }] } }),
    beat(held: readonly LeaseRef[]) {
      sequence += 1n;
      const free = slots - held.length;
      const heldLeases = held.map((lease) => ({ lease }));
      const heartbeat = { sequence, heldLeases, demand: { slots: free, points: free } };
      return client.renew({ linkEpoch, heartbeat });
    },
    finish: (lease: LeaseRef) =>
      client.submitResults({
        results: {
          results: [
            {
              ...{ lease, resultId: randomUUID(), lastSequence: 0n },
              outcome: { case: "success", value: {} },
            },
          ],
        },
      }),
  };
}

describe("a pause", () => {
  test("takes offers back that nobody has accepted, on every coordinator, and they keep their place", async () => {
    const peer = await muster.startPeer();
    const near = await slowWorker(muster.server.apiAddress, 1);
    const first = await submit("slow");
    const nearOffer = await near.offer();
    const far = await slowWorker(peer.apiAddress, 1);
    const second = await submit("slow");
    const farOffer = await far.offer();
    expect([nearOffer.jobId, farOffer.jobId]).toEqual([first, second]);

    const { queue, withdrawn } = await queues().pauseQueue({ name: "default", reason: "bad deploy" });
    expect(withdrawn).toBe(1);
    expect(queue).toMatchObject({ paused: true, pauseReason: "bad deploy" });
    expect(await near.cancelled()).toMatchObject({ leaseId: nearOffer.leaseId });
    expect(await far.cancelled()).toMatchObject({ leaseId: farOffer.leaseId });
    const waiting = [await get(first), await get(second)];
    expect(waiting.map(({ state }) => state)).toEqual([JobState.READY, JobState.READY]);
    expect((await queues().getQueue({ name: "default" })).queue).toMatchObject({
      leased: 0,
      counts: { ready: 2n, offered: 0n },
    });
    expect(await muster.database.admin`select 1 from muster.attempts`).toEqual([]);

    // Too late: it is told, and holds nothing.
    const { ack } = await near.accept(nearOffer);
    expect(ack?.superseded ?? []).toMatchObject([{ leaseId: nearOffer.leaseId }]);
    expect((await get(first)).state).toBe(JobState.READY);

    const third = await submit("slow");
    await near.beat([]);
    await far.beat([]);
    await queues().resumeQueue({ name: "default" });
    const again = [await near.offer(), await far.offer()];
    expect(new Set(again.map(({ jobId }) => jobId))).toEqual(new Set([first, second]));
    expect(again.map(({ attempt }) => attempt)).toEqual([2, 2]);
    expect((await get(third)).state).toBe(JobState.READY);
    expect(await get(first)).toMatchObject({ failures: 0, losses: 0, releases: 0 });
  });

  test("leaves alone what was accepted, and what another queue offers", async () => {
    const worker = await slowWorker(muster.server.apiAddress);
    const running = await submit("slow");
    const lease = await worker.offer();
    await worker.accept(lease);
    const other = await submit("slow", { queue: "other" });
    await worker.offer();
    const { withdrawn } = await queues().pauseQueue({ name: "default" });
    expect(withdrawn).toBe(0);
    await muster.reach(running, JobState.RUNNING);
    expect((await get(other)).state).toBe(JobState.OFFERED);
    await worker.finish(lease);
    expect((await muster.reach(running, JobState.SUCCEEDED)).attempt).toBe(1);
  });

  test("of a kind or a pool does the same, and a pause with an end ends by itself", async () => {
    const worker = await slowWorker(muster.server.apiAddress);
    const jobId = await submit("slow", { pool: "acme" });
    await worker.offer();
    const until = new Date(Date.now() + 1_500);
    const time = { seconds: BigInt(Math.floor(until.getTime() / 1_000)), nanos: 0 };
    const pool = { type: QueueType.POOL, name: "acme" };
    const { withdrawn } = await queues().pauseQueue({
      ...pool,
      until: { ...time, seconds: time.seconds + 1n },
    });
    expect(withdrawn).toBe(1);
    expect((await get(jobId)).state).toBe(JobState.READY);
    await worker.beat([]);
    expect(await worker.offer()).toMatchObject({ jobId, attempt: 2 });
    expect(Date.now()).toBeGreaterThanOrEqual(Number(time.seconds + 1n) * 1_000 - 50);
    const kind = await queues().pauseQueue({ type: QueueType.KIND, name: "slow" });
    expect(kind.withdrawn).toBe(1);
    await worker.beat([]);
    await queues().resumeQueue({ type: QueueType.KIND, name: "slow" });
    expect(await worker.offer()).toMatchObject({ jobId, attempt: 3 });
  });

  test("that no wake told of takes offers back at the next poll", async () => {
    const worker = await slowWorker(muster.server.apiAddress);
    const jobId = await submit("slow");
    const lease = await worker.offer();
    const [org] = await muster.database.admin`select org_id from muster.job_queue`;
    // As another coordinator does, whose wake is lost.
    await transact(muster.database.database.hot, String(org?.["org_id"]), (tx) =>
      putGate(tx, "queue:default", { pause: { reason: "", resumeAt: null } }),
    );
    expect(await worker.cancelled()).toMatchObject({ leaseId: lease.leaseId });
    expect((await get(jobId)).state).toBe(JobState.READY);
  });

  test("that an accept overtakes has it running, or stopped: never both", async () => {
    const worker = await slowWorker(muster.server.apiAddress, 8);
    const jobs = await many(8, () => submit("slow"));
    const offers: LeaseRef[] = [];
    while (offers.length < jobs.length) offers.push(await worker.offer());
    const [, ...answers] = await Promise.all([
      queues().pauseQueue({ name: "default" }),
      ...offers.map((lease) => worker.accept(lease)),
    ]);
    const lost = new Set(answers.flatMap(({ ack }) => ack?.superseded.map(({ leaseId }) => leaseId) ?? []));
    const { ack } = await worker.beat(offers);
    for (const { leaseId } of ack?.lost ?? []) lost.add(leaseId);
    for (const { jobId, leaseId } of offers) {
      await muster.reach(jobId, lost.has(leaseId) ? JobState.READY : JobState.RUNNING);
    }
    const { queue } = await queues().getQueue({ name: "default" });
    expect(queue?.leased).toBe(jobs.length - lost.size);
  });
});

/** A worker that counts how many of its jobs run at once. */
async function countingWorker(kinds: readonly string[]) {
  const gate = { running: 0, most: 0, starts: [] as number[] };
  const run = async () => {
    gate.starts.push(performance.now());
    gate.running++;
    gate.most = Math.max(gate.most, gate.running);
    await new Promise((resolve) => setTimeout(resolve, 20));
    gate.running--;
  };
  const handlers = Object.fromEntries(kinds.map((kind) => [kind, run]));
  return { gate, handlers };
}

describe("a limit", () => {
  test("of running jobs holds over two coordinators, until it is taken away", async () => {
    const peer = await muster.startPeer();
    const { gate, handlers } = await countingWorker(["quick"]);
    const limits = { running: 3 };
    const set = await queues().setQueueLimits({ name: "narrow", limits });
    expect(set.queue).toMatchObject({ limits, leased: 0 });
    for (const address of [muster.server.workerAddress, peer.workerAddress]) {
      await muster.startWorker({ address, slots: 8, handlers });
    }
    const jobs = await many(20, () => submit("quick", { queue: "narrow" }));
    await Promise.all(jobs.map((jobId) => muster.reach(jobId, JobState.SUCCEEDED)));
    expect(gate.most).toBe(3);
    await queues().setQueueLimits({ name: "narrow", limits: {} });
    const more = await many(40, () => submit("quick", { queue: "narrow" }));
    await Promise.all(more.map((jobId) => muster.reach(jobId, JobState.SUCCEEDED)));
    expect(gate.most).toBeGreaterThan(3);
    expect((await queues().getQueue({ name: "narrow" })).queue).toMatchObject({
      leased: 0,
      counts: { submitted: 60n, succeeded: 60n, ready: 0n, running: 0n },
    });
  }, 40_000);

  test("of a kind does not hold up other kinds", async () => {
    const narrow = await countingWorker(["narrow"]);
    const wide = await countingWorker(["wide"]);
    await queues().setQueueLimits({ type: QueueType.KIND, name: "narrow", limits: { running: 1 } });
    await muster.startWorker({ slots: 16, handlers: { ...narrow.handlers, ...wide.handlers } });
    const jobs = [...(await many(8, () => submit("narrow"))), ...(await many(24, () => submit("wide")))];
    await Promise.all(jobs.map((jobId) => muster.reach(jobId, JobState.SUCCEEDED)));
    expect(narrow.gate.most).toBe(1);
    expect(wide.gate.most).toBeGreaterThan(1);
  });

  test("of starts lets so many start at once, and the others as time goes by", async () => {
    const { gate, handlers } = await countingWorker(["quick"]);
    const limits = { startRate: { jobs: 4, per: durationFromMs(1_000) } };
    await queues().setQueueLimits({ name: "default", limits });
    await muster.startWorker({ slots: 16, handlers });
    const jobs = await many(12, () => submit("quick"));
    await Promise.all(jobs.map((jobId) => muster.reach(jobId, JobState.SUCCEEDED)));
    const [first = 0] = gate.starts;
    const within = (ms: number) => gate.starts.filter((at) => at - first <= ms).length;
    expect(gate.starts).toHaveLength(12);
    // A start is late by its way to the worker, never early: 4 at once, then 4 a second.
    expect(within(900)).toBeLessThanOrEqual(8);
    expect((gate.starts.at(-1) ?? 0) - first).toBeGreaterThan(1_700);
  });
});

test("a handler that finds its pool's quota spent holds the pool, and all of it goes on by itself", async () => {
  let isSpent = true;
  const starts: { readonly id: string; readonly atMs: number }[] = [];
  const parkedMs = 1_500;
  await muster.startWorker({
    slots: 1,
    handlers: {
      ask: (ctx) => {
        starts.push({ id: ctx.job.id, atMs: performance.now() });
        if (!isSpent) return "answer";
        isSpent = false;
        return ctx.park({ reason: "429", wakeAfterMs: parkedMs, pool: true });
      },
      free: () => "free",
    },
  });
  const first = await submit("ask", { pool: "acme" });
  const parked = await muster.reach(first, JobState.PARKED);
  const others = await many(3, () => submit("ask", { pool: "acme" }));
  const free = await submit("free");
  await muster.reach(free, JobState.SUCCEEDED);
  expect(starts).toHaveLength(1);
  const pool = { type: QueueType.POOL, name: "acme" };
  expect((await queues().getQueue(pool)).queue).toMatchObject({ paused: true, pauseReason: "429" });
  await Promise.all([first, ...others].map((jobId) => muster.reach(jobId, JobState.SUCCEEDED)));
  const [began, ...after] = starts;
  for (const { atMs } of after) expect(atMs - (began?.atMs ?? 0)).toBeGreaterThan(parkedMs - 50);
  expect(parked).toMatchObject({ failures: 0, attempt: 1 });
  expect((await get(first)).attempt).toBe(2);
  await expect.poll(async () => (await queues().getQueue(pool)).queue?.paused).toBe(false);
});
