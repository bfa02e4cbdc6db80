import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, inject, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { onServer } from "../support/postgres.ts";

let muster: TestServer;
afterEach(() => muster.close());

test("a result that the database could not take is taken when it is back, over the same link", async () => {
  muster = await startTestServer({
    heartbeatMs: 200,
    staleMs: 2_000,
    reclaimAfterMs: 10_000,
    outageGraceMs: 0,
  });
  const started = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  await muster.startWorker({
    slots: 1,
    transport: "stream",
    handlers: {
      held: async () => {
        started.resolve();
        await go.promise;
        return "kept";
      },
    },
  });
  const jobs = muster.client(JobService);
  const { jobId } = await jobs.submitJob({ job: { kind: "held" } });
  await started.promise;
  await muster.reach(jobId, JobState.RUNNING);
  // The hot role may not log in, and its connections are cut: the flushes fail, the rest goes on.
  const { admin } = muster.database;
  const [{ name } = { name: "" }] = await admin<{ name: string }[]>`select current_database() as name`;
  const cut = () => admin`
    select pg_terminate_backend(pid) from pg_stat_activity where usename = 'muster_hot' and datname = ${name}`;
  await onServer(inject("postgresUrl"), `alter database "${name}" allow_connections false`);
  await cut();
  go.resolve();
  // The worker has one slot: what comes next can only run when the result of the first is answered.
  await expect.poll(async () => (await cut()).length, { timeout: 5_000 }).toBe(0);
  await onServer(inject("postgresUrl"), `alter database "${name}" allow_connections true`);
  const job = await muster.reach(jobId, JobState.SUCCEEDED);
  expect(job).toMatchObject({ attempt: 1, losses: 0 });
  const next = await jobs.submitJob({ job: { kind: "held" } });
  expect((await muster.reach(next.jobId, JobState.SUCCEEDED)).attempt).toBe(1);
});
