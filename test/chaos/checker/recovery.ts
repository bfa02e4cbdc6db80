import { Outcome } from "../../../server/domain/rules/states.ts";
import { sortByTime } from "./column.ts";
import type { JobIndex } from "./job-history.ts";
import { type Fault, type Records, workerOf } from "./records.ts";
import type { Durations, Recovery, Spared } from "./verdict.ts";
import type { WorkerTimes } from "./worker-times.ts";

/** Faults that work should outlive: how much of it did. */
const survivable: readonly Fault["type"][] = [
  "partition",
  "reset",
  "frame-fault",
  "freeze-worker",
  "kill-coordinator",
  "stop-coordinator",
  "kill-postgres",
  "terminate-backends",
  "swallow-commit",
];

/** I16: how long it took until work went on, and what did not even stop. One pass over time. */
export function measureRecovery(records: Records, index: JobIndex, times: WorkerTimes): Recovery {
  const { attempts } = records;
  const byGrant = sortByTime(attempts.grantedAt).filter((row) => attempts.lease.get(row) !== 0);
  const kills: { at: number; target: string; ms: number[] }[] = [];
  const spared: Record<string, { faults: number; resumed: number; reassigned: number }> = {};
  let settledOtherwise = 0;
  let active: number[] = [];
  let next = 0;
  for (const fault of records.faults) {
    const isKill = fault.type === "kill-worker";
    if (!isKill && !survivable.includes(fault.type)) continue;
    for (; next < byGrant.length; next++) {
      const row = byGrant[next] ?? 0;
      if (attempts.grantedAt.get(row) > fault.at) break;
      active.push(row);
    }
    active = active.filter((row) => attempts.endedAt.get(row) >= fault.at);
    const worker = workerOf(records, fault);
    const held = worker === 0 ? active : active.filter((row) => attempts.worker.get(row) === worker);
    if (isKill) {
      const again = held.map((row) => nextStartMs(records, index, row, fault.at));
      const ms = again.filter((time) => time !== null);
      settledOtherwise += again.length - ms.length;
      kills.push({ at: fault.at, target: fault.target, ms });
      continue;
    }
    spared[fault.type] ??= { faults: 0, resumed: 0, reassigned: 0 };
    countSpared(records, times, fault, held, spared[fault.type]);
  }
  return {
    killedWorkers: {
      ...durations(kills.flatMap(({ ms }) => ms)),
      kills: kills.length,
      settledOtherwise,
      byKill: kills.map(({ at, target, ms }) => ({ at, target, ...durations(ms) })),
    },
    spared,
    dispatchResumed: durations(
      records.faults.flatMap(({ type, forMs }) =>
        type === "dispatch-resumed" && forMs !== undefined ? [forMs] : [],
      ),
    ),
  };
}

function countSpared(
  { attempts }: Records,
  times: WorkerTimes,
  fault: Fault,
  held: readonly number[],
  into: { -readonly [K in keyof Spared]: number } | undefined,
): void {
  if (!into) return;
  into.faults++;
  for (const row of held) {
    const [worker, endedAt] = [attempts.worker.get(row), attempts.endedAt.get(row)];
    // What a kill took meanwhile says nothing about this fault.
    if (times.wasKilled(worker, fault.at, endedAt)) continue;
    if (attempts.outcome.get(row) === Outcome.lost) into.reassigned++;
    else into.resumed++;
  }
}

// From a kill to the next execution of the job; null when it ended without one.
function nextStartMs({ attempts, starts }: Records, index: JobIndex, row: number, at: number): number | null {
  let first = Number.POSITIVE_INFINITY;
  for (const start of index.starts.of(attempts.job.get(row))) {
    const isOther = starts.attempt.get(start) > attempts.attempt.get(row);
    if (isOther && starts.at.get(start) >= at) first = Math.min(first, starts.at.get(start));
  }
  return Number.isFinite(first) && attempts.outcome.get(row) === Outcome.lost ? first - at : null;
}

/** The middle, the 99th percentile and the longest. */
export function durations(ms: readonly number[]): Durations {
  const sorted = ms.toSorted((a, b) => a - b);
  const quantile = (share: number) => Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0);
  return { count: sorted.length, p50Ms: quantile(0.5), p99Ms: quantile(0.99), maxMs: quantile(1) };
}
