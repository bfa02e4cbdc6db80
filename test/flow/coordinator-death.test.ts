import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { createMusterClient } from "@muster/client/node";
import { JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../support/coordinator.ts";
import { testSecret } from "../support/postgres.ts";
import { openSwitch, type Switch } from "../support/switch.ts";

let muster: TestServer;
let gate: Switch;
let doomed: { child: ChildProcess; apiAddress: string; workerAddress: string };

// The survivor runs here; a worker reaches the doomed one through what a load balancer would be.
beforeEach(async () => {
  const times = { heartbeatMs: 500, staleMs: 2_000, reclaimAfterMs: 20_000 };
  muster = await startTestServer(times);
  const flags = {
    "data-dir": join(muster.folder, "doomed"),
    heartbeat: "500ms",
    stale: "2s",
    "reclaim-after": "20s",
  };
  const path = new URL("../support/coordinator-process.ts", import.meta.url).pathname;
  const parameters = JSON.stringify({ flags, databaseUrl: muster.database.url, secret: testSecret });
  const child = spawn(process.execPath, [path, parameters], {
    stdio: ["ignore", "ignore", "inherit", "pipe"],
  });
  const lines = createInterface({ input: child.stdio[3] as Readable })[Symbol.asyncIterator]();
  doomed = { child, ...JSON.parse((await lines.next()).value ?? "{}") };
  gate = await openSwitch(doomed.workerAddress);
}, 60_000);
afterEach(async () => {
  doomed.child.kill("SIGKILL");
  await muster.close();
  await gate.close();
});

test("dispatch goes on within 2 s of a coordinator's kill -9, and its workers' jobs with it", async () => {
  const starts = new Map<string, number>();
  const hold = Promise.withResolvers<void>();
  await muster.startWorker({
    address: gate.address,
    transport: "stream",
    slots: 8,
    handlers: {
      quick: ({ job }) => void starts.set(job.id, performance.now()),
      held: async ({ job }) => {
        starts.set(job.id, performance.now());
        await hold.promise;
      },
    },
  });
  const away = createMusterClient(JobService, { address: doomed.apiAddress, key: muster.key });
  const held = (await away.submitJob({ job: { kind: "held" } })).jobId;
  await muster.reach(held, JobState.RUNNING);
  // Jobs are on their way through it, in every state, when it dies.
  const flight = await Promise.all(
    Array.from({ length: 50 }, async () => (await away.submitJob({ job: { kind: "quick" } })).jobId),
  );
  const killedMs = performance.now();
  gate.pointTo(muster.server.workerAddress);
  doomed.child.kill("SIGKILL");
  await once(doomed.child, "exit");
  const { jobId } = await muster.client(JobService).submitJob({ job: { kind: "quick" } });
  await muster.reach(jobId, JobState.SUCCEEDED);
  expect((starts.get(jobId) ?? Number.POSITIVE_INFINITY) - killedMs).toBeLessThan(2_000);
  for (const one of flight) {
    expect(await muster.reach(one, JobState.SUCCEEDED)).toMatchObject({ losses: 0, failures: 0 });
  }
  hold.resolve();
  expect(await muster.reach(held, JobState.SUCCEEDED)).toMatchObject({ attempt: 1, losses: 0 });
}, 60_000);
