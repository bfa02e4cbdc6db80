import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "../../chaos/proxy/frame-proxy.ts";
import type { FrameCase, FrameDeed } from "../../chaos/proxy/frame-rules.ts";
import { seededRandom } from "../../chaos/random.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, type Journal, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: FaultProxy<FrameFault>;
let journal: Journal;

beforeEach(async () => {
  muster = await startTestServer(scaledTimers);
  proxy = await startFrameProxy({ target: muster.server.workerAddress, random: seededRandom("messages") });
  journal = openJournal();
  await muster.startWorker({
    address: proxy.address,
    transport: "stream",
    slots: 4,
    handlers: { quick: journal.quick("only"), held: journal.held("only") },
  });
});

afterEach(async () => {
  journal.release();
  await muster.close();
  await proxy.close();
});

const jobCount = 30;

/** Jobs, every third of them exclusive. */
async function submitJobs(): Promise<void> {
  const jobs = muster.client(JobService);
  const numbers = Array.from({ length: jobCount }, (_, n) => n);
  await Promise.all(numbers.map((n) => jobs.submitJob({ job: { kind: "quick", exclusive: n % 3 === 0 } })));
}

/** Every job ends once, in success, and no attempt is executed twice. */
async function expectAllOnce(): Promise<void> {
  const succeeded = async () => (await attemptRows(muster)).filter(({ outcome }) => outcome === 1).length;
  await expect.poll(succeeded, { timeout: 15_000 }).toBe(jobCount);
  const live = () => muster.database.admin`select 1 from muster.job_queue`;
  await expect.poll(live).toHaveLength(0);
  const executions = journal.effects.map(({ jobId, attempt }) => `${jobId} ${attempt}`);
  expect(new Set(executions).size).toBe(executions.length);
  const bad = (await attemptRows(muster)).filter(({ outcome }) => outcome !== 1 && outcome !== 8);
  expect(bad).toEqual([]);
}

const talk: readonly FrameCase[] = ["offer", "offerReply", "results", "resultAck", "offerAck"];
const all: readonly FrameCase[] = [...talk, "heartbeat", "heartbeatAck"];

describe("messages that come", { timeout: 60_000 }, () => {
  test.each<[string, readonly FrameCase[], FrameDeed, number]>([
    ["twice", all, { type: "duplicate" }, 1],
    ["late", all, { type: "delay", ms: 50 }, 0.5],
    ["in another order", all, { type: "reorder", passing: 2 }, 0.3],
  ])("%s change nothing: fences and ids decide", async (_, frames, deed, chance) => {
    proxy.fault({ kind: "frames", frames, do: deed, chance });
    await submitJobs();
    await expectAllOnce();
    expect(Object.keys(proxy.counts()).length).toBeGreaterThan(3);
  });

  test("as a result before its accept are both", async () => {
    proxy.fault({ kind: "frames", frames: ["offerReply"], do: { type: "reorder", passing: 1 }, limit: 10 });
    await submitJobs();
    await expectAllOnce();
  });

  test.each<[string, boolean]>([
    ["late", false],
    ["again", true],
  ])("%s, on a later link of the worker, change nothing", async (_, keep) => {
    const heal = proxy.fault({ kind: "frames", frames: talk, do: { type: "carry", keep }, chance: 0.7 });
    await submitJobs();
    const carried = () => Object.keys(proxy.counts()).filter((name) => name.startsWith("carry "));
    await expect.poll(carried, { timeout: 5_000 }).not.toHaveLength(0);
    heal();
    proxy.fault({ kind: "cut" });
    await expectAllOnce();
    await expect.poll(() => proxy.counts()["carried in"], { timeout: 5_000 }).toBeGreaterThan(0);
  });

  test("as heartbeats of an earlier link take nothing away that they could not know of", async () => {
    const heal = proxy.fault({ kind: "frames", frames: ["heartbeat"], do: { type: "carry", keep: true } });
    await expect.poll(() => proxy.counts()["carry heartbeat"], { timeout: 5_000 }).toBeGreaterThan(2);
    heal();
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held" } });
    await muster.reach(jobId, JobState.RUNNING);
    proxy.fault({ kind: "cut" });
    await expect.poll(() => proxy.counts()["carried in"], { timeout: 5_000 }).toBeGreaterThan(2);
    // A few heartbeats of the new link, each of which must find the lease where it was.
    const seen = async () => (await muster.database.admin`select seen_at from muster.links`)[0]?.["seen_at"];
    for (let beats = 0, last = await seen(); beats < 3; beats++) {
      await expect.poll(seen, { timeout: 5_000 }).not.toEqual(last);
      last = await seen();
    }
    journal.release();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
  });
});
