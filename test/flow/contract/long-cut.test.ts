import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTcpProxy, type TcpProxy } from "../../chaos/proxy/tcp-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, type Journal, lateAttempts, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: TcpProxy;
let journal: Journal;

beforeEach(async () => {
  muster = await startTestServer({ ...scaledTimers, staleMs: 1_600, reclaimAfterMs: 2_400 });
  proxy = await startTcpProxy({ target: muster.server.workerAddress });
  journal = openJournal();
});

afterEach(async () => {
  journal.release();
  await muster.close();
  await proxy.close();
});

/** A job runs at the worker behind the proxy; then another worker stands ready. */
async function runCutOff(exclusive: boolean): Promise<{ jobId: string; heal: () => void }> {
  const handlers = { held: journal.held("cut") };
  await muster.startWorker({ address: proxy.address, transport: "stream", handlers });
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held", exclusive } });
  await expect.poll(() => journal.of("cut")).toHaveLength(1);
  await muster.reach(jobId, JobState.RUNNING);
  const heal = proxy.fault({ kind: "hold" });
  await muster.startWorker({ handlers: { held: journal.held("other") } });
  return { jobId, heal };
}

describe("a cut longer than reclaim_after", { timeout: 60_000 }, () => {
  test("loses the attempt; the worker goes on, and its late result is superseded and kept", async () => {
    const { jobId, heal } = await runCutOff(false);
    await expect.poll(() => journal.of("other"), { timeout: 10_000 }).toMatchObject([{ attempt: 2 }]);
    expect(journal.of("cut")).toMatchObject([{ stop: undefined }]);
    journal.release();
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ attempt: 2, losses: 1, failures: 0 });
    heal();
    await expect.poll(() => lateAttempts(muster), { timeout: 10_000 }).toEqual([1]);
    expect(await attemptRows(muster)).toEqual([
      { attempt: 1, outcome: 5, final: false },
      { attempt: 2, outcome: 1, final: true },
    ]);
  });

  test("tells a worker that still runs it on its return", async () => {
    const { jobId, heal } = await runCutOff(false);
    await expect.poll(() => journal.of("other"), { timeout: 10_000 }).toHaveLength(1);
    heal();
    await expect.poll(() => journal.of("cut")[0]?.stop, { timeout: 10_000 }).toBe("superseded");
    expect(journal.of("other")[0]?.stop).toBeUndefined();
    journal.release();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 2 });
  });

  test("stops an exclusive job at the worker's own deadline, before it starts anywhere else", async () => {
    const { jobId, heal } = await runCutOff(true);
    await expect.poll(() => journal.of("other"), { timeout: 10_000 }).toHaveLength(1);
    const [first, second] = [journal.of("cut")[0], journal.of("other")[0]];
    expect(first?.stop).toBe("deadline");
    expect(first?.endedMs).toBeLessThan(second?.startedMs ?? 0);
    heal();
    journal.release();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 2, losses: 1 });
  });
});
