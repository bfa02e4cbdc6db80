import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMusterClient } from "@muster/client/node";
import { BatchService } from "@muster/client/v1/batch_service";
import { ExplainService } from "@muster/client/v1/explain_service";
import type { JobSpec } from "@muster/client/v1/job";
import { JobService } from "@muster/client/v1/job_service";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import { type Child, startChild } from "./child.ts";
import { median, quantile, round } from "./figures.ts";
import { noopSpec } from "./peers/muster.ts";
import { benchPayload } from "./seen.ts";

/*
 * `npm run bench -- scheduler`: does what waits slow what runs? The rate with a million ready jobs, with 100,000
 * blocked ones ahead, and with 500 shapes, each as a ratio to the rate with an empty backlog, measured before and
 * after it on a fresh coordinator; the time of a dependency step; the time of an explanation with 1,000 workers.
 */

/** What is measured. */
export interface SchedulerResult {
  readonly jobsPerSecond: number;
  readonly readyRatio: number;
  readonly blockedRatio: number;
  readonly shapesRatio: number;
  readonly stepP50Ms: number;
  readonly stepP99Ms: number;
  readonly explainP50Ms: number;
  readonly explainP99Ms: number;
}

/** How much of it; 0 leaves a part out, and its figure is null. */
export interface SchedulerOptions {
  readonly ready: number;
  readonly blocked: number;
  readonly shapes: number;
  readonly workers: number;
  readonly slots: number;
  readonly steps: number;
  readonly explained: number;
  readonly log: (line: string) => void;
}

const measured = 60_000;
/** Jobs of a backlog that go before those measured would be claimed first: the backlog is behind, or cannot run. */
const from = 6_000;

const skills = Array.from({ length: 10 }, (_, n) => `skill-${n}`);

type Spec = Partial<Pick<JobSpec, "kind" | "queue" | "dependsOn" | "requiredSkills">>;

interface Bench {
  readonly folder: string;
  readonly coordinator: Child;
  readonly jobs: ReturnType<typeof createMusterClient<typeof JobService>>;
  readonly explain: ReturnType<typeof createMusterClient<typeof ExplainService>>;
  submit(count: number, specOf: (n: number) => Spec): Promise<void>;
  startWorkers(count: number, slots: number): Promise<Child>;
}

/** Runs all of it. */
export async function benchScheduler(options: SchedulerOptions): Promise<SchedulerResult> {
  const { ready, blocked, shapes, log } = options;
  const bases: number[] = [];
  const base = async () => {
    const rate = await withBench((bench) => rateOf(bench, options, measured, () => ({})));
    log(`empty backlog          ${Math.round(rate)} jobs/s`);
    bases.push(rate);
  };
  const against = async (count: number, name: string, body: (bench: Bench) => Promise<number>) => {
    if (count === 0) return Number.NaN;
    if (bases.length === 0) await base();
    const rate = await withBench(body);
    log(`${name.padEnd(22)} ${Math.round(rate)} jobs/s`);
    await base();
    const [before = 0, after = 0] = bases.slice(-2);
    return rate / ((before + after) / 2);
  };
  const readyRatio = await against(ready, `${ready} ready`, (bench) =>
    rateOf(bench, options, ready, () => ({})),
  );
  const blockedRatio = await against(blocked, `${blocked} blocked ahead`, async (bench) => {
    const { jobId } = await bench.jobs.submitJob({ job: { kind: "bench.nobody" } });
    const dependsOn = [{ parent: { case: "jobId" as const, value: jobId } }] as JobSpec["dependsOn"];
    await bench.submit(blocked, () => ({ dependsOn }));
    return rateOf(bench, options, measured, () => ({}));
  });
  const shapesRatio = await against(shapes, `${shapes} shapes`, (bench) =>
    rateOf(bench, options, measured, (n) => ({ requiredSkills: skillsOf(n % shapes) })),
  );
  const steps = options.steps === 0 ? [] : await withBench((bench) => stepsOf(bench, options));
  const explained = options.explained === 0 ? [] : await withBench((bench) => explainsOf(bench, options));
  return {
    jobsPerSecond: Math.round(median(bases)),
    readyRatio: round(readyRatio, 3),
    blockedRatio: round(blockedRatio, 3),
    shapesRatio: round(shapesRatio, 3),
    stepP50Ms: round(quantile(steps, 0.5), 2),
    stepP99Ms: round(quantile(steps, 0.99), 2),
    explainP50Ms: round(quantile(explained, 0.5), 2),
    explainP99Ms: round(quantile(explained, 0.99), 2),
  };
}

async function withBench<T>(body: (bench: Bench) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "muster-bench-"));
  chmodSync(folder, 0o755);
  const children: Child[] = [];
  try {
    const coordinator = await startChild("./coordinator-process.ts", { dataDir: join(folder, "data") });
    children.push(coordinator);
    const client = {
      address: String(coordinator.ready["apiAddress"]),
      key: String(coordinator.ready["key"]),
    };
    const batches = createMusterClient(BatchService, client);
    const admin = createMusterClient(WorkerAdminService, client);
    return await body({
      folder,
      coordinator,
      jobs: createMusterClient(JobService, client),
      explain: createMusterClient(ExplainService, client),
      async submit(count, specOf) {
        const batch = async (first: number) => {
          const jobs = Array.from({ length: Math.min(1_000, count - first) }, (_, n) => ({
            ...noopSpec(benchPayload()),
            ...specOf(first + n),
          }));
          await batches.submitBatch({ jobs });
        };
        for (let first = 0; first < count; first += 2_000) {
          await Promise.all([batch(first), ...(first + 1_000 < count ? [batch(first + 1_000)] : [])]);
        }
      },
      async startWorkers(workers, slots) {
        const keys: string[] = [];
        for (let n = 0; n < workers; n++) keys.push((await admin.createWorker({ name: `bench-${n}` })).key);
        const address = coordinator.ready["workerAddress"];
        const child = await startChild("./workers-process.ts", {
          address,
          keys,
          slots,
          skills,
          folder,
          from,
          to: measured - 3_000,
        });
        children.push(child);
        await child.call("start");
        return child;
      },
    });
  } finally {
    for (const child of children.reverse()) await child.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

// Jobs a second while the first 60,000 of a backlog are worked off.
async function rateOf(
  bench: Bench,
  { workers, slots }: SchedulerOptions,
  count: number,
  specOf: (n: number) => Spec,
): Promise<number> {
  await bench.submit(count, specOf);
  const child = await bench.startWorkers(workers, slots);
  const { jobs, ms } = await child.next();
  return Number(jobs) / (Number(ms) / 1_000);
}

// A set of skills for each number: its bits. The workers have all of them.
function skillsOf(n: number): string[] {
  return skills.filter((_, bit) => (n >> bit) % 2 === 1);
}

// The time from the end of a job's handler to the start of the one that depends on it.
async function stepsOf(bench: Bench, { steps }: SchedulerOptions): Promise<number[]> {
  const child = await bench.startWorkers(4, 4);
  const times: number[] = [];
  for (let chain = 0; chain < Math.ceil(steps / 50); chain++) {
    const specs = Array.from({ length: 50 }, (_, n) => ({
      kind: "bench.step",
      ref: `step-${n}`,
      dependsOn: n === 0 ? [] : [{ parent: { case: "ref" as const, value: `step-${n - 1}` } }],
    }));
    const client = {
      address: String(bench.coordinator.ready["apiAddress"]),
      key: String(bench.coordinator.ready["key"]),
    };
    await createMusterClient(BatchService, client).submitBatch({ jobs: specs });
    let endedMs: number | undefined;
    for (let n = 0; n < specs.length; n++) {
      const step = await child.next();
      if (endedMs !== undefined) times.push(Number(step["startedMs"]) - endedMs);
      endedMs = Number(step["endedMs"]);
    }
  }
  return times;
}

// Why a job that nobody can run is not running, asked with a thousand workers connected.
async function explainsOf(bench: Bench, { explained }: SchedulerOptions): Promise<number[]> {
  await bench.startWorkers(1_000, 4);
  const { jobId } = await bench.jobs.submitJob({ job: { kind: "bench.noop", requiredSkills: ["rare"] } });
  const times: number[] = [];
  for (let n = 0; n < explained + 5; n++) {
    const startedMs = performance.now();
    const { workers } = await bench.explain.explainJob({ jobId });
    // The first ones prepare.
    if (n >= 5) times.push(performance.now() - startedMs);
    if (workers.length !== 1_000) throw new Error(`the explanation names ${workers.length} workers`);
  }
  return times;
}
