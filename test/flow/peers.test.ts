import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerState } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { RunningServer } from "../../server/server.ts";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
let peer: RunningServer;
let starts: Map<string, number>;
let open: () => void;

// The API is the first coordinator's, the only worker is linked to the second.
beforeEach(async () => {
  muster = await startTestServer({ heartbeatMs: 200, staleMs: 2_000, reclaimAfterMs: 10_000 });
  peer = await muster.startPeer();
  starts = new Map();
  const gate = Promise.withResolvers<void>();
  open = gate.resolve;
  await muster.startWorker({
    key: await muster.workerKey("far"),
    address: peer.workerAddress,
    transport: "stream",
    slots: 4,
    handlers: {
      quick: ({ job }) => void starts.set(job.id, performance.now()),
      held: async ({ job }) => {
        starts.set(job.id, performance.now());
        await gate.promise;
      },
      until: ({ job, signal }) => {
        starts.set(job.id, performance.now());
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    },
  });
});
afterEach(() => muster.close());

const jobs = () => muster.client(JobService);
const admin = () => muster.client(WorkerAdminService);
const far = async () => {
  const { worker: found } = await admin().getWorker({ name: "far" });
  if (!found) throw new Error("no worker");
  return found;
};

async function submit(kind: string): Promise<string> {
  return (await jobs().submitJob({ job: { kind } })).jobId;
}

/** Connections that listen are cut, again and again, until the end of the body: every wake is lost. */
async function withoutWakes<T>(body: () => Promise<T>): Promise<T> {
  const { admin: database } = muster.database;
  let isOver = false;
  const cutting = (async () => {
    while (!isOver) {
      await database`
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'muster wake' and datname = current_database()`;
    }
  })();
  try {
    return await body();
  } finally {
    isOver = true;
    await cutting;
  }
}

/** Milliseconds from the answer of a submission to its start at the worker of the other coordinator. */
async function startDelay(): Promise<number> {
  const jobId = await submit("quick");
  const submittedMs = performance.now();
  await expect.poll(() => starts.has(jobId), { timeout: 5_000, interval: 2 }).toBe(true);
  return (starts.get(jobId) ?? Number.POSITIVE_INFINITY) - submittedMs;
}

async function listeners(count: number): Promise<void> {
  const { admin: database } = muster.database;
  const found = async () =>
    (
      await database`
        select pid from pg_stat_activity where application_name = 'muster wake' and datname = current_database()`
    ).length;
  await expect.poll(found, { timeout: 10_000 }).toBe(count);
}

describe("coordinators of one database", () => {
  test("a job submitted to one starts at once at the worker of another, and within a poll when wakes are lost", async () => {
    await listeners(2);
    const woken = [];
    for (let n = 0; n < 9; n++) woken.push(await startDelay());
    woken.sort((a, b) => a - b);
    expect(woken[4]).toBeLessThan(200);
    const polled = await withoutWakes(async () => {
      const delays = [];
      for (let n = 0; n < 3; n++) delays.push(await startDelay());
      return delays;
    });
    expect(Math.max(...polled)).toBeLessThan(2_000);
    // The channel comes back by itself.
    await listeners(2);
    await expect.poll(startDelay, { timeout: 15_000 }).toBeLessThan(200);
  });

  test("a job that runs at the worker of one is cancelled through another, with wakes and without", async () => {
    for (const way of [(body: () => Promise<unknown>) => body(), withoutWakes]) {
      const jobId = await submit("until");
      await muster.reach(jobId, JobState.RUNNING);
      await way(async () => {
        await jobs().cancelJob({ jobId, reason: "not wanted" });
        await muster.reach(jobId, JobState.CANCELLED);
      });
    }
  });
});

describe("a coordinator that stops", () => {
  test("sends its workers to the next address, and their handlers do not notice", async () => {
    const second = await muster.startWorker({
      address: `${peer.workerAddress},${muster.server.workerAddress}`,
      transport: "stream",
      skills: ["two"],
      handlers: {
        twice: async ({ job, signal }) => {
          starts.set(job.id, (starts.get(job.id) ?? 0) + 1);
          await withdrawn.promise;
          return { aborted: signal.aborted };
        },
      },
    });
    const withdrawn = Promise.withResolvers<void>();
    const { jobId } = await jobs().submitJob({ job: { kind: "twice" } });
    await muster.reach(jobId, JobState.RUNNING);
    await peer.stop({ graceMs: 100 });
    withdrawn.resolve();
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ attempt: 1, losses: 0, releases: 0 });
    expect(starts.get(jobId)).toBe(1);
    await second.stop({ graceMs: 0 });
  });
});

describe("a drain", () => {
  test("through another coordinator stops new work at its commit and lets what runs end; resume takes it back", async () => {
    const held = await submit("held");
    await muster.reach(held, JobState.RUNNING);
    const { worker: drained } = await admin().drainWorker({ name: "far", reason: "maintenance" });
    expect(drained).toMatchObject({ state: WorkerState.DRAINING, drainRequested: true, leases: 1 });
    // Committed: whatever any coordinator claims from now on, it is not for this worker.
    const waits = await submit("quick");
    await expect
      .poll(async () => muster.database.admin`select * from muster.commands`, { timeout: 5_000 })
      .toHaveLength(0);
    expect((await jobs().getJob({ jobId: waits })).job).toMatchObject({ state: JobState.READY, attempt: 0 });
    open();
    expect(await muster.reach(held, JobState.SUCCEEDED)).toMatchObject({
      attempt: 1,
      releases: 0,
      losses: 0,
    });
    expect(await far()).toMatchObject({ state: WorkerState.DRAINING, leases: 0 });
    const { worker: resumed } = await admin().resumeWorker({ workerId: drained?.workerId ?? "" });
    expect(resumed).toMatchObject({ drainRequested: false });
    expect(await muster.reach(waits, JobState.SUCCEEDED)).toMatchObject({ attempt: 1 });
    await expect.poll(async () => (await far()).state, { timeout: 5_000 }).toBe(WorkerState.IDLE);
    const audited = await muster.database.admin`
      select action, reason from muster.audit_log where action in ('worker.drain', 'worker.resume') order by at`;
    expect(audited).toEqual([
      { action: "worker.drain", reason: "maintenance" },
      { action: "worker.resume", reason: "" },
    ]);
  });

  test("reaches the worker within a poll when wakes are lost", async () => {
    await withoutWakes(async () => {
      await admin().drainWorker({ name: "far" });
      await expect
        .poll(async () => muster.database.admin`select * from muster.commands`, { timeout: 5_000 })
        .toHaveLength(0);
    });
    const [link] = await muster.database.admin`select is_draining from muster.links`;
    expect(link).toEqual({ is_draining: true });
  });

  test("stands for the next boot of the worker, and ends with a resume while it is away", async () => {
    await admin().drainWorker({ name: "far" });
    const { key, stateDir } = { key: await muster.workerKey("other"), stateDir: `${muster.folder}/other` };
    await admin().drainWorker({ name: "other" });
    const handlers = { quick: () => "done" };
    const next = await muster.startWorker({ key, stateDir, handlers });
    await expect
      .poll(async () => (await admin().getWorker({ name: "other" })).worker?.state, { timeout: 5_000 })
      .toBe(WorkerState.DRAINING);
    const jobId = await submit("quick");
    await next.stop({ graceMs: 0 });
    expect((await jobs().getJob({ jobId })).job).toMatchObject({ state: JobState.READY, attempt: 0 });
    await admin().resumeWorker({ name: "other" });
    await muster.startWorker({ key, stateDir, handlers });
    await muster.reach(jobId, JobState.SUCCEEDED);
  });

  test("of a worker that nobody knows is refused, and a reason that is too long", async () => {
    await expect(admin().drainWorker({ name: "nobody" })).rejects.toThrow(/nobody/);
    await expect(admin().drainWorker({})).rejects.toThrow(/workerId|worker_id/);
    await expect(admin().resumeWorker({ name: "far", reason: "x".repeat(501) })).rejects.toThrow(/reason/);
  });

  test("a resume lifts a quarantine", async () => {
    await muster.database.admin`
      update muster.workers set quarantined_at = now(), quarantine_reason = 'it lost three jobs'`;
    expect(await far()).toMatchObject({
      state: WorkerState.QUARANTINED,
      quarantineReason: "it lost three jobs",
      quarantineTime: expect.anything(),
    });
    await admin().resumeWorker({ name: "far" });
    const resumed = await far();
    expect(resumed).toMatchObject({ state: WorkerState.IDLE, quarantineReason: "" });
    expect(resumed.quarantineTime).toBeUndefined();
  });
});
