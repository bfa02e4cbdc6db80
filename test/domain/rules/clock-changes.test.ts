import { expect, test } from "vitest";
import { clockChanges, effectOf } from "../../../server/domain/rules/clock-changes.ts";

const [spring, autumn] = clockChanges("America/New_York", Date.UTC(2027, 0, 1), Date.UTC(2028, 0, 1));

test.each([
  ["30 2 * * *", "02:30 does not exist on this day: it fires at 03:00 instead, once"],
  ["*/30 2 * * *", "02:00 and 02:30 do not exist on this day: it fires at 03:00 instead, once"],
  ["*/20 2 * * *", "02:00, 02:20 and 02:40 do not exist on this day: it fires at 03:00 instead, once"],
  ["*/5 0-2 * * *", "02:00, 02:05 … 02:55 do not exist on this day: it fires at 03:00 instead, once"],
  ["30 3 * * *", "02:00–03:00 does not exist on this day: it is not affected"],
])("%s in a gap: all times that are not there", (cron, note) => {
  if (spring === undefined) throw new Error("no change");
  expect(effectOf(cron, spring).note).toBe(note);
});

test.each([
  ["30 1 * * *", "01:30 happens twice on this day: it fires the first time only"],
  ["*/20 1 * * *", "01:00, 01:20 and 01:40 happen twice on this day: it fires the first time only"],
  ["* * 1 * * *", "01:00, 01:00:01 … 01:59:59 happen twice on this day: it fires the first time only"],
])("%s where the clock repeats: all times that are there twice", (cron, note) => {
  if (autumn === undefined) throw new Error("no change");
  expect(effectOf(cron, autumn).note).toBe(note);
});
