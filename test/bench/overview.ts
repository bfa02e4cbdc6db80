import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { type Child, startChild } from "./child.ts";
import { sharedMs } from "./clock.ts";
import { median, quantile, round } from "./figures.ts";
import { noopSpec } from "./peers/muster.ts";
import { cpuMicrosOf, memoryOf } from "./process-usage.ts";
import { benchPayload } from "./seen.ts";

/** How much is measured. */
export interface OverviewOptions {
  readonly jobsTotal: number;
  readonly workerCount: number;
  readonly slots: number;
  readonly samples: number;
}

/**
 * What a fresh coordinator does on this machine, durable and with history, tenancy and fencing on; coordinator,
 * workers and Postgres are processes of their own.
 */
export async function benchOverview({ jobsTotal, workerCount, slots, samples }: OverviewOptions) {
  if (jobsTotal < 20_000)
    throw new Error("--jobs must be at least 20,000: fewer end while the workers attach");
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o755);
  const children: Child[] = [];
  try {
    const coordinator = await startChild("./coordinator-process.ts", { dataDir: join(folder, "data") });
    children.push(coordinator);
    const options = {
      address: String(coordinator.ready["apiAddress"]),
      key: String(coordinator.ready["key"]),
    };
    const batches = createMusterClient(BatchService, options);
    const jobs = createMusterClient(JobService, options);
    const admin = createMusterClient(WorkerAdminService, options);

    const batch = { jobs: Array.from({ length: 1_000 }, () => noopSpec(benchPayload())) };
    // The first call of a connection prepares its statements.
    await batches.submitBatch(batch);
    const submit = await timed(async () => {
      for (let sent = 0; sent < jobsTotal; sent += 2_000) {
        await Promise.all([batches.submitBatch(batch), batches.submitBatch(batch)]);
      }
      return jobsTotal;
    });

    const keys = await Promise.all(
      Array.from(
        { length: workerCount },
        async (_, n) => (await admin.createWorker({ name: `bench-${n}` })).key,
      ),
    );
    const before = usage(coordinator);
    const workers = await startChild("./workers-process.ts", {
      address: coordinator.ready["workerAddress"],
      keys,
      slots,
      skills: [],
      folder,
      from: Math.floor((jobsTotal + 1_000) * 0.1),
      to: Math.floor((jobsTotal + 1_000) * 0.95),
    });
    children.push(workers);
    await workers.call("start");
    const burndown = await workers.next();
    const endToEnd = Number(burndown["jobs"]) / (Number(burndown["ms"]) / 1_000);
    await waitUntilEmpty(jobs);
    const after = usage(coordinator);

    const latencies: number[] = [];
    for (let n = 0; n < samples; n++) {
      const sentMs = sharedMs();
      await jobs.submitJob({ job: { ...noopSpec(benchPayload()), kind: "bench.stamp" } });
      latencies.push(Number((await workers.next())["startedMs"]) - sentMs);
    }
    const result = {
      submitPerSecond: Math.round(submit.perSecond),
      jobsPerSecond: Math.round(endToEnd),
      submitToStartP50Ms: round(median(latencies), 2),
      submitToStartP99Ms: round(quantile(latencies, 0.99), 2),
      coordinatorCpuMicrosPerJob: Math.round((after.cpu - before.cpu) / jobsTotal),
      coordinatorPeakRssMb: usage(coordinator).peakRssMb,
      workers: workerCount,
      slots,
      jobs: jobsTotal,
    };
    return result;
  } finally {
    for (const child of children.reverse()) await child.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Jobs = ReturnType<typeof createMusterClient<typeof JobService>>;

// The last job submitted is not the last that ends; the list of waiting ones tells.
async function waitUntilEmpty(jobs: Jobs): Promise<void> {
  for (;;) {
    const { jobs: left } = await jobs.listJobs({ filter: { states: [3, 4, 5] }, pageSize: 1 });
    const [one] = left;
    if (!one) return;
    await jobs.waitJob({ jobId: one.jobId });
  }
}

async function timed(body: () => Promise<number>): Promise<{ perSecond: number }> {
  const started = performance.now();
  const count = await body();
  return { perSecond: count / ((performance.now() - started) / 1_000) };
}

function usage({ pid }: Child): { cpu: number; peakRssMb: number } {
  return { cpu: cpuMicrosOf(pid), peakRssMb: Math.round(memoryOf(pid).peakRssBytes / 1_048_576) };
}
