import { describe, expect, test } from "vitest";
import { measurement } from "./measurement-sample.ts";
import { reportChart, reportText } from "./report.ts";
import { type Findings, judge } from "./targets.ts";

const place = {
  date: "2026-11-23",
  machine: "2 × a processor, 24 GiB, linux 6.1",
  versions: "Node 24.21.0, Postgres 18.4",
  fleet: "1 coordinator and 100 workers of 40 slots",
};

const findings: Findings = {
  sustained: [
    measurement({
      jobsPerSecond: 30_000,
      more: { depth: 20_000 },
      wal: [
        { name: "job_queue", share: 0.6, imageShare: 0.1 },
        { name: "links", share: 0.001, imageShare: 0 },
      ],
    }),
    measurement({ key: "graphile", name: "graphile-worker", jobsPerSecond: 10_000 }),
    measurement({ key: "pg-boss-2000", name: "pg-boss 2,000 × 4", jobsPerSecond: 40_000 }),
  ],
  submit: [measurement({ workload: "submit", stopsTheClock: "the last call is acknowledged" })],
  alone: { links: { links: 10_000, lostLinks: 1, heartbeatP99Ms: 700 } },
};

describe("judge", () => {
  const byName = new Map(judge(findings).map((one) => [`${one.what} ${one.target}`, one]));

  test.each([
    ["sustained ≥ 1.5 × the best peer at up to 500 a batch", "3", true],
    ["sustained ≥ 1 × the best peer, pg-boss at 2,000 × 4 counted", "0.75", false],
    ["WAL a job, sustained ≤ 1,600 B", "1,500", true],
    ["burndown ≥ 1.5 × the best peer at up to 500 a batch", "not measured", null],
    ["bulk submit ≥ 0.5 × graphile-worker", "not measured", null],
    ["links on one coordinator ≥ 10,000", "9,999", false],
    ["heartbeat round p99 ≤ 500 ms", "700", false],
    ["memory of a link ≤ 60 KiB", "not measured", null],
  ])("%s: %s", (name, measured, isMet) => {
    expect(byName.get(name)).toMatchObject({ measured, isMet });
  });
});

describe("reportText", () => {
  const text = reportText(place, findings, "benchmarks.svg");

  test("says where and when, and links the chart", () => {
    expect(text).toContain("on 2026-11-23: 2 × a processor, 24 GiB, linux 6.1. Node 24.21.0, Postgres 18.4.");
    expect(text).toContain("](benchmarks.svg)");
  });

  test("has a row a system, with what only the workload has", () => {
    expect(text).toContain("| **Muster** | 30,000 | – | – | 1,500 | 0.02 | 50 | 300 | 1,000 | 20,000 |");
    expect(text).toContain("| graphile-worker | 10,000 | – | – | 1,500 | 0.02 | 50 | 300 | 1,000 | – |");
  });

  test("says which targets are met, missed and not measured", () => {
    expect(text).toContain("| sustained | ≥ 1.5 × the best peer at up to 500 a batch | 3 | met |");
    expect(text).toContain("| 0.75 | **missed** |");
    expect(text).toContain("| not measured | – |");
  });

  test("itemises the WAL, and leaves out what is next to nothing", () => {
    expect(text).toContain("| job_queue | 900 | 150 |");
    expect(text).not.toContain("| links | 2 |");
  });

  test("leaves out a workload that was not measured, and shows what Muster alone was measured in", () => {
    expect(text).not.toContain("## Burndown");
    expect(text).toContain("| heartbeat p99 ms | 700 |");
  });

  test("says what stops each clock, not that of the submits", () => {
    expect(text).toContain("| Muster | the database has nothing left | fsync | all |");
  });
});

describe("reportChart", () => {
  const chart = reportChart({
    sustained: [
      measurement({ name: 'a <b> & "c"', jobsPerSecond: 200 }),
      measurement({ key: "graphile", name: "graphile-worker", jobsPerSecond: 100 }),
    ],
    alone: {},
  });

  test("draws bars to scale, and marks ours", () => {
    const bars = [...chart.matchAll(/<rect [^>]*width="(\d+)"[^>]*class="(\w+)"/g)].map(([, width, name]) => [
      Number(width),
      name,
    ]);
    expect(bars).toEqual([
      [440, "ours"],
      [220, "peer"],
    ]);
  });

  test("escapes names", () => expect(chart).toContain("a &lt;b> &amp; &quot;c&quot;"));
});
