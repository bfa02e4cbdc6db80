import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { AttemptOutcome, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { openSwitch, type Switch } from "../support/switch.ts";

let muster: TestServer;
let gate: Switch | undefined;

afterEach(async () => {
  await muster.close();
  await gate?.close();
  gate = undefined;
});

const quick = { heartbeatMs: 200, staleMs: 600, reclaimAfterMs: 1_200, outageGraceMs: 0, killGraceMs: 200 };

/** A handler that waits until the test lets it go. */
function held() {
  const started = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const attempts: number[] = [];
  const handler = async ({ job, signal }: { job: { attempt: number }; signal: AbortSignal }) => {
    attempts.push(job.attempt);
    started.resolve();
    await go.promise;
    return { aborted: signal.aborted };
  };
  return { handler, started: started.promise, release: () => go.resolve(), attempts };
}

async function submit(kind: string) {
  return (await muster.client(JobService).submitJob({ job: { kind } })).jobId;
}

describe("a worker", () => {
  test("that is killed loses its job to another one", async () => {
    muster = await startTestServer(quick);
    const options = { address: muster.server.workerAddress, key: await muster.workerKey() };
    const path = new URL("../support/worker-process.ts", import.meta.url).pathname;
    const parameters = JSON.stringify({ ...options, stateDir: join(muster.folder, "doomed") });
    const child = spawn(process.execPath, [path, parameters], {
      stdio: ["ignore", "ignore", "inherit", "pipe"],
    });
    const lines = createInterface({ input: child.stdio[3] as Readable })[Symbol.asyncIterator]();
    const next = async () => JSON.parse((await lines.next()).value ?? "null");
    expect(await next()).toEqual({ ready: true });
    const jobId = await submit("stuck");
    expect(await next()).toEqual({ started: jobId, attempt: 1 });
    child.kill("SIGKILL");
    await muster.startWorker({ handlers: { stuck: () => "rescued" } });
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ attempt: 2, losses: 1, failures: 0 });
    const { attempts } = await muster.client(JobService).listAttempts({ jobId });
    expect(attempts.map((one) => one.outcome)).toEqual([AttemptOutcome.LOST, AttemptOutcome.SUCCEEDED]);
  });

  test("whose connection is cut comes back and its work runs on, undisturbed", async () => {
    muster = await startTestServer({ ...quick, reclaimAfterMs: 10_000 });
    gate = await openSwitch(muster.server.workerAddress);
    const work = held();
    await muster.startWorker({
      address: gate.address,
      transport: "stream",
      handlers: { held: work.handler },
    });
    const jobId = await submit("held");
    await work.started;
    for (let n = 0; n < 3; n++) gate.cut();
    work.release();
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ attempt: 1, losses: 0 });
    expect(work.attempts).toEqual([1]);
  });

  test("delivers from its outbox what it finished while the coordinator was away", async () => {
    muster = await startTestServer({ ...quick, reclaimAfterMs: 10_000 });
    gate = await openSwitch(muster.server.workerAddress);
    const work = held();
    await muster.startWorker({
      address: gate.address,
      transport: "stream",
      handlers: { held: work.handler },
    });
    const jobId = await submit("held");
    await work.started;
    await muster.reach(jobId, JobState.RUNNING);
    gate.pointTo(null);
    gate.cut();
    work.release();
    await muster.server.stop({ graceMs: 100 });
    const peer = await muster.startPeer();
    gate.pointTo(peer.workerAddress);
    const rows = async () =>
      muster.database.admin`select worker_id, outcome, attempt from muster.attempts where final`;
    await expect.poll(rows, { timeout: 15_000 }).toHaveLength(1);
    expect((await rows())[0]).toMatchObject({ outcome: 1, attempt: 1 });
    expect(jobId).toMatch(/^job_/);
  });

  test("moves to another coordinator when its own stops, and its handler never notices", async () => {
    muster = await startTestServer({ ...quick, reclaimAfterMs: 10_000 });
    const peer = await muster.startPeer();
    gate = await openSwitch(muster.server.workerAddress);
    const work = held();
    await muster.startWorker({
      address: gate.address,
      transport: "stream",
      handlers: { held: work.handler },
    });
    const jobId = await submit("held");
    await work.started;
    gate.pointTo(peer.workerAddress);
    await muster.server.stop({ graceMs: 100 });
    work.release();
    const rows = async () => muster.database.admin`select outcome, attempt from muster.attempts where final`;
    await expect.poll(rows, { timeout: 15_000 }).toEqual([{ outcome: 1, attempt: 1 }]);
    expect(work.attempts).toEqual([1]);
    expect(jobId).toMatch(/^job_/);
  });

  test("that shares its identity with another gives way to the newer one", async () => {
    muster = await startTestServer(quick);
    const key = await muster.workerKey();
    const first = await muster.startWorker({ key, transport: "stream", handlers: { twin: () => "first" } });
    await muster.startWorker({ key, transport: "stream", handlers: { twin: () => "second" } });
    expect(await first.closed).toMatchObject({ kind: "replaced" });
    const job = await muster.reach(await submit("twin"), JobState.SUCCEEDED);
    expect(job.losses).toBe(0);
  });
});

describe("two coordinators on one database", () => {
  test("share the work: a job submitted to one runs on the other's worker, and is cancelled through the first", async () => {
    muster = await startTestServer(quick);
    const peer = await muster.startPeer();
    const started = Promise.withResolvers<void>();
    await muster.startWorker({
      address: peer.workerAddress,
      handlers: {
        far: ({ signal }) => {
          started.resolve();
          return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        },
      },
    });
    const jobId = await submit("far");
    await started.promise;
    await muster.reach(jobId, JobState.RUNNING);
    await muster.client(JobService).cancelJob({ jobId, reason: randomUUID() });
    await muster.reach(jobId, JobState.CANCELLED);
  });
});
