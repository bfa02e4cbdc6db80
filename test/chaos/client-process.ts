import { writeSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { DurationSchema, durationFromMs } from "@bufbuild/protobuf/wkt";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { DependencyPolicy, JobState } from "@muster/client/v1/job";
import { CancelOutcome, JobService } from "@muster/client/v1/job_service";
import { StatusService } from "@muster/client/v1/status_service";
import { type ClientLine, openHistory } from "./history.ts";
import { drawJob } from "./mix.ts";
import { seededRandom } from "./random.ts";

/*
 * A client of a run: submits its share of the jobs at an even pace, and cancels a few. What it wants it writes down
 * before each call, and what was acknowledged after it; a call without an answer is repeated under the same key.
 */
const { address, key, name, folder, jobs, seconds, seed, scale, maxWaiting } = JSON.parse(
  process.argv[2] ?? "{}",
);
const history = openHistory<ClientLine>(folder, `client-${name}`);
const options = { address, key, timeoutMs: 10_000 };
const batchApi = createMusterClient(BatchService, options);
const jobApi = createMusterClient(JobService, options);
const statusApi = createMusterClient(StatusService, options);
const source = seededRandom(seed).fork(name);
const chains = seededRandom(seed).fork(`${name} chains`);
const random = () => source.next();
const largestBatch = 200;
const cancelShare = 0.003;
const chainedShare = 0.05;
const outcomeNames = {
  [CancelOutcome.UNSPECIFIED]: "requested",
  [CancelOutcome.CANCELLED]: "cancelled",
  [CancelOutcome.REQUESTED]: "requested",
  [CancelOutcome.ALREADY_TERMINAL]: "already-terminal",
} as const;
const cancelling = new Set<Promise<void>>();
let isFull = false;
let retries = 0;

writeSync(3, `${JSON.stringify({ ready: true })}\n`);
const startedMs = performance.now();
const watching = new AbortController();
const watch = watchBacklog();
// Enough: what was submitted is brought to its end, and judged.
let isStopping = false;
process.once("SIGTERM", () => {
  isStopping = true;
});
for (let sent = 0, number = 0; sent < jobs && !isStopping; number++) {
  await until(startedMs + (1_000 * seconds * sent) / jobs);
  while (isFull && !isStopping) await pause(100);
  const count = Math.min(jobs - sent, random() < 0.2 ? 1 : 1 + Math.floor(random() * largestBatch));
  await submit(`${name}-${number}`, count);
  sent += count;
}
await Promise.all(cancelling);
watching.abort();
await watch;
history.close();
writeSync(3, `${JSON.stringify({ done: true, retries })}\n`);
process.exit(0);

async function submit(key: string, count: number): Promise<void> {
  const drawn = Array.from({ length: count }, () => drawJob(random, scale));
  history.write({ type: "submit", at: Date.now(), key, jobs: drawn.map((one) => one.asked) });
  // Some wait for the one before, however that ends: who is forgotten never ends itself.
  const specs = drawn.map(({ asked, payload, maxAttempts }, n) => ({
    ref: `${n}`,
    dependencyPolicy: DependencyPolicy.RELEASE,
    dependsOn:
      n > 0 && chains.next() < chainedShare ? [{ parent: { case: "ref" as const, value: `${n - 1}` } }] : [],
    kind: asked.kind,
    exclusive: asked.exclusive,
    payload: { content: { case: "data" as const, value: Buffer.from(JSON.stringify(payload)) } },
    retry: { maxAttempts, backoffInitial: create(DurationSchema, durationFromMs(200)) },
  }));
  const [spec] = specs;
  const answer = await repeated("submit", async () => {
    if (count > 1 || spec === undefined) {
      const { batchId, jobIds, replayed } = await batchApi.submitBatch({ jobs: specs, idempotencyKey: key });
      return { batchId, jobIds, replayed };
    }
    const { jobId, replayed } = await jobApi.submitJob({ job: spec, idempotencyKey: key });
    return { batchId: null, jobIds: [jobId], replayed };
  });
  history.write({ type: "submitted", at: Date.now(), key, ...answer });
  for (const jobId of answer.jobIds) {
    if (random() < cancelShare) {
      const cancelled = cancel(jobId, random() * 2_000).finally(() => cancelling.delete(cancelled));
      cancelling.add(cancelled);
    }
  }
}

async function cancel(jobId: string, afterMs: number): Promise<void> {
  await pause(afterMs);
  history.write({ type: "cancel", at: Date.now(), jobId });
  const { outcome } = await repeated("cancel", () => jobApi.cancelJob({ jobId, reason: "chaos" }));
  history.write({ type: "cancelled", at: Date.now(), jobId, outcome: outcomeNames[outcome] });
}

/** Calls until there is an answer; each failure is written down. */
async function repeated<T>(what: string, call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      retries++;
      history.write({ type: "failed", at: Date.now(), what, error: String(error) });
      await pause(100 + 200 * Math.random());
    }
  }
}

async function watchBacklog(): Promise<void> {
  while (!watching.signal.aborted) {
    try {
      const { status } = await statusApi.getStatus({});
      const waiting = status?.jobs.find((one) => one.state === JobState.READY)?.count ?? 0n;
      isFull = Number(waiting) > maxWaiting;
    } catch {
      // Not to be known now; the pace stays as it was.
    }
    await pause(500);
  }
}

async function until(timeMs: number): Promise<void> {
  const leftMs = timeMs - performance.now();
  if (leftMs > 0) await pause(leftMs);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
