/**
 * Counts of durations in buckets that grow by 2^(1/8): bucket 0 is less than a millisecond, bucket n from 1 holds
 * 2^((n-1)/8) to 2^(n/8) milliseconds, the last one all from 42 days. The same as `muster.histogram_bucket`.
 */
export type Histogram = ReadonlyMap<number, number>;

/** The last bucket. */
export const lastBucket = 255;

const perDoubling = 8;

/** The bucket of a duration in seconds. */
export function bucketOf(seconds: number): number {
  const ms = seconds * 1_000;
  if (ms < 1) return 0;
  return Math.min(lastBucket, 1 + Math.floor(Math.log2(ms) * perDoubling));
}

/** Where a bucket begins, in milliseconds. */
export function bucketStartMs(bucket: number): number {
  return bucket === 0 ? 0 : 2 ** ((bucket - 1) / perDoubling);
}

/** Where a bucket ends, in milliseconds. */
export function bucketEndMs(bucket: number): number {
  return 2 ** (bucket / perDoubling);
}

/** Reads what the store keeps: pairs of a bucket and its count. */
export function histogramOf(pairs: readonly number[]): Histogram {
  const histogram = new Map<number, number>();
  for (let n = 0; n + 1 < pairs.length; n += 2) add(histogram, pairs[n] ?? 0, pairs[n + 1] ?? 0);
  return histogram;
}

/** The sum of histograms. */
export function sumHistograms(histograms: Iterable<Histogram>): Histogram {
  const sum = new Map<number, number>();
  for (const histogram of histograms) for (const [bucket, count] of histogram) add(sum, bucket, count);
  return sum;
}

/**
 * The duration in milliseconds that the share `q` (0 to 1) of all does not exceed: within 4.5 % of the exact one, from
 * 1 ms on. Null when nothing was counted.
 */
export function quantileMs(histogram: Histogram, q: number): number | null {
  const counts = [...histogram].filter(([, count]) => count > 0).sort(([a], [b]) => a - b);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  if (total === 0) return null;
  const rank = Math.max(1, Math.ceil(q * total));
  let seen = 0;
  for (const [bucket, count] of counts) {
    seen += count;
    if (seen >= rank) return bucket === 0 ? 0.5 : Math.sqrt(bucketStartMs(bucket) * bucketEndMs(bucket));
  }
  return null;
}

function add(histogram: Map<number, number>, bucket: number, count: number): void {
  histogram.set(bucket, (histogram.get(bucket) ?? 0) + count);
}
