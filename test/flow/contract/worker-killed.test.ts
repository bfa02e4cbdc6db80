import { join } from "node:path";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "../../chaos/proxy/frame-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { openJournal, scaledTimers } from "./story.ts";
import { startWorkerChild, type WorkerChild } from "./worker-child.ts";

let muster: TestServer;
let proxy: FaultProxy<FrameFault>;
const children: WorkerChild[] = [];
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()));
  await muster.close();
  await proxy.close();
});

test("a worker is killed and restarted: its outbox is applied first, its other leases are lost at once", {
  timeout: 60_000,
}, async () => {
  // The silence that loses leases is far away: what happens, happens by the Hello of the new boot.
  muster = await startTestServer({ ...scaledTimers, reclaimAfterMs: 600_000 });
  proxy = await startFrameProxy({ target: muster.server.workerAddress });
  const key = await muster.workerKey();
  const parameters = { address: proxy.address, key, stateDir: join(muster.folder, "killed") };
  const first = startWorkerChild(parameters);
  children.push(first);
  expect(await first.next()).toMatchObject({ ready: true });
  const jobs = muster.client(JobService);
  const stuck = await jobs.submitJob({ job: { kind: "stuck" } });
  expect(await first.next()).toEqual({ started: "stuck", attempt: 1 });
  await muster.reach(stuck.jobId, JobState.RUNNING);
  const journal = openJournal();
  journal.release();
  await muster.startWorker({ handlers: { stuck: journal.held("rescuer") } });
  // Its result is in the outbox, and never arrives.
  const heal = proxy.fault({ kind: "frames", frames: ["results"], do: { type: "drop" } });
  const quick = await jobs.submitJob({ job: { kind: "quick" } });
  expect(await first.next()).toEqual({ started: "quick", attempt: 1 });
  await expect.poll(() => proxy.counts()["drop results"], { timeout: 5_000 }).toBeGreaterThan(0);
  await first.kill();
  heal();
  const second = startWorkerChild(parameters);
  children.push(second);
  expect(await second.next()).toMatchObject({ ready: true });
  expect(await muster.reach(quick.jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
  const job = await muster.reach(stuck.jobId, JobState.SUCCEEDED);
  expect(job).toMatchObject({ attempt: 2, losses: 1, failures: 0 });
  expect(journal.effects).toHaveLength(1);
});
