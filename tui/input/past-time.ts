import { InvalidArgumentError } from "commander";
import { quote, type Reading, readDuration, readTime } from "./values.ts";

/**
 * A point in the past: so long ago (`2h`), a time of day by this machine's clock (`14:02`, the latest that was), a day
 * (`2026-11-22`), or RFC 3339 with a zone; in milliseconds since 1970.
 */
export function readPastTime(text: string, nowMs: number): Reading<number> {
  const ago = readDuration(text);
  if (ago.kind === "value") return { kind: "value", value: Math.max(0, nowMs - ago.value) };
  const [, hours = "", minutes = "", seconds = "0"] = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text) ?? [];
  if (hours !== "" && Number(hours) < 24 && Number(minutes) < 60 && Number(seconds) < 60) {
    const time = new Date(nowMs);
    time.setHours(Number(hours), Number(minutes), Number(seconds), 0);
    if (time.getTime() > nowMs) time.setDate(time.getDate() - 1);
    return { kind: "value", value: time.getTime() };
  }
  const [, year, month, day] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text) ?? [];
  const midnight = new Date(Number(year), Number(month) - 1, Number(day));
  if (midnight.getMonth() === Number(month) - 1) return { kind: "value", value: midnight.getTime() };
  const time = readTime(text, nowMs);
  if (time.kind === "value") return time;
  const forms = "2h, 14:02, 2026-11-22 or 2026-11-22T14:02:00Z";
  return { kind: "wrong", message: `is not a time: ${quote(text)}; write it like ${forms}` };
}

/** Parses the value of an option that takes a point in the past. */
export function pastTimeOption(nowMs: () => number): (text: string) => number {
  return (text) => {
    const reading = readPastTime(text, nowMs());
    if (reading.kind === "wrong") throw new InvalidArgumentError(`It ${reading.message}`);
    return reading.value;
  };
}
