import { describe, expect, test } from "vitest";
import { compare, compareTimes } from "./comparison.ts";
import { measurement } from "./measurement-sample.ts";

const rates = [
  measurement({ key: "muster", name: "Muster", jobsPerSecond: 30_000 }),
  measurement({ key: "graphile", name: "graphile-worker", jobsPerSecond: 10_000 }),
  measurement({ key: "graphile-default", name: "graphile-worker, defaults", jobsPerSecond: 3_000 }),
  measurement({ key: "pg-boss-500", name: "pg-boss 500 × 4", jobsPerSecond: 15_000 }),
  measurement({ key: "pg-boss-2000", name: "pg-boss 2,000 × 4", jobsPerSecond: 20_000 }),
];

describe("compare", () => {
  test("counts pg-boss at 2,000 a batch among the best, and not among those of up to 500", () => {
    expect(compare(rates)).toMatchObject({
      jobsPerSecond: 30_000,
      ratioToBestPeer: 1.5,
      ratioToBestPeer500: 2,
      ratioToGraphile: 3,
      peers: { "graphile-worker": 10_000, "pg-boss 2,000 × 4": 20_000 },
    });
  });

  test("has no ratio to a peer that was not measured", () => {
    expect(compare(rates.slice(0, 1))).toMatchObject({
      peers: {},
      ratioToBestPeer: null,
      ratioToGraphile: null,
    });
  });

  test("is nothing without Muster", () => expect(compare(rates.slice(1))).toBeUndefined());
});

describe("compareTimes", () => {
  const times = [
    measurement({ key: "muster", name: "Muster", p50Ms: 1, p99Ms: 2 }),
    measurement({ key: "graphile", name: "graphile-worker", p50Ms: 4, p99Ms: 8 }),
    measurement({ key: "graphile-default", name: "graphile-worker, defaults", p50Ms: 2, p99Ms: 10 }),
    measurement({ key: "bullmq", name: "BullMQ, removed", store: "redis", p50Ms: 0.5, p99Ms: 1 }),
  ];

  test("takes the better of graphile-worker's settings, and for p99 the best peer on Postgres", () => {
    expect(compareTimes(times)).toMatchObject({
      p50RatioToGraphile: 0.5,
      p99RatioToBestPostgresPeer: 0.25,
      p99RatioToOwnP50: 2,
      peersP50Ms: { "BullMQ, removed": 0.5 },
    });
  });

  test("has no ratio without times", () => {
    const none = [measurement({ key: "muster" }), measurement({ key: "graphile" })];
    expect(compareTimes(none)).toMatchObject({ p50RatioToGraphile: null, p99RatioToOwnP50: null });
  });
});
