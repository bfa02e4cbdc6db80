import { setTimeout as sleep } from "node:timers/promises";
import { untilEmpty } from "./burndown.ts";
import { sharedMs } from "./clock.ts";
import { quantile, round } from "./figures.ts";
import { clearDelays, delaysOf, type Measurement, measurementOf, withSystem } from "./measurement.ts";
import { readUsage } from "./meter.ts";
import { finished } from "./sustained.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** The first samples prepare. */
const warmSamples = 20;
/** What polls twice a second is not waited for to the end. */
const mostMs = 60_000;
const restMs = 5;

/**
 * One job after the other on an idle system: from before the submit to the start of its handler, and until the
 * database has nothing left that is not durably done.
 */
export function measureLatency(
  environment: Environment,
  system: System,
  { samples }: { readonly samples: number },
): Promise<Measurement> {
  return withSystem(environment, system, async (running) => {
    await running.work();
    await Promise.all(running.consumers.map((child) => child.call("stamp")));
    for (let n = 0; n < warmSamples; n++) await oneJob(running);
    const before = await readUsage(environment, system, running);
    const begunMs = sharedMs();
    const starts: number[] = [];
    const ends: number[] = [];
    while (starts.length < samples && sharedMs() - begunMs < mostMs) {
      const { startMs, endMs } = await oneJob(running);
      starts.push(startMs);
      ends.push(endMs);
    }
    const ms = sharedMs() - begunMs;
    const after = await readUsage(environment, system, running);
    return measurementOf(environment, system, running, {
      workload: "latency",
      jobs: starts.length,
      ms,
      p50Ms: quantile(starts, 0.5),
      p99Ms: quantile(starts, 0.99),
      timesAre: "idle, submit to start",
      before,
      // Most of the commits are our own questions whether it is done.
      after: { ...after, commits: null },
      isOver: true,
      more: { durableP50Ms: round(quantile(ends, 0.5), 2), durableP99Ms: round(quantile(ends, 0.99), 2) },
    });
  });
}

async function oneJob(running: RunningSystem): Promise<{ readonly startMs: number; readonly endMs: number }> {
  const [consumer, ...others] = running.consumers;
  if (consumer === undefined || others.length > 0) throw new Error("idle latency is that of one coordinator");
  const [{ sentMs }, { startedMs }] = await Promise.all([running.producer.call("one"), consumer.next()]);
  await untilEmpty(running, 0);
  const endMs = sharedMs() - Number(sentMs);
  await sleep(restMs);
  return { startMs: Number(startedMs) - Number(sentMs), endMs };
}

/**
 * Submits at a steady rate, in a batch each 10 ms, whatever the system does: how long after its submit is each job
 * started?
 */
export function measureLoadedLatency(
  environment: Environment,
  system: System,
  { seconds, perSecond }: { readonly seconds: number; readonly perSecond: number },
): Promise<Measurement> {
  return withSystem(environment, system, async (running) => {
    await running.work();
    await running.producer.call("pace", { perSecond });
    await sleep(Math.min(5, seconds) * 1_000);
    await clearDelays(running);
    const first = await finished(running);
    const before = await readUsage(environment, system, running);
    await sleep(seconds * 1_000);
    const delays = await delaysOf(running);
    const last = await finished(running);
    const after = await readUsage(environment, system, running);
    await running.producer.call("halt");
    return measurementOf(environment, system, running, {
      workload: "loaded-latency",
      jobs: Math.max(1, Math.round(last.count - first.count)),
      ms: last.ms - first.ms,
      p50Ms: delays.quantile(0.5),
      p99Ms: delays.quantile(0.99),
      timesAre: "at half its sustained rate, submit to start",
      before,
      after,
      isOver: false,
      more: { askedPerSecond: Math.round(perSecond) },
    });
  });
}
