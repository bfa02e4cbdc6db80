import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";
import { nearest } from "./suggest.ts";

/** What reading a value gave: the value, or what is wrong with it, to be read after its name. */
export type Reading<Value> =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "wrong"; readonly message: string };

/** A length of time written like `30s`, `4h`, `1h30m`, `250ms`, `7d`: in milliseconds. */
export function readDuration(text: string): Reading<number> {
  if (/^0+$/.test(text)) return value(0);
  if (!/^(\d{1,12}(\.\d{1,9})?(ms|s|m|h|d))+$/.test(text)) {
    return wrong(
      `is not a duration: ${quote(text)}; write a number and a unit (ms, s, m, h, d), like 30s or 1h30m`,
    );
  }
  let sum = 0;
  for (const [, digits, unit] of text.matchAll(/([\d.]+)(ms|s|m|h|d)/g)) {
    sum += Number(digits) * (unitMs.get(unit ?? "") ?? 0);
  }
  return sum > longestMs ? wrong(`is too long: ${quote(text)}`) : value(Math.round(sum));
}

/** A point in time: RFC 3339 with a zone, or `in 10m` from now; in milliseconds since 1970. */
export function readTime(text: string, nowMs: number): Reading<number> {
  const distance = /^in\s+(\S+)$/.exec(text);
  if (distance !== null) {
    const reading = readDuration(distance[1] ?? "");
    if (reading.kind === "wrong") return reading;
    const ms = nowMs + reading.value;
    return ms > latestMs ? wrong(`is too far away: ${quote(text)}`) : value(ms);
  }
  const ms = rfc3339.test(text) ? Date.parse(text.replace(" ", "T")) : Number.NaN;
  if (!Number.isNaN(ms)) return value(ms);
  return wrong(`is not a time: ${quote(text)}; write it like 2026-11-22T14:00:00Z, or "in 10m"`);
}

/** A priority: 0 to 255, or one of four words. */
export function readPriority(text: string): Reading<number> {
  const word = priorityWords.get(text.toLowerCase());
  if (word !== undefined) return value(word);
  if (/^\d{1,3}$/.test(text) && Number(text) <= 255) return value(Number(text));
  const near = nearest(text, priorityWords.keys());
  const meant = near === undefined ? "" : ` Did you mean ${near}?`;
  return wrong(`is not a priority: ${quote(text)}; write low, normal, high, critical, or 0 to 255.${meant}`);
}

/** What becomes of a job when one that it depends on dies, as the name of the protocol: one of two words. */
export function readPolicy(text: string): Reading<string> {
  const word = text.toLowerCase().replace(/^dependency_policy_/, "");
  if (policyWords.includes(word)) return value(`DEPENDENCY_POLICY_${word.toUpperCase()}`);
  const near = nearest(text, policyWords);
  const meant = near === undefined ? "" : ` Did you mean ${near}?`;
  return wrong(`is neither cancel nor release: ${quote(text)}.${meant}`);
}

/** A whole number within bounds. */
export function readWhole(text: string, min: number, max: number): Reading<number> {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= min && number <= max) return value(number);
  return wrong(`is not a whole number from ${min} to ${max}: ${quote(text)}`);
}

/** A number that is not negative, perhaps with a fraction. */
export function readAmount(text: string): Reading<number> {
  return /^\d{1,15}(\.\d{1,9})?$/.test(text) ? value(Number(text)) : wrong("must be a number.");
}

/** So many in a time. */
export interface Rate {
  readonly jobs: number;
  readonly periodMs: number;
}

/** A rate written like `10/1m` or `5/s`. */
export function readRate(text: string): Reading<Rate> {
  const [, count = "", time = ""] = /^(\d+)\/(.+)$/.exec(text) ?? [];
  const jobs = readWhole(count, 1, 1_000_000);
  const period = readDuration(/^\d/.test(time) ? time : `1${time}`);
  if (jobs.kind === "value" && period.kind === "value") {
    const isPeriod = period.value >= 1_000 && period.value <= 86_400_000;
    if (isPeriod) return value({ jobs: jobs.value, periodMs: period.value });
  }
  return wrong(
    `is not a rate: ${quote(text)}; write 1 to 1,000,000 jobs and a time from 1s to 24h, like 10/1m or 5/s`,
  );
}

/** A pair written `key=value`. */
export function readPair(text: string): Reading<readonly [key: string, value: string]> {
  const at = text.indexOf("=");
  if (at > 0) return value([text.slice(0, at), text.slice(at + 1)]);
  return wrong(`is not a label: ${quote(text)}; write it like team=web`);
}

/** The duration message of so many milliseconds. */
export function durationFromMs(ms: number): Pick<Duration, "seconds" | "nanos"> {
  return { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1_000_000 };
}

/** The timestamp message of so many milliseconds since 1970. */
export function timeFromMs(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return {
    $typeName: "google.protobuf.Timestamp",
    seconds: BigInt(seconds),
    nanos: Math.round(ms - seconds * 1000) * 1_000_000,
  };
}

/** The word of a priority where it has one: `high`, else the number. */
export function showPriority(priority: number | undefined): string {
  if (priority === undefined) return "normal";
  for (const [word, number] of priorityWords) if (number === priority) return word;
  return String(priority);
}

/** A value as a message quotes it, shortened. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text);
}

// Limits of google.protobuf.Duration and Timestamp.
const longestMs = 315_576_000_000_000;
const latestMs = Date.UTC(9999, 11, 31);

const unitMs: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

const priorityWords: ReadonlyMap<string, number> = new Map([
  ["low", 64],
  ["normal", 128],
  ["high", 192],
  ["critical", 240],
]);

const policyWords = ["cancel", "release"];

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;

function value<Value>(read: Value): Reading<Value> {
  return { kind: "value", value: read };
}

function wrong(message: string): { readonly kind: "wrong"; readonly message: string } {
  return { kind: "wrong", message };
}
