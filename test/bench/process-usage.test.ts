import { describe, expect, test } from "vitest";
import { cpuMicrosOf, memoryOf, parseStat, parseStatusBytes, treeCpuMicrosOf } from "./process-usage.ts";

describe("parseStat", () => {
  test("reads times in ticks of a hundredth, of the process and of the children it has outlived", () => {
    const stat = "42 (postgres: a (b) c) S 7 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 99";
    expect(parseStat(stat)).toEqual({ parent: 7, cpuMicros: 2_000_000, reapedMicros: 500_000 });
  });
});

describe("parseStatusBytes", () => {
  const status = "Name:\tnode\nVmPeak:\t 9000 kB\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";

  test("reads the sizes in bytes", () => {
    expect(parseStatusBytes(status, "VmHWM")).toBe(2_097_152);
    expect(parseStatusBytes(status, "VmRSS")).toBe(1_048_576);
  });

  test("is 0 for what is not there", () => expect(parseStatusBytes("", "VmRSS")).toBe(0));
});

describe("on this machine", () => {
  test("sees this process", () => {
    expect(memoryOf(process.pid).peakRssBytes).toBeGreaterThan(1_000_000);
    const own = cpuMicrosOf(process.pid);
    expect(own).toBeGreaterThan(0);
    expect(treeCpuMicrosOf(process.pid)).toBeGreaterThanOrEqual(own);
  });

  test("is 0 for a process that is gone", () => {
    expect(cpuMicrosOf(2 ** 30)).toBe(0);
    expect(treeCpuMicrosOf(2 ** 30)).toBe(0);
    expect(memoryOf(2 ** 30)).toEqual({ rssBytes: 0, peakRssBytes: 0 });
  });
});
