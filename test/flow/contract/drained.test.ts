import { join } from "node:path";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Worker } from "../../../worker/worker.ts";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "../../chaos/proxy/frame-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, type Journal, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: FaultProxy<FrameFault>;
let journal: Journal;
let key: string;

beforeEach(async () => {
  // Neither silence nor an offer without an answer takes anything back here, and links stay.
  const timers = { ...scaledTimers, staleMs: 60_000, reclaimAfterMs: 600_000, offerTtlMs: 600_000 };
  muster = await startTestServer(timers);
  proxy = await startFrameProxy({ target: muster.server.workerAddress });
  journal = openJournal();
  key = await muster.workerKey();
});

afterEach(async () => {
  journal.release();
  await muster.close();
  await proxy.close();
});

const startBoot = (): Promise<Worker> =>
  muster.startWorker({
    address: proxy.address,
    key,
    stateDir: join(muster.folder, "drained"),
    transport: "stream",
    slots: 2,
    handlers: { quick: journal.quick("drained") },
  });

/** An offer that its worker never sees. */
async function lostOffer(): Promise<string> {
  const heal = proxy.fault({ kind: "frames", frames: ["offer"], do: { type: "drop" } });
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "quick" } });
  await expect.poll(() => proxy.counts()["drop offer"], { timeout: 5_000 }).toBeGreaterThan(0);
  heal();
  return jobId;
}

const offerTimedOut = { attempt: 1, outcome: 8, final: false };
const succeeded = { attempt: 2, outcome: 1, final: true };

describe("a drain spends no attempt", { timeout: 60_000 }, () => {
  test("for an offer that never came: the goodbye gives it back", async () => {
    const worker = await startBoot();
    const jobId = await lostOffer();
    await worker.stop();
    const { job } = await muster.client(JobService).getJob({ jobId });
    expect(job).toMatchObject({ state: JobState.READY, losses: 0, releases: 0 });
    expect(await attemptRows(muster)).toEqual([offerTimedOut]);
  });

  test("when the goodbye never came either: the next boot says that the one before ended", async () => {
    const worker = await startBoot();
    const jobId = await lostOffer();
    const heal = proxy.fault({ kind: "frames", frames: ["heartbeat"], do: { type: "drop" } });
    await worker.stop();
    expect(await attemptRows(muster)).toEqual([]);
    heal();
    await startBoot();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({
      attempt: 2,
      losses: 0,
      releases: 0,
    });
    expect(await attemptRows(muster)).toEqual([offerTimedOut, succeeded]);
    expect(journal.effects).toHaveLength(1);
  });

  test("for a result that could not be delivered: the next boot has it in its outbox", async () => {
    const worker = await startBoot();
    const heal = proxy.fault({ kind: "frames", frames: ["results"], do: { type: "drop" } });
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "quick" } });
    await expect.poll(() => proxy.counts()["drop results"], { timeout: 5_000 }).toBeGreaterThan(0);
    await worker.stop({ graceMs: 0 });
    heal();
    await startBoot();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({
      attempt: 1,
      losses: 0,
      releases: 0,
    });
    expect(journal.effects).toHaveLength(1);
  });
});
