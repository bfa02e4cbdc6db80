import { setTimeout as sleep } from "node:timers/promises";
import { sharedMs } from "./clock.ts";
import { type Measurement, measurementOf, seenBy, withSystem } from "./measurement.ts";
import { readUsage } from "./meter.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** Jobs a call of submitBatch, and calls in flight, for every system. */
export const submitBatchSize = 1_000;
export const submitFlights = 2;

/** Nothing happens for so long: it hangs. */
const hangMs = 60_000;

/**
 * A full line is worked off. The clock starts when the workers are told to start, their processes being loaded but not
 * connected, and stops when the database has no job left that is not durably done.
 */
export function measureBurndown(
  environment: Environment,
  system: System,
  { jobs }: { readonly jobs: number },
): Promise<Measurement> {
  return withSystem(environment, system, async (running) => {
    await running.producer.call("fill", { jobs, batch: submitBatchSize, flights: submitFlights });
    const before = await readUsage(environment, system, running);
    const startedMs = sharedMs();
    const working = running.work();
    const middle = await untilSeen(running, jobs);
    await working;
    await untilEmpty(running);
    const ms = sharedMs() - startedMs;
    const after = await readUsage(environment, system, running);
    return measurementOf(environment, system, running, {
      workload: "burndown",
      jobs,
      ms,
      timesAre: "none: a job waits as long as the line is",
      before,
      after,
      isOver: true,
      more: Number.isNaN(middle) ? {} : { middleJobsPerSecond: Math.round(middle) },
    });
  });
}

/** Resolves when the database has no job left that is not durably done. */
export async function untilEmpty(running: RunningSystem, pollMs = 2): Promise<void> {
  const deadline = sharedMs() + hangMs;
  while ((await running.left()) > 0) {
    if (sharedMs() > deadline) throw new Error(`${await running.left()} jobs are still left`);
    if (pollMs > 0) await sleep(pollMs);
  }
}

// Asks the processes that work, not the database, until all jobs were started; returns the rate between 10 and 95 %.
async function untilSeen(running: RunningSystem, jobs: number): Promise<number> {
  let first: readonly [count: number, ms: number] | undefined;
  let last: readonly [count: number, ms: number] | undefined;
  let changedMs = sharedMs();
  for (let before = -1; ; ) {
    const count = await seenBy(running);
    const now = sharedMs();
    if (count >= jobs * 0.1) first ??= [count, now];
    if (count <= jobs * 0.95) last = [count, now];
    if (count >= jobs) break;
    if (count !== before) changedMs = now;
    else if (now - changedMs > hangMs) throw new Error(`${count} of ${jobs} jobs were started, then none`);
    before = count;
    await sleep(20);
  }
  if (first === undefined || last === undefined || last[1] <= first[1]) return Number.NaN;
  return (last[0] - first[0]) / ((last[1] - first[1]) / 1_000);
}
