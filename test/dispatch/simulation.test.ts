import { expect, test } from "vitest";
import { seededRandom } from "../chaos/random.ts";
import { simulate } from "./simulation.ts";

test.each([1, 2, 3])("the matcher uses a mixed fleet as a greedy oracle does (seed %i)", (seed) => {
  const scenario = { workers: 60, jobs: 6_000, shapes: 50, claimMs: 10 };
  const { ratio, oracle } = simulate(scenario, () => seededRandom(seed));
  // A fleet that is not busy shows nothing.
  expect(oracle.slotsUsed).toBeGreaterThan(0.4);
  expect(ratio).toBeGreaterThanOrEqual(0.95);
});
