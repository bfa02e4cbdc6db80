import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import { startTcpProxy, type TcpProxy } from "../../chaos/proxy/tcp-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: TcpProxy;
afterEach(async () => {
  await muster.close();
  await proxy.close();
});

test("a worker that reads slowly gets no more offers than its demand, and keeps its leases", {
  timeout: 60_000,
}, async () => {
  muster = await startTestServer({ ...scaledTimers, offerTtlMs: 20_000, staleMs: 5_000 });
  proxy = await startTcpProxy({ target: muster.server.workerAddress });
  const journal = openJournal();
  const handlers = { quick: journal.quick("slow") };
  await muster.startWorker({ address: proxy.address, transport: "stream", slots: 2, handlers });
  const heal = proxy.fault({ kind: "bandwidth", bytesPerSecond: 4_000, direction: "down" });
  const jobs = muster.client(JobService);
  const payload = {
    content: { case: "data" as const, value: Buffer.from(JSON.stringify("x".repeat(2_000))) },
  };
  await Promise.all(Array.from({ length: 12 }, () => jobs.submitJob({ job: { kind: "quick", payload } })));
  const leased = async (): Promise<number> =>
    (await muster.database.admin`select 1 from muster.job_queue where state in (4, 5)`).length;
  let most = 0;
  await expect
    .poll(
      async () => {
        most = Math.max(most, await leased());
        return journal.effects.length;
      },
      { timeout: 15_000, interval: 20 },
    )
    .toBeGreaterThan(5);
  heal();
  await expect.poll(async () => (await attemptRows(muster)).length, { timeout: 10_000 }).toBe(12);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(2);
  expect(new Set((await attemptRows(muster)).map(({ outcome }) => outcome))).toEqual(new Set([1]));
});
