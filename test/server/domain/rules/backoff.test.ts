import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Backoff, backoffDelayMs } from "../../../../server/domain/rules/backoff.ts";

const standard: Backoff = { initialMs: 5_000, factor: 2, maxMs: 600_000 };
const middle = 0.5;

describe("the wait after a failure", () => {
  test.each([
    [1, 5_000],
    [2, 10_000],
    [3, 20_000],
    [7, 320_000],
    [8, 600_000],
    [9, 600_000],
    [5_000, 600_000],
  ])("number %d is %d ms in the middle of its spread", (failures, ms) => {
    expect(backoffDelayMs(failures, standard, middle)).toBe(ms);
  });

  test.each([
    ["lowest", 0, 4_000],
    ["highest", 1 - Number.EPSILON, 6_000],
  ])("spreads by 20 %% to its %s", (_, random, ms) => {
    expect(backoffDelayMs(1, standard, random)).toBe(ms);
  });

  test.each<[string, Backoff, number, number]>([
    ["stays the same with factor 1", { ...standard, factor: 1 }, 50, 5_000],
    ["is nothing when it starts at nothing", { ...standard, initialMs: 0 }, 5_000, 0],
    ["is the maximum when it would start above it", { ...standard, maxMs: 1_000 }, 1, 1_000],
    ["counts no failure as the first", standard, 0, 5_000],
    ["takes fractional factors", { ...standard, factor: 1.5 }, 3, 11_250],
  ])("%s", (_, backoff, failures, ms) => {
    expect(backoffDelayMs(failures, backoff, middle)).toBe(ms);
  });

  test("is always a whole number within 20 %% of a value that grows to the maximum", () => {
    const backoff = fc.record({
      initialMs: fc.nat(86_400_000),
      factor: fc.double({ min: 1, max: 100, noNaN: true }),
      maxMs: fc.nat(7 * 86_400_000),
    });
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1_000_000 }), backoff, random, (failures, given, chance) => {
        const ms = backoffDelayMs(failures, given, chance);
        const center = backoffDelayMs(failures, given, middle);
        expect(Number.isSafeInteger(ms)).toBe(true);
        expect(center).toBeLessThanOrEqual(given.maxMs);
        expect(center).toBeGreaterThanOrEqual(Math.min(given.initialMs, given.maxMs));
        expect(Math.abs(ms - center)).toBeLessThanOrEqual(center * 0.2 + 1);
        expect(backoffDelayMs(failures + 1, given, middle)).toBeGreaterThanOrEqual(center);
      }),
    );
  });
});
