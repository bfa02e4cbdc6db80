import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { LeaseService } from "@muster/client/v1/lease_service";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";

let muster: TestServer;
beforeEach(async () => {
  muster = await startTestServer({ heartbeatMs: 200 });
});
afterEach(() => muster.close());

describe("a lease that is revoked", () => {
  test("is told to its worker at any coordinator, which stops; the job goes on elsewhere", async () => {
    const peer = await muster.startPeer();
    const stopped = Promise.withResolvers<string>();
    const started = Promise.withResolvers<void>();
    // The worker is linked to the one coordinator, and the other one is asked.
    await muster.startWorker({
      key: await muster.workerKey("hangs"),
      address: peer.workerAddress,
      handlers: {
        slow: ({ signal }) =>
          new Promise((_, reject) => {
            started.resolve();
            signal.addEventListener("abort", () => {
              stopped.resolve("stopped");
              reject(new Error("stopped"));
            });
          }),
      },
    });
    const jobs = muster.client(JobService);
    const leases = muster.client(LeaseService);
    const { jobId } = await jobs.submitJob({ job: { kind: "slow" } });
    await started.promise;
    await muster.reach(jobId, JobState.RUNNING);
    const { lease } = await leases.getLease({ jobId });
    expect(lease).toMatchObject({ workerName: "hangs", attempt: 1 });
    await leases.revokeLease({ leaseId: lease?.leaseId ?? "", reason: "it hangs" });
    expect(await stopped.promise).toBe("stopped");
    const key = await muster.workerKey("works");
    await muster.startWorker({ key, handlers: { slow: async () => "done" } });
    const job = await muster.reach(jobId, JobState.SUCCEEDED);
    expect(job).toMatchObject({ attempt: 2, workerName: "works", releases: 1, losses: 0, failures: 0 });
  });
});
