import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, describe, expect, test } from "vitest";
import { startTcpProxy, type TcpProxy } from "../../chaos/proxy/tcp-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
let proxy: TcpProxy;
afterEach(async () => {
  await muster.close();
  await proxy.close();
});

describe("a cut shorter than reclaim_after", { timeout: 60_000 }, () => {
  test.each([["both ways"], ["up"], ["down"]] as const)("expires nothing: %s", async (way) => {
    muster = await startTestServer(scaledTimers);
    proxy = await startTcpProxy({ target: muster.server.workerAddress });
    const journal = openJournal();
    const handlers = { held: journal.held("cut") };
    await muster.startWorker({ address: proxy.address, transport: "stream", handlers });
    const spare = { held: journal.held("spare") };
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held" } });
    await muster.reach(jobId, JobState.RUNNING);
    await muster.startWorker({ handlers: spare });
    const heal = proxy.fault({ kind: "hold", ...(way === "both ways" ? {} : { direction: way }) });
    // The worker has taken its link for dead, and dials.
    await expect.poll(() => proxy.connections().some(({ id }) => id > 1), { timeout: 8_000 }).toBe(true);
    heal();
    // A heartbeat of the new link: its Hello, and with it the verdict, is behind.
    const seen = () => muster.database.admin`
      select 1 from muster.links where link_epoch > 1 and muster.muster_clock() - seen_at < interval '200 ms'`;
    await expect.poll(seen, { timeout: 10_000 }).not.toHaveLength(0);
    journal.release();
    expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
    expect(journal.effects).toMatchObject([{ worker: "cut", attempt: 1, stop: undefined }]);
  });
});
