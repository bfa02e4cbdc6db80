import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type FrameFault, startFrameProxy } from "../../chaos/proxy/frame-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, type Journal, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: FaultProxy<FrameFault>;
let journal: Journal;

beforeEach(async () => {
  muster = await startTestServer(scaledTimers);
  proxy = await startFrameProxy({ target: muster.server.workerAddress });
  journal = openJournal();
  const handlers = { quick: journal.quick("only"), held: journal.held("only") };
  await muster.startWorker({ address: proxy.address, transport: "stream", slots: 2, handlers });
});

afterEach(async () => {
  journal.release();
  await muster.close();
  await proxy.close();
});

describe("an offer that is lost", { timeout: 60_000 }, () => {
  test.each([[false], [true]])(
    "is made again within offer_ttl and a second (exclusive: %s)",
    async (exclusive) => {
      proxy.fault({ kind: "frames", frames: ["offer"], do: { type: "drop" }, limit: 2 });
      const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "quick", exclusive } });
      const job = await muster.reach(jobId, JobState.SUCCEEDED);
      expect(job).toMatchObject({ attempt: 3, failures: 0, losses: 0, releases: 0 });
      expect(journal.effects).toMatchObject([{ attempt: 3 }]);
      const { attempts } = await muster.client(JobService).listAttempts({ jobId });
      const granted = attempts.map(
        ({ startTime }) => Number(startTime?.seconds) * 1000 + (startTime?.nanos ?? 0) / 1e6,
      );
      const pauses = granted
        .sort((a, b) => a - b)
        .flatMap((ms, n) => (n === 0 ? [] : [ms - (granted[n - 1] ?? 0)]));
      expect(pauses).toHaveLength(2);
      for (const pause of pauses) {
        expect(pause).toBeGreaterThanOrEqual(scaledTimers.offerTtlMs);
        // And another second, for a machine that does other things.
        expect(pause).toBeLessThan(scaledTimers.offerTtlMs + 2_000);
      }
      expect(await attemptRows(muster)).toEqual([
        { attempt: 1, outcome: 8, final: false },
        { attempt: 2, outcome: 8, final: false },
        { attempt: 3, outcome: 1, final: true },
      ]);
    },
  );
});

describe("an accept that is lost", { timeout: 60_000 }, () => {
  test.each([[false], [true]])(
    "is said again by a heartbeat: one start (exclusive: %s)",
    async (exclusive) => {
      proxy.fault({ kind: "frames", frames: ["offerReply"], do: { type: "drop" }, limit: 1 });
      const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held", exclusive } });
      await muster.reach(jobId, JobState.RUNNING);
      await expect.poll(() => journal.effects).toHaveLength(1);
      journal.release();
      expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
      expect(journal.effects).toHaveLength(1);
      expect(proxy.counts()["drop offerReply"]).toBeGreaterThan(0);
    },
  );

  test("is said again by an exclusive job whose confirmation was lost: one start", async () => {
    proxy.fault({ kind: "frames", frames: ["offerAck"], do: { type: "drop" }, limit: 2 });
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held", exclusive: true } });
    await expect.poll(() => journal.effects, { timeout: 10_000 }).toHaveLength(1);
    journal.release();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
    expect(journal.effects).toHaveLength(1);
  });
});
