import { type Records, workerOf } from "./records.ts";

/** What was done to the processes of workers, and when. */
export interface WorkerTimes {
  /** When the process that ran something at a time was killed; null when that is not known. */
  killOf(worker: number, boot: number, at: number): number | null;
  /** Whether it was stopped at some time between. */
  wasFrozen(worker: number, fromMs: number, toMs: number): boolean;
  /** Whether it was cut off from the coordinators at some time between. */
  wasCut(worker: number, fromMs: number, toMs: number): boolean;
  /** Whether its frames, its connections or its drain were meddled with between. */
  wasDisturbed(worker: number, fromMs: number, toMs: number): boolean;
  /** Whether it was killed at some time between. */
  wasKilled(worker: number, fromMs: number, toMs: number): boolean;
  /** The first kill or start of it after a time; infinite when there is none. */
  nextLife(worker: number, afterMs: number): number;
}

/** Reads them from the faults and the journals. */
export function workerTimes(records: Records): WorkerTimes {
  const kills = new Map<number, number[]>();
  const lives = new Map<number, number[]>();
  const freezes = new Map<number, { readonly fromMs: number; toMs: number }[]>();
  const cuts = new Map<number, { readonly fromMs: number; readonly toMs: number }[]>();
  const disturbances = new Map<number, number[]>();
  for (const fault of records.faults) {
    const worker = workerOf(records, fault);
    if (worker === 0) continue;
    switch (fault.type) {
      case "kill-worker":
        append(kills, worker, fault.at);
        append(lives, worker, fault.at);
        break;
      case "start-worker":
        append(lives, worker, fault.at);
        break;
      case "freeze-worker": {
        const toMs = fault.forMs === undefined ? Number.POSITIVE_INFINITY : fault.at + fault.forMs;
        append(freezes, worker, { fromMs: fault.at, toMs });
        break;
      }
      case "partition":
        append(cuts, worker, { fromMs: fault.at, toMs: fault.at + (fault.forMs ?? 0) });
        break;
      case "frame-fault":
      case "reset":
      case "drain-worker":
        append(disturbances, worker, fault.at);
        break;
      case "thaw-worker": {
        const open = freezes.get(worker)?.at(-1);
        if (open) open.toMs = fault.at;
        break;
      }
      default:
    }
  }
  const boots = bootStarts(records);
  return {
    killOf(worker, boot, at) {
      const killed = kills.get(worker)?.find((time) => time >= at);
      if (killed === undefined) return null;
      // Another process since: this one had died before, by itself.
      const isStarted = lives.get(worker)?.some((time) => time > at && time < killed);
      const isFollowed = boots
        .get(worker)
        ?.some((other) => other.boot !== boot && other.at > at && other.at < killed);
      return isStarted || isFollowed ? null : killed;
    },
    wasFrozen: (worker, fromMs, toMs) =>
      freezes.get(worker)?.some((freeze) => freeze.fromMs <= toMs && freeze.toMs >= fromMs) ?? false,
    wasCut: (worker, fromMs, toMs) =>
      cuts.get(worker)?.some((cut) => cut.fromMs <= toMs && cut.toMs >= fromMs) ?? false,
    wasDisturbed: (worker, fromMs, toMs) =>
      disturbances.get(worker)?.some((time) => time >= fromMs && time <= toMs) ?? false,
    wasKilled: (worker, fromMs, toMs) =>
      kills.get(worker)?.some((time) => time >= fromMs && time <= toMs) ?? false,
    nextLife: (worker, afterMs) =>
      lives.get(worker)?.find((time) => time > afterMs) ?? Number.POSITIVE_INFINITY,
  };
}

// The first execution of each boot of each worker.
function bootStarts({ starts }: Records): Map<number, { readonly boot: number; at: number }[]> {
  const byWorker = new Map<number, { readonly boot: number; at: number }[]>();
  const byBoot = new Map<number, { readonly boot: number; at: number }>();
  for (let row = 0; row < starts.job.length; row++) {
    const [boot, at] = [starts.boot.get(row), starts.at.get(row)];
    const known = byBoot.get(boot);
    if (known) known.at = Math.min(known.at, at);
    else {
      const first = { boot, at };
      byBoot.set(boot, first);
      append(byWorker, starts.worker.get(row), first);
    }
  }
  return byWorker;
}

function append<T>(lists: Map<number, T[]>, key: number, value: T): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
