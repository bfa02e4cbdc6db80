import { describe, expect, test } from "vitest";
import { readFlags } from "./flags.ts";
import { costOf } from "./meter.ts";
import { benchPayload } from "./seen.ts";
import { systemsOf } from "./side-by-side.ts";
import { fallenOf } from "./smoke.ts";
import { itemsOf } from "./wal.ts";

describe("fallenOf", () => {
  const recorded = { throughputRatio: 0.4, latencyRatio: 0.2 };

  test("lets a ratio fall to half of what is recorded", () => {
    expect(fallenOf({ throughputRatio: 0.2, latencyRatio: 0.1 }, recorded)).toEqual([]);
  });

  test.each([
    ["throughputRatio", { throughputRatio: 0.19, latencyRatio: 0.2 }],
    ["latencyRatio", { throughputRatio: 0.4, latencyRatio: Number.NaN }],
  ])("names %s when it is below, or no number", (name, ratios) => {
    expect(fallenOf(ratios, recorded)).toEqual([expect.stringContaining(name)]);
  });
});

describe("costOf", () => {
  const reading = { cpuMicros: 0, walBytes: 0, commits: 0, lsn: "0/0" };

  test("divides what was used by the jobs", () => {
    const after = { cpuMicros: 5_000, walBytes: 150_000, commits: 5, lsn: "0/1" };
    expect(costOf(reading, after, 100)).toEqual({
      walBytesPerJob: 1_500,
      commitsPerJob: 0.05,
      cpuMicrosPerJob: 50,
    });
  });

  test("has no commits where there are none", () => {
    expect(costOf(reading, { ...reading, commits: null }, 1).commitsPerJob).toBeNull();
  });
});

test("itemsOf adds up what has one name, largest first", () => {
  expect(
    itemsOf([
      ["jobs", 20, 0],
      ["attempts", 50, 10],
      ["jobs", 30, 5],
    ]),
  ).toEqual([
    { name: "jobs", share: 0.5, imageShare: 0.05 },
    { name: "attempts", share: 0.5, imageShare: 0.1 },
  ]);
});

test("a payload has 100 bytes as JSON, whatever the time", () => {
  for (let n = 0; n < 50; n++) expect(JSON.stringify(benchPayload())).toHaveLength(100);
});

describe("readFlags", () => {
  const flags = readFlags(["burndown", "--jobs", "2000", "--json", "--depth", "many"]);

  test("reads what is asked for", () => {
    expect(flags.what).toBe("burndown");
    expect(flags.number("--jobs", 1)).toBe(2_000);
    expect(flags.number("--seconds", 60)).toBe(60);
    expect(flags.has("--json")).toBe(true);
    expect(readFlags(["--json"]).what).toBeUndefined();
  });

  test("refuses what is no number", () => {
    expect(() => flags.number("--depth", 1)).toThrow("--depth is not a number: many");
  });
});

describe("systemsOf", () => {
  test("keeps our order", () => {
    expect(systemsOf(["bullmq", "muster"]).map(({ key }) => key)).toEqual(["muster", "bullmq"]);
  });

  test("names a system that there is not, and those that there are", () => {
    expect(() => systemsOf(["oban"])).toThrow(/there is no oban; there are muster, graphile/);
  });
});
