import { EventService } from "@muster/client/v1/event_service";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { expect, test } from "vitest";
import { openBlackhole } from "../support/blackhole.ts";
import { startTestServer } from "../support/coordinator.ts";

test("a worker that is cut off is told of as silent, as lost and as recovered, once each, by one of two coordinators", async () => {
  const silence = { heartbeatMs: 200, staleMs: 1_000, reclaimAfterMs: 3_000, outageGraceMs: 0 };
  const muster = await startTestServer(silence);
  const hole = await openBlackhole(`http://${muster.server.workerAddress}`);
  try {
    await muster.startPeer();
    const started = Promise.withResolvers<void>();
    await muster.startWorker({
      address: new URL(hole.url).host,
      key: await muster.workerKey("cut off"),
      transport: "stream",
      handlers: {
        held: ({ signal }) => {
          started.resolve();
          return new Promise((resolve) => signal.addEventListener("abort", () => resolve("cut")));
        },
      },
    });
    await muster.startWorker({
      key: await muster.workerKey("well"),
      transport: "stream",
      handlers: { other: () => "" },
    });
    const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held" } });
    await started.promise;
    await muster.reach(jobId, JobState.RUNNING);
    const types = ["worker.stale", "worker.lost", "worker.recovered"];
    const { revision } = await muster.client(EventService).readEvents({});
    const told = async () => {
      const { events } = await muster.client(EventService).readEvents({ revision, filter: { types } });
      return events.map(({ type, data }) => `${type} ${data?.["name"]}`);
    };
    hole.swallow();
    const lost = ["worker.stale cut off", "worker.lost cut off"];
    await expect.poll(told, { timeout: 20_000 }).toEqual(lost);
    hole.pass();
    const all = [...lost, "worker.recovered cut off"];
    await expect.poll(told, { timeout: 20_000 }).toEqual(all);
    // Its job ran again meanwhile: whatever was told twice would be there by then.
    await expect.poll(async () => (await muster.client(JobService).getJob({ jobId })).job?.attempt).toBe(2);
    expect(await told()).toEqual(all);
  } finally {
    await hole.close();
    await muster.close();
  }
}, 90_000);
