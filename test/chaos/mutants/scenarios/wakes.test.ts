import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../../support/coordinator.ts";

let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

test("a job that became ready without a word to anybody runs a poll later", async () => {
  await server.startWorker({ handlers: { "test.echo": () => null } });
  const jobs = server.client(JobService);
  const far = timestampFromDate(new Date(server.database.nowMs() + 3_600_000));
  const { jobId } = await jobs.submitJob({ job: { kind: "test.echo", runTime: far } });
  // Dispatch has been at the end of the line since: it expects no more of it.
  const { jobId: other } = await jobs.submitJob({ job: { kind: "test.echo" } });
  await server.reach(other, JobState.SUCCEEDED);
  await jobs.getJob({ jobId });
  // What a coordinator does that dies before it tells the others.
  await server.database.admin`
    update muster.job_queue set state = 3, wake_at = null, ready_at = muster.muster_clock()`;
  expect((await server.reach(jobId, JobState.SUCCEEDED)).state).toBe(JobState.SUCCEEDED);
});
