import {
  type Duration,
  durationMs,
  type Timestamp,
  timestampDate,
  timestampFromDate,
} from "@bufbuild/protobuf/wkt";
import type { LeaseRef } from "@muster/client/v1/job_service";
import { DomainError, dependencyCycle, invalidArgument, tooLarge, type Violation } from "../domain/errors.ts";
import { decodeId, encodeId, type IdNoun } from "../domain/ids.ts";
import type { PageRequest } from "../domain/pages.ts";
import { keyViolations } from "../domain/rules/job-spec.ts";
import { textViolations } from "../domain/rules/texts.ts";
import type { Lease } from "../domain/submit.ts";

/** How many wrong fields of a request are collected: a batch may have a hundred thousand. */
const violationsMax = 1_000;

/** What is wrong with a request, collected while its fields are read, to be told all at once. */
export type Problems = Violation[];

/** Whether so much is wrong already that the rest need not be looked at. */
export function isHopeless(problems: Problems): boolean {
  return problems.length >= violationsMax;
}

/** Throws if anything is wrong: PAYLOAD_TOO_LARGE or DEPENDENCY_CYCLE if that is all, else VALIDATION_FAILED. */
export function refuseProblems(problems: Problems): void {
  const [first] = problems;
  if (first === undefined) return;
  const size = /^has (\d+) bytes, allowed are (\d+)$/.exec(first.message);
  if (size !== null && problems.every((one) => one.reason === "PAYLOAD_TOO_LARGE")) {
    throw tooLarge("PAYLOAD_TOO_LARGE", first.field, Number(size[1]), Number(size[2]));
  }
  if (problems.every((one) => one.reason === "DEPENDENCY_CYCLE")) throw dependencyCycle(first);
  throw invalidArgument(problems);
}

/** A field that must be there; the message is told apart from an empty one by its presence. */
export function required<T>(problems: Problems, field: string, value: T | undefined): value is T {
  if (value !== undefined) return true;
  problems.push({ field, message: "is required" });
  return false;
}

/** The uuid of an id on the wire; null, and a problem, when it is missing or not one of this noun. */
export function readId(problems: Problems, noun: IdNoun, text: string, field: string): string | null {
  if (text === "") {
    problems.push({ field, message: "is required" });
    return null;
  }
  try {
    return decodeId(noun, text, field);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    problems.push(...error.violations);
    return null;
  }
}

/** The same for a field that may be left empty. */
export function readOptionalId(problems: Problems, noun: IdNoun, text: string, field: string): string | null {
  return text === "" ? null : readId(problems, noun, text, field);
}

/** The job that a request names, when nothing else in the request can be wrong. */
export function readJobId(request: { readonly jobId: string }): string {
  const problems: Problems = [];
  const jobId = readId(problems, "job", request.jobId, "jobId");
  refuseProblems(problems);
  return jobId ?? "";
}

/** A uuid as it is on the wire; empty for null. */
export function writeId(noun: IdNoun, uuid: string | null): string {
  return uuid === null ? "" : encodeId(noun, uuid);
}

/** Text that may be left empty, which is null. */
export function orNull(text: string): string | null {
  return text === "" ? null : text;
}

/** The reason that people give for what they do: up to 500 characters in lines. */
export function readReason(problems: Problems, reason: string): string {
  problems.push(...textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }));
  return reason;
}

/** The id under which a change may be repeated; empty for none. */
export function readRequestId(problems: Problems, requestId: string): string {
  problems.push(...textViolations("requestId", requestId, { min: 0, max: 200 }));
  return requestId;
}

/** A key under which a submission may be repeated; null when it is empty. */
export function readIdempotencyKey(problems: Problems, key: string): string | null {
  if (key === "") return null;
  problems.push(...keyViolations("idempotencyKey", key));
  return key;
}

/** The page that a request of a list asks for; the list itself judges it. */
export function pageOf({ pageSize, pageToken }: PageRequest): PageRequest {
  return { pageSize, pageToken };
}

/** A duration in milliseconds, rounded; null when absent, and with a problem when it is not one. */
export function readDuration(
  problems: Problems,
  field: string,
  duration: Duration | undefined,
): number | null {
  if (duration === undefined) return null;
  if (isDuration(duration)) return Math.round(durationMs(duration));
  problems.push({ field, message: "is not a valid duration" });
  return null;
}

/** Whether a duration is in the range of its message, about 10,000 years. */
export function isDuration({ seconds, nanos }: Duration): boolean {
  return seconds <= 315_576_000_000n && seconds >= -315_576_000_000n && Math.abs(nanos) < 1e9;
}

/** A duration to the microsecond. */
export function fineDuration(ms: number): { readonly seconds: bigint; readonly nanos: number } {
  const micros = Math.round(ms * 1_000);
  return { seconds: BigInt(Math.floor(micros / 1e6)), nanos: (micros % 1e6) * 1_000 };
}

/** A duration within bounds, or what it is when absent. */
export function readDurationIn(
  problems: Problems,
  field: string,
  duration: Duration | undefined,
  bounds: {
    readonly minMs: number;
    readonly maxMs: number;
    readonly fallbackMs: number;
    readonly words: string;
  },
): number {
  const ms = readDuration(problems, field, duration) ?? bounds.fallbackMs;
  if (ms < bounds.minMs || ms > bounds.maxMs) problems.push({ field, message: `must be ${bounds.words}` });
  return ms;
}

/** A time from 1970 to 9999, in milliseconds; null when absent, and with a problem when it is out of range. */
export function readTime(problems: Problems, field: string, time: Timestamp | undefined): Date | null {
  if (time === undefined) return null;
  if (isTime(time)) return timestampDate(time);
  problems.push({ field, message: "must be a time from 1970 to 9999" });
  return null;
}

/** Whether a time is from 1970 to 9999. */
export function isTime({ seconds, nanos }: Timestamp): boolean {
  return seconds >= 0n && seconds <= 253_402_300_799n && nanos >= 0 && nanos < 1e9;
}

/** A time as a message; absent for null. */
export function writeTime(
  time: Date | null,
): { readonly seconds: bigint; readonly nanos: number } | undefined {
  return time === null ? undefined : timestampFromDate(time);
}

/** A lease as its holder names it; null when absent. */
export function readLease(problems: Problems, field: string, ref: LeaseRef | undefined): Lease | null {
  if (ref === undefined) return null;
  const jobId = readId(problems, "job", ref.jobId, `${field}.jobId`);
  const leaseId = readId(problems, "lease", ref.leaseId, `${field}.leaseId`);
  if (ref.attempt < 1) problems.push({ field: `${field}.attempt`, message: "must be from 1" });
  return jobId === null || leaseId === null ? null : { jobId, attempt: ref.attempt, leaseId };
}
