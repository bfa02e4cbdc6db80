import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Collects what nobody holds any more: a measure of memory without it is one of when the collector last ran. */
export function collectGarbage(): void {
  collector ??= openCollector();
  collector();
}

/** What is held, in bytes: of the heap with what belongs to it outside, and of the process. */
export interface Held {
  readonly heap: number;
  readonly rss: number;
}

/** Measures what is held now. */
export function held(): Held {
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

/**
 * Resolves when what is held is back to what it was but for some: what a flood left behind would stay. Else rejects
 * with what stayed. RSS has a wider bound: what the process has had once the system takes back when it likes.
 */
export async function backTo(base: Held): Promise<void> {
  let now = held();
  for (let tries = 0; tries < 50 && !isBack(now, base); tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    now = held();
  }
  if (isBack(now, base)) return;
  const [heap, rss] = [now.heap - base.heap, now.rss - base.rss].map((bytes) =>
    (bytes / mebibyte).toFixed(1),
  );
  throw new Error(`memory does not come back: the heap holds ${heap} MiB more, the process ${rss} MiB`);
}

const mebibyte = 1024 * 1024;

function isBack(now: Held, base: Held): boolean {
  return now.heap - base.heap < 8 * mebibyte && now.rss - base.rss < 64 * mebibyte;
}

let collector: (() => void) | undefined;

function openCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new Error("this Node exposes no collector");
  return () => collect();
}
