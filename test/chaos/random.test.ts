import { expect, test } from "vitest";
import { seededRandom } from "./random.ts";

const drawn = (seed: number | string, count = 1000): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => random.next());
};

test("a seed gives the same numbers again, and another seed others", () => {
  expect(drawn(7)).toEqual(drawn("7"));
  expect(drawn(7, 5)).not.toEqual(drawn(8, 5));
});

test("numbers lie evenly from 0 up to 1", () => {
  const numbers = drawn("even", 10_000);
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...numbers)).toBeLessThan(1);
  for (let tenth = 0; tenth < 10; tenth++) {
    const count = numbers.filter((number) => Math.floor(number * 10) === tenth).length;
    expect(count).toBeGreaterThan(900);
    expect(count).toBeLessThan(1100);
  }
});

test("a fork depends on the seed and its name, not on what was drawn before", () => {
  const one = seededRandom(1);
  const other = seededRandom(1);
  other.next();
  expect(one.fork("a").next()).toBe(other.fork("a").next());
  expect(one.fork("a").next()).not.toBe(one.fork("b").next());
});

test("whole numbers include both ends, and chances are kept", () => {
  const random = seededRandom("whole");
  expect(new Set(Array.from({ length: 200 }, () => random.int(-1, 2)))).toEqual(new Set([-1, 0, 1, 2]));
  expect(Array.from({ length: 50 }, () => random.chance(0))).not.toContain(true);
  expect(Array.from({ length: 50 }, () => random.chance(1))).not.toContain(false);
  expect(["a", "b"]).toContain(random.pick(["a", "b"]));
  expect(() => random.pick([])).toThrow("nothing to pick");
});
