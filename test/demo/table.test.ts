import { expect, test } from "vitest";
import { jsonLine, type Report, tableLines } from "./table.ts";

const tally = { jobs: 12, succeeded: 10, retried: 2, dead: 1, cancelled: 1, reassigned: 3, verified: 10 };
const report: Report = {
  verdict: { tally, startedAfterHigh: 0.985, problems: [] },
  source: "git",
  kill: { workerName: "worker-2", pid: 4711, heldJobs: 3 },
  cancelledProcesses: 2,
  peakBytes: 200 * 1024 * 1024,
  workSeconds: 4,
};

test("ends with one line of JSON whose fields have a fixed order", () => {
  expect(jsonLine(tally, 12.3456)).toBe(
    '{"jobs":12,"succeeded":10,"retried":2,"dead":1,"cancelled":1,"reassigned":3,"verified":10,"seconds":12.3}',
  );
});

test("says what was counted, in columns", () => {
  const lines = tableLines(report, 9.87);
  expect(lines[0]).toBe("  jobs                 12  one for each of the 10 tracked files, and two more");
  expect(lines).toContain("  succeeded            10  in 4.0 s, 3 a second");
  expect(lines).toContain("  high priority      98 %  of the others started with or after the last of them");
  expect(lines).toContain("  killed         worker-2  process 4711, kill -9 while it ran 3 jobs");
  expect(lines.at(-1)).toBe("  whole run         9.9 s  from start to nothing left behind");
});

test.each([
  [250 * 1024 * 1024, "within its 250 MiB"],
  [251 * 1024 * 1024, "above its 250 MiB"],
  [null, "this system does not say"],
])("judges a peak of %j bytes", (peakBytes, words) => {
  expect(tableLines({ ...report, peakBytes }, 1).find((line) => line.includes("peak memory"))).toContain(
    words,
  );
});
