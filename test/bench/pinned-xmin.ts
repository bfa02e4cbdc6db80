import postgres from "postgres";
import { round } from "./figures.ts";
import { withSystem } from "./measurement.ts";
import { finished, holdDepth, startSustained } from "./sustained.ts";
import type { Environment, RunningSystem, System } from "./system.ts";

/** What an open transaction does to the rate, because nothing that died since it began can be cleaned up. */
export interface PinnedResult {
  readonly freePerSecond: number;
  /** In the last part of the time. */
  readonly pinnedPerSecond: number;
  /** Share of the rate that is kept. */
  readonly kept: number;
  readonly seconds: number;
}

/** Measures the sustained rate, opens a transaction that does nothing, and measures it again at the end of `seconds`. */
export function measurePinned(
  environment: Environment,
  system: System,
  { seconds, depth }: { readonly seconds: number; readonly depth: number },
): Promise<PinnedResult> {
  return withSystem(environment, system, async (running) => {
    if (running.databaseUrl === undefined) throw new Error(`${system.name} has no transactions`);
    const part = Math.min(30, Math.ceil(seconds / 3)) * 1_000;
    await startSustained(running, depth);
    await holdDepth(running, 5_000);
    const free = await rate(running, part);
    const idle = postgres(running.databaseUrl, { max: 1, onnotice: () => {} });
    const pinned = await idle.begin("isolation level repeatable read", async (tx) => {
      await tx`select pg_current_xact_id()`;
      await holdDepth(running, seconds * 1_000 - part);
      return rate(running, part);
    });
    await idle.end();
    await running.producer.call("halt");
    return {
      freePerSecond: Math.round(free),
      pinnedPerSecond: Math.round(pinned),
      kept: round(pinned / free, 3),
      seconds,
    };
  });
}

async function rate(running: RunningSystem, ms: number): Promise<number> {
  const first = await finished(running);
  await holdDepth(running, ms);
  const last = await finished(running);
  return (last.count - first.count) / ((last.ms - first.ms) / 1_000);
}
