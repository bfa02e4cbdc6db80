import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { timestampMs } from "@bufbuild/protobuf/wkt";

/** Milliseconds of a duration. */
export function durationToMs(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** A length of time in its two largest units: `850ms`, `12s`, `4m05s`, `3h12m`, `2d4h`. */
export function showDuration(ms: number): string {
  if (ms <= 0) return "0s";
  if (ms < 1000) return `${Math.round(ms)}ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10 && ms % 1000 >= 100) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${String(seconds % 60).padStart(2, "0")}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h${String(minutes % 60).padStart(2, "0")}m`;
  return `${Math.floor(hours / 24)}d${hours % 24}h`;
}

/** How points in time are shown: how long ago, in RFC 3339, or in seconds since 1970. */
export type TimeStyle = "relative" | "iso" | "raw";

/** Every style, for help and checks. */
export const timeStyles: readonly TimeStyle[] = ["relative", "iso", "raw"];

/** How long ago a time was: `12s`; `-` for none, `0s` for one to come. In the other styles the time itself. */
export function showAge(
  time: Timestamp | undefined,
  nowMs: number,
  style: TimeStyle | undefined = "relative",
): string {
  if (time === undefined) return "-";
  if (style !== "relative") return showPoint(time, style);
  return showDuration(Math.max(0, Math.floor((nowMs - timestampMs(time)) / 1000) * 1000));
}

/** A time in RFC 3339, UTC; empty for none. */
export function showTime(time: Timestamp | undefined): string {
  return time === undefined ? "" : isoTime(timestampMs(time));
}

/** A time with how long ago, or until, it is: `2026-11-22T13:20:00.000Z (4m05s ago)`; empty for none. */
export function showTimeAndAge(
  time: Timestamp | undefined,
  nowMs: number,
  style: TimeStyle | undefined = "relative",
): string {
  if (time === undefined) return "";
  if (style !== "relative") return showPoint(time, style);
  const ms = timestampMs(time);
  const distance = showDuration(Math.abs(Math.round((nowMs - ms) / 1000) * 1000));
  return `${isoTime(ms)} (${ms <= nowMs ? `${distance} ago` : `in ${distance}`})`;
}

function showPoint(time: Timestamp, style: "iso" | "raw"): string {
  return style === "iso" ? isoTime(timestampMs(time)) : (timestampMs(time) / 1000).toFixed(3);
}

/** The time of day by the clock of this machine, `13:20:00`; of a time of the server, or of now. */
export function showClock(ms: number): string {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "--:--:--";
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((part) => String(part).padStart(2, "0"))
    .join(":");
}

/** A whole number with separators: `3,204`. */
export function showCount(count: number | bigint): string {
  return count.toLocaleString("en-US");
}

/** A count with its noun: `1 job`, `3,204 jobs`. */
export function showCounted(count: number | bigint, noun: string, plural = `${noun}s`): string {
  return `${showCount(count)} ${Number(count) === 1 ? noun : plural}`;
}

// Out-of-range times can come from a wrong server; they must not end the program.
function isoTime(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "(not a time)" : date.toISOString();
}
