import { describe, expect, test } from "vitest";
import { readPastTime } from "../../../tui/input/past-time.ts";

const now = new Date(2026, 10, 22, 14, 30).getTime();
const read = (text: string) => {
  const reading = readPastTime(text, now);
  return reading.kind === "value" ? new Date(reading.value) : reading.message;
};

describe("a point in the past", () => {
  test("is so long ago, a time of day, a day, or RFC 3339", () => {
    expect(read("2h")).toEqual(new Date(now - 7_200_000));
    expect(read("14:02")).toEqual(new Date(2026, 10, 22, 14, 2));
    expect(read("14:31")).toEqual(new Date(2026, 10, 21, 14, 31));
    expect(read("9:05:07")).toEqual(new Date(2026, 10, 22, 9, 5, 7));
    expect(read("2026-11-20")).toEqual(new Date(2026, 10, 20));
    expect(read("2026-11-20T10:00:00Z")).toEqual(new Date(Date.UTC(2026, 10, 20, 10)));
    expect(read("30000d")).toEqual(new Date(0));
  });

  test("that is none is told how it is written", () => {
    for (const text of ["", "soon", "24:00", "12:60", "2026-13-01", "2026-02-30", "-1h"]) {
      expect(read(text)).toContain("write it like 2h");
    }
  });
});
