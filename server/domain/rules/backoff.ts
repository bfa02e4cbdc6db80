/** How long a job waits between a retryable failure and its next attempt. */
export interface Backoff {
  /** Wait after the first failure. */
  readonly initialMs: number;
  /** By how much each further failure multiplies the wait; 1 keeps it constant. */
  readonly factor: number;
  /** Where the growth ends, before the spread. */
  readonly maxMs: number;
}

/** The spread: each wait is drawn from 80 % to 120 % of its exponential value. */
const backoffSpread = 0.2;

/**
 * The wait after failure number `failures` (1 for the first), in whole milliseconds. `random` is uniform in
 * [0, 1). The spread applies to the capped value too, so waits reach 1.2 × `maxMs`: jobs that fail together for
 * long must not come back together.
 */
export function backoffDelayMs(failures: number, backoff: Backoff, random: number): number {
  const exponent = Math.max(0, failures - 1);
  // factor ** exponent may be Infinity, and Infinity × 0 is not a number: an initial wait of 0 stays 0.
  const grownMs = backoff.initialMs === 0 ? 0 : backoff.initialMs * backoff.factor ** exponent;
  const cappedMs = Math.min(grownMs, backoff.maxMs);
  return Math.round(cappedMs * (1 - backoffSpread + 2 * backoffSpread * random));
}
