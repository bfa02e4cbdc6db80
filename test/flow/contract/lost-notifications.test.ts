import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, expect, test } from "vitest";
import type { FaultProxy } from "../../chaos/proxy/fault-proxy.ts";
import { type PostgresFault, startPostgresProxy } from "../../chaos/proxy/postgres-proxy.ts";
import { startTestServer, type TestServer } from "../../support/coordinator.ts";
import { databaseTarget, openJournal, scaledTimers, through } from "./story.ts";

let muster: TestServer;
let proxy: FaultProxy<PostgresFault>;
afterEach(async () => {
  await muster.close();
  await proxy.close();
});

test("NOTIFY lost: what is submitted through one coordinator runs at another's worker after one poll", {
  timeout: 60_000,
}, async () => {
  muster = await startTestServer(scaledTimers);
  proxy = await startPostgresProxy({ target: databaseTarget(muster) });
  const databaseUrl = through(proxy, muster);
  const [a, b] = [await muster.startPeer({ databaseUrl }), await muster.startPeer({ databaseUrl })];
  proxy.fault({ kind: "drop-notification" });
  const journal = openJournal();
  const handlers = { quick: journal.quick("far") };
  await muster.startWorker({ address: b.workerAddress, transport: "stream", handlers });
  const jobs = createMusterClient(JobService, { address: a.apiAddress, key: muster.key });
  for (let n = 1; n <= 3; n++) {
    const submittedMs = performance.now();
    const { jobId } = await jobs.submitJob({ job: { kind: "quick" } });
    await muster.reach(jobId, JobState.SUCCEEDED);
    // A poll takes at most a second; the rest is for a machine that does other things.
    expect((journal.effects.at(-1)?.startedMs ?? 0) - submittedMs).toBeLessThan(2_000);
    expect(journal.effects).toHaveLength(n);
  }
});
