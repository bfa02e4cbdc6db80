import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bucketEndMs,
  bucketOf,
  bucketStartMs,
  type Histogram,
  histogramOf,
  lastBucket,
  quantileMs,
  sumHistograms,
} from "../../../server/domain/rules/histograms.ts";

const seconds = fc.double({ min: 0.001, max: 3_000_000, noNaN: true });
const histogram = (durations: readonly number[]): Histogram =>
  sumHistograms(durations.map((one) => histogramOf([bucketOf(one), 1])));

describe("a bucket", () => {
  test("holds what lies between its bounds", () => {
    fc.assert(
      fc.property(seconds, (one) => {
        const bucket = bucketOf(one);
        expect(one * 1_000).toBeGreaterThanOrEqual(bucketStartMs(bucket) * (1 - 1e-9));
        expect(one * 1_000).toBeLessThan(bucketEndMs(bucket) * (1 + 1e-9));
      }),
    );
  });

  test("is the first below a millisecond, and the last from 42 days on", () => {
    expect([bucketOf(0), bucketOf(0.000_999), bucketOf(0.001)]).toEqual([0, 0, 1]);
    expect(bucketOf(1e12)).toBe(lastBucket);
  });
});

describe("a quantile", () => {
  test("is within 4.5 % of the exact one, of one histogram and of the sum of two", () => {
    fc.assert(
      fc.property(
        fc.array(seconds, { minLength: 1, maxLength: 200 }),
        fc.array(seconds, { maxLength: 200 }),
        fc.constantFrom(0, 0.5, 0.95, 0.99, 1),
        (some, others, q) => {
          const all = [...some, ...others].sort((a, b) => a - b);
          const exact = (all[Math.max(1, Math.ceil(q * all.length)) - 1] ?? 0) * 1_000;
          const found = quantileMs(sumHistograms([histogram(some), histogram(others)]), q) ?? Number.NaN;
          expect(Math.abs(found - exact) / exact).toBeLessThan(0.045);
        },
      ),
    );
  });

  test("is null of nothing", () => expect(quantileMs(new Map(), 0.5)).toBeNull());
});
