import { expect, test } from "vitest";
import { paceOf } from "../../../../tui/top/screens/dlq-retry.ts";

test.each([
  [
    { jobs: 10, periodMs: 60_000 },
    { chunk: 1, everyMs: 6_000 },
  ],
  [
    { jobs: 10, periodMs: 1_000 },
    { chunk: 10, everyMs: 1_000 },
  ],
  [
    { jobs: 90, periodMs: 60_000 },
    { chunk: 1, everyMs: 60_000 / 90 },
  ],
  [
    { jobs: 1_000_000, periodMs: 1_000 },
    { chunk: 1_000, everyMs: 1 },
  ],
])("paces %j", (rate, pace) => {
  expect(paceOf(rate)).toEqual(pace);
});
