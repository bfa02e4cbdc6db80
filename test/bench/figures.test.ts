import { describe, expect, test } from "vitest";
import { median, quantile, round, slope } from "./figures.ts";
import { Histogram } from "./histogram.ts";

const hundred = Array.from({ length: 100 }, (_, n) => 100 - n);

describe("quantile", () => {
  test.each([
    [0, 1],
    [0.5, 51],
    [0.99, 100],
    [1, 100],
  ])("at %d of 1 to 100 is %d", (q, expected) => expect(quantile(hundred, q)).toBe(expected));

  test("of nothing is no number", () => expect(quantile([], 0.5)).toBeNaN());

  test("leaves what it is given in its order", () => {
    const values = [3, 1, 2];
    expect(median(values)).toBe(2);
    expect(values).toEqual([3, 1, 2]);
  });
});

describe("slope", () => {
  test("is that of the line through the points", () => {
    expect(
      round(
        slope([
          [0, 1],
          [1, 3],
          [2, 5],
        ]),
        6,
      ),
    ).toBe(2);
  });

  test("of one point is no number", () => expect(slope([[1, 1]])).toBeNaN());
});

describe("Histogram", () => {
  test("knows quantiles within one percent", () => {
    const histogram = new Histogram();
    for (let ms = 1; ms <= 1_000; ms++) histogram.add(ms);
    for (const q of [0.1, 0.5, 0.99]) {
      const exact = quantile(
        Array.from({ length: 1_000 }, (_, n) => n + 1),
        q,
      );
      expect(Math.abs(histogram.quantile(q) / exact - 1)).toBeLessThan(0.01);
    }
  });

  test("merges what another process has counted", () => {
    const [one, other] = [new Histogram(), new Histogram()];
    one.add(1, 99);
    other.add(1_000);
    one.merge(JSON.parse(JSON.stringify(other.entries())));
    expect(one.total).toBe(100);
    expect(one.quantile(0.5)).toBeCloseTo(1, 1);
    expect(one.quantile(0.99)).toBeGreaterThan(900);
  });

  test("has no quantile of nothing, and none after it is cleared", () => {
    const histogram = new Histogram();
    histogram.add(0);
    expect(histogram.quantile(0.5)).toBeCloseTo(0.001, 4);
    histogram.clear();
    expect(histogram.quantile(0.5)).toBeNaN();
  });
});
