import { randomUUID } from "node:crypto";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { attemptRows, openJournal, scaledTimers } from "./story.ts";

let muster: TestServer;
afterEach(() => muster.close());

test("a worker holds an unknown lease, and lacks a known one: it kills the one, the other is lost", {
  timeout: 60_000,
}, async () => {
  muster = await startTestServer({ ...scaledTimers, reclaimAfterMs: 60_000 });
  const journal = openJournal();
  await muster.startWorker({ transport: "stream", handlers: { held: journal.held("only") } });
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "held" } });
  await muster.reach(jobId, JobState.RUNNING);
  await expect.poll(() => journal.effects).toHaveLength(1);
  // As after a restore: the lease that stands in the row is another one.
  await muster.database.admin`update muster.job_queue set lease_id = ${randomUUID()} where state = 5`;
  // A cancel of that lease may say it before the echo of a heartbeat does.
  await expect.poll(() => journal.effects[0]?.stop, { timeout: 10_000 }).toMatch(/superseded|cancelled/);
  // The row's lease is listed by nobody: lost long before its worker could count as silent.
  await muster.startWorker({ handlers: { held: journal.held("other") } });
  await expect.poll(() => journal.effects.at(-1)?.attempt, { timeout: 10_000 }).toBe(2);
  journal.release();
  expect(await muster.reach(jobId, JobState.SUCCEEDED)).toMatchObject({ attempt: 2, losses: 1, failures: 0 });
  expect(await attemptRows(muster)).toEqual([
    { attempt: 1, outcome: 5, final: false },
    { attempt: 2, outcome: 1, final: true },
  ]);
});
