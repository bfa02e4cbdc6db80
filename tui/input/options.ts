import { InvalidArgumentError } from "commander";
import {
  type Rate,
  type Reading,
  readDuration,
  readPair,
  readPriority,
  readRate,
  readTime,
  readWhole,
} from "./values.ts";

/** Parses the value of an option that takes a duration, in milliseconds. */
export function durationOption(text: string): number {
  return orThrow(readDuration(text));
}

/** Parses the value of an option that takes a point in time, in milliseconds since 1970. */
export function timeOption(nowMs: () => number): (text: string) => number {
  return (text) => orThrow(readTime(text, nowMs()));
}

/** Parses the value of an option that takes a priority. */
export function priorityOption(text: string): number {
  return orThrow(readPriority(text));
}

/** Parses the value of an option that takes a whole number. */
export function wholeOption(min: number, max: number): (text: string) => number {
  return (text) => orThrow(readWhole(text, min, max));
}

/** Parses the value of an option that takes a whole number, or `none`. */
export function wholeOrNoneOption(min: number, max: number): (text: string) => number | "none" {
  return (text) => (text === "none" ? "none" : orThrow(readWhole(text, min, max)));
}

/** Parses the value of an option that takes a duration, in milliseconds, or `none`. */
export function durationOrNoneOption(text: string): number | "none" {
  return text === "none" ? "none" : orThrow(readDuration(text));
}

/** Parses the value of an option that takes a number, or `none`. */
export function numberOrNoneOption(min: number, max: number): (text: string) => number | "none" {
  return (text) => {
    const number = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (text === "none" || (number >= min && number <= max)) return text === "none" ? "none" : number;
    throw new InvalidArgumentError(`It must be a number from ${min} to ${max}, or none.`);
  };
}

/** Parses the value of an option that takes a rate like `10/1m`, or `none`. */
export function rateOption(text: string): Rate | "none" {
  return text === "none" ? "none" : orThrow(readRate(text));
}

/** Collects the values of an option that may be repeated; commas separate too. */
export function listOption(text: string, before: readonly string[] = []): string[] {
  const parts = text.split(",").map((part) => part.trim());
  return [...before, ...parts.filter((part) => part !== "")];
}

/** Collects `key=value` pairs of an option that may be repeated. */
export function pairOption(
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> {
  const [key, value] = orThrow(readPair(text));
  return { ...before, [key]: value };
}

/** The value that was read; commander tells the user what is wrong with another. */
export function orThrow<Value>(reading: Reading<Value>): Value {
  if (reading.kind === "wrong") throw new InvalidArgumentError(`It ${reading.message}`);
  return reading.value;
}
