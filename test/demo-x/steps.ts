import { setTimeout as delay } from "node:timers/promises";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { LogStream } from "@muster/client/v1/event";
import { type Job, JobState } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { StatusService } from "@muster/client/v1/status_service";
import type { Child } from "./child.ts";
import type { Cluster } from "./cluster.ts";
import { DemoFailure } from "./failure.ts";
import type { Plan, PlannedJob } from "./jobs.ts";
import { areGone, isRunning } from "./processes.ts";
import { hardLimitMs } from "./settings.ts";

/** The services that the demo calls. */
export interface Api {
  readonly jobs: Client<typeof JobService>;
  readonly batches: Client<typeof BatchService>;
  readonly status: Client<typeof StatusService>;
}

/** What was submitted, by job id. */
export interface Submission {
  readonly batchId: string;
  readonly planned: ReadonlyMap<string, PlannedJob>;
  readonly poisonId: string;
  readonly endlessId: string;
}

/** The worker that was killed. */
export interface Kill {
  readonly workerName: string;
  readonly pid: number;
  /** Jobs that ran on it a moment before. */
  readonly heldJobs: number;
}

/** The worker is killed when this share of the batch has ended, and it holds a job. */
const killAfterShare = 1 / 3;
const lookMs = 50;
const goneMs = 1_000;

/** Makes the clients. */
export function openApi({ address, key }: Pick<Cluster, "address" | "key">): Api {
  return {
    jobs: createMusterClient(JobService, { address, key }),
    batches: createMusterClient(BatchService, { address, key }),
    status: createMusterClient(StatusService, { address, key }),
  };
}

/** Submits the jobs that are about one thing alone, and then all files at once, all or none. */
export async function submit(api: Api, plan: Plan, signal: AbortSignal): Promise<Submission> {
  const { jobId: endlessId } = await api.jobs.submitJob({ job: plan.endless.spec }, { signal });
  const { jobId: poisonId } = await api.jobs.submitJob({ job: plan.poison.spec }, { signal });
  const { batchId, jobIds } = await api.batches.submitBatch(
    { jobs: plan.batch.map((job) => job.spec), title: "demo", idempotencyKey: "demo" },
    { signal },
  );
  const planned = new Map<string, PlannedJob>([
    [endlessId, plan.endless],
    [poisonId, plan.poison],
  ]);
  for (const [index, job] of plan.batch.entries()) planned.set(jobIds[index] ?? "", job);
  if (planned.size !== plan.batch.length + 2 || planned.has(""))
    throw new DemoFailure([`${plan.batch.length} jobs were submitted, and ${jobIds.length} ids came back`]);
  return { batchId, planned, poisonId, endlessId };
}

/**
 * Watches the endless job until its log names its processes, cancels it, and watches on to its end. Resolves with
 * the number of processes that are gone; rejects when they did not run before, or run still.
 */
export async function cancelEndless(api: Api, jobId: string, signal: AbortSignal): Promise<number> {
  let output = "";
  let isAsked = false;
  const processes = () =>
    [...output.matchAll(/^processes (\d+) (\d+)$/gm)].flatMap(([, a, b]) => [Number(a), Number(b)]);
  for await (const { body } of api.jobs.watchJob({ jobId, events: true }, { signal })) {
    if (body.case !== "event" || body.value.body.case !== "log") continue;
    const { stream, text } = body.value.body.value;
    if (stream === LogStream.STDOUT) output += text;
    if (isAsked || processes().length === 0) continue;
    isAsked = true;
    const running = await Promise.all(processes().map(isRunning));
    if (running.includes(false)) throw new DemoFailure(["the endless job ended before it was cancelled"]);
    await api.jobs.cancelJob({ jobId, reason: "the demo has seen enough" }, { signal });
  }
  const pids = processes();
  if (!isAsked) throw new DemoFailure(["the endless job ended without naming its processes"]);
  if (!(await areGone(pids, goneMs)))
    throw new DemoFailure([`processes of the cancelled job still run: ${pids.join(", ")}`]);
  return pids.length;
}

/** Kills, with `kill -9`, the worker that holds most of the held jobs, once the batch is far enough. */
export async function killWorker(
  api: Api,
  { workers }: Pick<Cluster, "workers">,
  { batchId }: Pick<Submission, "batchId">,
  signal: AbortSignal,
): Promise<Kill> {
  for (;;) {
    const { batch } = await api.batches.getBatch({ batchId }, { signal });
    const { total = 0, pending = 0 } = batch ?? {};
    if (pending === 0) throw new DemoFailure(["the batch ended before a worker could be killed"]);
    const filter = { batchId, states: [JobState.RUNNING] };
    const { jobs } = await api.jobs.listJobs({ filter, pageSize: 1_000 }, { signal });
    const victim = busiest(workers, jobs);
    if (victim !== null && total - pending >= total * killAfterShare) {
      await victim.kill();
      const held = jobs.filter((job) => job.workerName === victim.name);
      return { workerName: victim.name, pid: victim.pid, heldJobs: held.length };
    }
    await delay(lookMs, undefined, { signal });
  }
}

/** Resolves when all jobs have ended. */
export async function waitForAll(
  api: Api,
  { batchId, poisonId }: Submission,
  signal: AbortSignal,
): Promise<void> {
  const timeout = durationFromMs(hardLimitMs);
  const batch = await api.batches.waitBatch({ batchId, timeout }, { signal });
  const poison = await api.jobs.waitJob({ jobId: poisonId, timeout }, { signal });
  if (!batch.done || !poison.done) throw new DemoFailure(["the jobs did not end in time"]);
}

/** The worker with most held jobs among those that run; null when none has one. */
function busiest(workers: readonly Child[], running: readonly Job[]): Child | null {
  const held = (worker: Child) =>
    running.filter((job) => job.workerName === worker.name && job.spec?.labels["role"] === "held").length;
  const [first] = workers.toSorted((a, b) => held(b) - held(a));
  return first !== undefined && held(first) > 0 ? first : null;
}
