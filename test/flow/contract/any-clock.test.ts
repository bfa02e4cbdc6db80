import { join } from "node:path";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, scaledTimers } from "./story.ts";
import { startWorkerChild, type WorkerChild } from "./worker-child.ts";

let muster: TestServer;
let child: WorkerChild | undefined;
afterEach(async () => {
  await child?.kill();
  await muster.close();
});

const hourMs = 3_600_000;

test.each([[0], [hourMs], [-hourMs]])(
  "a worker's clock wrong by %i ms: nothing differs",
  { timeout: 60_000 },
  async (aheadMs) => {
    muster = await startTestServer({ ...scaledTimers, backoffInitialMs: 100 });
    const parameters = {
      address: muster.server.workerAddress,
      key: await muster.workerKey(),
      stateDir: join(muster.folder, "clock"),
    };
    child = startWorkerChild(parameters, aheadMs);
    const hour = new Date(Date.now() + aheadMs).getUTCHours();
    expect(await child.next()).toEqual({ ready: true, hour });
    const jobs = muster.client(JobService);
    const timeouts = { softTimeout: { seconds: 60n }, hardTimeout: { seconds: 120n } };
    const quick = await jobs.submitJob({ job: { kind: "quick", exclusive: true, ...timeouts } });
    expect(await child.next()).toEqual({ started: "quick", attempt: 1 });
    await muster.reach(quick.jobId, JobState.SUCCEEDED);
    const flaky = await jobs.submitJob({ job: { kind: "flaky", ...timeouts } });
    expect(await child.next()).toEqual({ started: "flaky", attempt: 1 });
    expect(await child.next()).toEqual({ started: "flaky", attempt: 2 });
    expect(await muster.reach(flaky.jobId, JobState.SUCCEEDED)).toMatchObject({ failures: 1, losses: 0 });
    const stuck = await jobs.submitJob({ job: { kind: "stuck", ...timeouts } });
    expect(await child.next()).toEqual({ started: "stuck", attempt: 1 });
    // Some heartbeats long it keeps its lease.
    const beats = () => muster.database.admin`
    select 1 from muster.job_queue as q join muster.links as l using (worker_id)
    where l.seen_at - q.granted_at > interval '1 second'`;
    await expect.poll(beats, { timeout: 10_000 }).toHaveLength(1);
    await jobs.cancelJob({ jobId: stuck.jobId, reason: "enough" });
    await muster.reach(stuck.jobId, JobState.CANCELLED);
    expect(await attemptRows(muster)).toEqual([
      { attempt: 1, outcome: 1, final: true },
      { attempt: 1, outcome: 2, final: false },
      { attempt: 2, outcome: 1, final: true },
      { attempt: 1, outcome: 6, final: true },
    ]);
  },
);
