import { describe, expect, test } from "vitest";
import { didYouMean, nearest } from "../../../tui/input/suggest.ts";
import {
  durationFromMs,
  readDuration,
  readPair,
  readPriority,
  readRate,
  readTime,
  readWhole,
  showPriority,
} from "../../../tui/input/values.ts";

const nowMs = Date.UTC(2026, 10, 22, 14, 0, 0);

describe("readDuration", () => {
  test.each([
    ["30s", 30_000],
    ["4h", 14_400_000],
    ["1h30m", 5_400_000],
    ["250ms", 250],
    ["1.5s", 1_500],
    ["7d", 604_800_000],
    ["0", 0],
  ])("reads %s", (text, ms) => {
    expect(readDuration(text)).toEqual({ kind: "value", value: ms });
  });

  test.each(["", "30", "s", "-5s", "1 h", "5 minutes", "1h30", "99999999999d"])("refuses %j", (text) => {
    expect(readDuration(text)).toMatchObject({ kind: "wrong" });
  });

  test("splits into seconds and nanoseconds", () => {
    expect(durationFromMs(1_250)).toEqual({ seconds: 1n, nanos: 250_000_000 });
  });
});

describe("readTime", () => {
  test.each([
    ["2026-11-22T15:00:00Z", nowMs + 3_600_000],
    ["2026-11-22T15:00:00+01:00", nowMs],
    ["2026-11-22 14:00:00.5Z", nowMs + 500],
    ["in 10m", nowMs + 600_000],
  ])("reads %s", (text, ms) => {
    expect(readTime(text, nowMs)).toEqual({ kind: "value", value: ms });
  });

  test.each([
    "tomorrow",
    "2026-11-22",
    "2026-11-22T15:00:00",
    "in ten minutes",
    "2026-13-01T00:00:00Z",
    "in 3000000d",
  ])("refuses %j, a time without a zone among them", (text) => {
    expect(readTime(text, nowMs)).toMatchObject({ kind: "wrong" });
  });
});

describe("other values", () => {
  test("reads priorities by word and by number", () => {
    expect(readPriority("high")).toEqual({ kind: "value", value: 192 });
    expect(readPriority("0")).toEqual({ kind: "value", value: 0 });
    expect(readPriority("256")).toMatchObject({ kind: "wrong" });
    expect(readPriority("hihg")).toMatchObject({ message: expect.stringContaining("Did you mean high?") });
    expect([showPriority(240), showPriority(7), showPriority(undefined)]).toEqual([
      "critical",
      "7",
      "normal",
    ]);
  });

  test("reads labels and whole numbers", () => {
    expect(readPair("team=web=1")).toEqual({ kind: "value", value: ["team", "web=1"] });
    expect(readPair("=x")).toMatchObject({ kind: "wrong" });
    expect(readWhole("12", 1, 12)).toEqual({ kind: "value", value: 12 });
    expect(readWhole("13", 1, 12)).toMatchObject({ kind: "wrong" });
    expect(readWhole("1e1", 1, 12)).toMatchObject({ kind: "wrong" });
  });

  test("reads rates by a number and a time", () => {
    expect(readRate("10/1m")).toEqual({ kind: "value", value: { jobs: 10, periodMs: 60_000 } });
    expect(readRate("5/s")).toEqual({ kind: "value", value: { jobs: 5, periodMs: 1_000 } });
    expect(readRate("1/1h30m")).toEqual({ kind: "value", value: { jobs: 1, periodMs: 5_400_000 } });
    for (const text of [
      "",
      "10",
      "10/",
      "/1m",
      "0/1m",
      "-1/1m",
      "10/1",
      "10/500ms",
      "10/25h",
      "1000001/s",
      "1.5/s",
    ]) {
      expect(readRate(text), text).toMatchObject({
        kind: "wrong",
        message: expect.stringContaining("like 10/1m"),
      });
    }
  });

  test("suggests only what is near", () => {
    expect(nearest("requiredSkill", ["requiredSkills", "kind"])).toBe("requiredSkills");
    expect(didYouMean("lsit", ["list", "get"])).toBe("Did you mean list?");
    expect(nearest("xyz", ["list", "get"])).toBeUndefined();
  });
});
