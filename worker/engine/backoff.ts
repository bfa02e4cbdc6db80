const firstWindowMs = 1000;
const maxWindowMs = 64_000;

/**
 * How long to wait before the next try to connect, after `failures` of them in a row (1 or more): anywhere in a
 * window of 1 s that doubles up to 64 s. The spread keeps thousands of workers that lost one coordinator from
 * coming back in one moment. `random` is in [0, 1).
 */
export function reconnectDelayMs(failures: number, random: number): number {
  return Math.min(maxWindowMs, firstWindowMs * 2 ** (Math.max(1, failures) - 1)) * random;
}
