import type { Log } from "../domain/context.ts";
import type { Counters } from "../domain/counters.ts";

/** Counts refused frames by kind of frame and reason, and logs a line a second of each kind, with how many there were. */
export function refusals(
  log: Log,
  counters: Counters,
  nowMs: () => number,
): (frame: string, reason: string) => void {
  const seen = new Map<string, { count: number; loggedMs: number }>();
  return (frame, reason) => {
    const key = `${frame} ${reason}`;
    const entry = seen.get(key) ?? { count: 0, loggedMs: Number.NEGATIVE_INFINITY };
    entry.count++;
    counters.add("muster_refused_frames_total", { frame, reason });
    if (nowMs() - entry.loggedMs >= 1_000) {
      entry.loggedMs = nowMs();
      log.warn({ frame, reason, count: entry.count }, "a frame was refused");
    }
    seen.set(key, entry);
  };
}
