import type { Log } from "../domain/context.ts";

/** A loop that any coordinator may run at the same time as others. */
export interface Loop {
  readonly name: string;
  /** Time between the end of a pass and the next one; varies by a tenth. */
  readonly intervalMs: number | (() => number);
  /** One pass. What fails is logged; the next pass tries again. */
  readonly pass: (signal: AbortSignal) => Promise<void>;
  /** Resolves when nothing runs any more that passes began and did not wait for. */
  readonly ended?: () => Promise<void>;
}

/** Runs loops until the signal aborts. Resolves when the last pass has ended. */
export async function runLoops(loops: readonly Loop[], log: Log, signal: AbortSignal): Promise<void> {
  await Promise.all(loops.map((loop) => runLoop(loop, log, signal)));
}

async function runLoop(loop: Loop, log: Log, signal: AbortSignal): Promise<void> {
  const { name, intervalMs, pass } = loop;
  while (!signal.aborted) {
    try {
      await pass(signal);
    } catch (error) {
      if (!signal.aborted) log.warn({ err: error, loop: name }, "a sweep failed; the next pass tries again");
    }
    const waitMs = typeof intervalMs === "number" ? intervalMs : intervalMs();
    await pause(waitMs * (0.9 + 0.2 * Math.random()), signal);
  }
  await loop.ended?.();
}

/** Resolves after a time, or when the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
