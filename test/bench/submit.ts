import { type Measurement, measurementOf, withSystem } from "./measurement.ts";
import { readUsage } from "./meter.ts";
import type { Environment, System } from "./system.ts";

/** What is submitted, and how. */
export interface SubmitOptions {
  readonly workload: "submit" | "submit one by one";
  readonly jobs: number;
  /** Jobs a call; 1 is the call for one. */
  readonly batch: number;
  /** Calls in flight. */
  readonly flights: number;
}

/** Submits, while nothing works. The clock stops at the last acknowledgement. */
export function measureSubmit(
  environment: Environment,
  system: System,
  { workload, jobs, batch, flights }: SubmitOptions,
): Promise<Measurement> {
  const acknowledged = { ...system, stopsTheClock: "the last call is acknowledged" };
  return withSystem(environment, acknowledged, async (running) => {
    // The first calls of a connection prepare its statements.
    await running.producer.call("fill", { jobs: batch * flights, batch, flights });
    const before = await readUsage(environment, system, running);
    const { ms, p50Ms, p99Ms } = await running.producer.call("fill", { jobs, batch, flights });
    const after = await readUsage(environment, system, running);
    return measurementOf(environment, acknowledged, running, {
      workload,
      jobs,
      ms: Number(ms),
      p50Ms: Number(p50Ms),
      p99Ms: Number(p99Ms),
      timesAre: batch === 1 ? "a call" : `a call of ${batch.toLocaleString("en-US")}`,
      before,
      after,
      isOver: true,
    });
  });
}
