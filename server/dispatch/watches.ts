import type { Coordinator } from "../domain/context.ts";
import { overloaded } from "../domain/errors.ts";
import { createJobCountsReader, type JobCountsReader } from "../domain/job-counts.ts";
import { createWorkerReader, type WorkerReader } from "../domain/worker-readings.ts";
import type { Feed } from "./feed.ts";

/** What watchers of lists share. */
export interface Watches {
  readonly coordinator: Pick<Coordinator, "db" | "config" | "coordinatorId">;
  readonly feed: Pick<Feed, "follow" | "readSince" | "waitForOrg">;
  readonly counts: JobCountsReader;
  readonly workers: WorkerReader;
  /** A clock that never goes back, in milliseconds. */
  readonly nowMs: () => number;
  /** Takes a place among the watchers of an org: disposing gives it back. Throws WATCHES_EXHAUSTED. */
  enter(orgId: string): Disposable;
}

/** When to come back when all places are taken. */
const retryMs = 5_000;

/** Makes it, once a coordinator. */
export function createWatches(
  coordinator: Pick<Coordinator, "db" | "config" | "coordinatorId">,
  feed: Watches["feed"],
  nowMs: () => number = () => performance.now(),
): Watches {
  const places = new Map<string, number>();
  return {
    coordinator,
    feed,
    nowMs,
    counts: createJobCountsReader(coordinator, { nowMs }),
    workers: createWorkerReader(coordinator, nowMs),
    enter(orgId) {
      const taken = places.get(orgId) ?? 0;
      if (taken >= coordinator.config.watchesPerOrg) throw overloaded(retryMs, "WATCHES_EXHAUSTED");
      places.set(orgId, taken + 1);
      let isHere = true;
      return {
        [Symbol.dispose]() {
          if (!isHere) return;
          isHere = false;
          const left = (places.get(orgId) ?? 1) - 1;
          if (left === 0) places.delete(orgId);
          else places.set(orgId, left);
        },
      };
    },
  };
}
