import { setTimeout as sleep } from "node:timers/promises";
import { submitBatchSize, submitFlights } from "./burndown.ts";
import { sharedMs } from "./clock.ts";
import { median } from "./figures.ts";
import { clearDelays, delaysOf, type Measurement, measurementOf, seenBy, withSystem } from "./measurement.ts";
import { readUsage } from "./meter.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** How long, and how many jobs are held ready. */
export interface SustainedOptions {
  readonly seconds: number;
  readonly depth: number;
}

/** Before the clock starts. */
const warmMs = 5_000;

/**
 * Submits and works at the same time, with a line that is held at a depth: as many jobs are submitted as were started.
 * What counts are the jobs that the database says are done: those submitted less those left, at both ends of the time.
 */
export function measureSustained(
  environment: Environment,
  system: System,
  { seconds, depth }: SustainedOptions,
): Promise<Measurement> {
  return withSystem(environment, system, async (running) => {
    await startSustained(running, depth);
    await holdDepth(running, Math.min(warmMs, seconds * 1_000));
    await clearDelays(running);
    const first = await finished(running);
    const before = await readUsage(environment, system, running);
    const depths = await holdDepth(running, seconds * 1_000);
    const last = await finished(running);
    const after = await readUsage(environment, system, running);
    const delays = await delaysOf(running);
    await running.producer.call("halt");
    return measurementOf(environment, system, running, {
      workload: "sustained",
      jobs: Math.round(last.count - first.count),
      ms: last.ms - first.ms,
      p50Ms: delays.quantile(0.5),
      p99Ms: delays.quantile(0.99),
      timesAre: "submit to start, with the line held",
      before,
      after,
      isOver: false,
      more: { depth: Math.round(median(depths)), leastDepth: Math.min(...depths) },
    });
  });
}

/** Lets the workers work and the producer hold the line. */
export async function startSustained(running: RunningSystem, depth: number): Promise<void> {
  const options = { depth, batch: submitBatchSize, flights: submitFlights };
  await running.producer.call("keep", options);
  await running.work();
}

/** Tells the producer all the time how much is done; returns the depths that there were. */
export async function holdDepth(running: RunningSystem, ms: number): Promise<number[]> {
  const depths: number[] = [];
  const endMs = sharedMs() + ms;
  while (sharedMs() < endMs) {
    const count = await seenBy(running);
    const { submitted } = await running.producer.call("handled", { count });
    depths.push(Number(submitted) - count);
    await sleep(20);
  }
  return depths;
}

/** Jobs that are durably done, and when that was; off by no more than what was in flight to the database. */
export async function finished(
  running: RunningSystem,
): Promise<{ readonly count: number; readonly ms: number }> {
  const submitted = async () => Number((await running.producer.call("submitted"))["submitted"]);
  const ms = sharedMs();
  const before = await submitted();
  const left = await running.left();
  return { count: (before + (await submitted())) / 2 - left, ms };
}
