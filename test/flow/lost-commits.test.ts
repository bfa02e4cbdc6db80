import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { runCli } from "../tui/run-cli.ts";

let muster: TestServer;

afterEach(() => muster.close());

test("a database that lost a result gets it from the worker again, and the job does not run again", async () => {
  muster = await startTestServer();
  const { admin, url } = muster.database;
  const attempts: number[] = [];
  const go = Promise.withResolvers<void>();
  await muster.startWorker({
    resultRetentionMs: 600_000,
    transport: "stream",
    handlers: {
      held: async ({ job }) => {
        attempts.push(job.attempt);
        await go.promise;
        return "the only result";
      },
    },
  });
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held" } });
  await muster.reach(jobId, JobState.RUNNING);
  await admin`create table saved as select * from muster.job_queue`;
  go.resolve();
  await muster.reach(jobId, JobState.SUCCEEDED);
  const final = async () =>
    (
      await admin`select attempt, convert_from(result, 'UTF8') as result from muster.attempts where final`
    ).map((row) => ({ ...row }));
  const finished = [{ attempt: 1, result: '"the only result"' }];
  expect(await final()).toEqual(finished);
  // The state of a replica that was behind when it took over.
  await admin.begin(async (tx) => {
    await tx`delete from muster.attempts`;
    await tx`insert into muster.job_queue select * from saved`;
  });
  expect(await final()).toEqual([]);
  const promoted = await runCli(["server", "promote", "--json"], {
    env: { HOME: muster.folder, DATABASE_URL: url },
  });
  expect(promoted).toMatchObject({ exitCode: 0, stderr: "" });
  expect(JSON.parse(promoted.stdout)).toEqual({ epoch: 2 });
  await expect.poll(final, { timeout: 15_000 }).toEqual(finished);
  expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
  expect(attempts).toEqual([1]);
});
