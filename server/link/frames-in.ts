import { toJson } from "@bufbuild/protobuf";
import { type Duration, durationMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Profile as ProfileMessage } from "@muster/client/v1/job";
import type { LeaseRef } from "@muster/client/v1/job_service";
import type { Hello as HelloFrame, ReportItem, Result } from "@muster/client/v1/link";
import type { Payload } from "@muster/client/v1/payload";
import { DomainError, invalidArgument, type Violation } from "../domain/errors.ts";
import { decodeId } from "../domain/ids.ts";
import type { Fence, LeaseResult } from "../domain/leases.ts";
import type { Hello } from "../domain/links.ts";
import { isHandlerEventName, isShallow, mostBodyBytes } from "../domain/rules/handler-events.ts";
import { readIsolation } from "../domain/rules/isolations.ts";
import { readJsonText, writeJsonText } from "../domain/rules/json-text.ts";
import { longestPauseMs } from "../domain/rules/limits.ts";
import { boundedProfile, maxSpans, type Profile } from "../domain/rules/profiles.ts";
import type { Lease } from "../domain/submit.ts";
import type { StoredEvent } from "../store/event-codec.ts";
import { readPublished } from "./published.ts";

/** The majors that this coordinator serves. */
export const protocolMajor = 1;
export const protocolMinor = 0;

/** Wait that a decline asks for when it names none. */
const defaultCoolDownMs = 30_000;

/** Boots that ended by themselves, of which one may be the last that was attached. */
const maxEndedBoots = 8;

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const nameForm = /^[a-z0-9][a-z0-9._-]{0,99}$/;

/** Reads a Hello. Throws PROTOCOL_VERSION_UNSUPPORTED, or all that is wrong with it at once. */
export function readHello(frame: HelloFrame, transport: "stream" | "poll"): Hello {
  const major = frame.protocol?.major ?? 0;
  if (major !== protocolMajor) {
    throw new DomainError("PROTOCOL_VERSION_UNSUPPORTED", {
      message: `The worker speaks protocol ${major}.${frame.protocol?.minor ?? 0}; this coordinator speaks ${protocolMajor}.${protocolMinor}`,
      details: { worker: String(major), coordinator: String(protocolMajor) },
    });
  }
  const violations: Violation[] = [];
  const check = (isRight: boolean, field: string, message: string) => {
    if (!isRight) violations.push({ field: `hello.${field}`, message });
  };
  const slots = frame.capacity?.slots ?? 0;
  const points = frame.capacity?.points ?? 0;
  check(uuidForm.test(frame.bootId), "bootId", "must be a UUID");
  check(slots >= 1 && slots <= 10_000, "capacity.slots", "must be 1 to 10,000");
  check(points >= 1 && points <= 1_000_000, "capacity.points", "must be 1 to 1,000,000");
  check(frame.kinds.length > 0, "kinds", "must name at least one kind that the worker has a handler for");
  for (const [index, kind] of frame.kinds.entries()) {
    check(nameForm.test(kind), `kinds[${index}]`, "must be 1 to 100 characters of a-z 0-9 . _ -");
  }
  for (const [index, skill] of frame.skills.entries()) {
    check(nameForm.test(skill.name), `skills[${index}].name`, "must be 1 to 100 characters of a-z 0-9 . _ -");
  }
  check(Object.keys(frame.labels).length <= 32, "labels", "must have at most 32 entries");
  const texts = [frame.version, frame.host, frame.hostBootId, ...Object.entries(frame.labels).flat()];
  check(texts.every(isCleanText), "labels", "must hold no NUL character, and at most 255 characters a value");
  if (violations.length > 0) throw invalidArgument(violations);
  return {
    bootId: frame.bootId.toLowerCase(),
    hostBootId: frame.hostBootId,
    areOrphansDead: frame.orphansDead,
    endedBoots: frame.endedBootIds.slice(0, maxEndedBoots).map((bootId) => bootId.toLowerCase()),
    isDraining: frame.draining,
    transport,
    held: frame.heldLeases.flatMap(leaseOrNone),
    outbox: frame.outboxLeases.flatMap(leaseOrNone),
    published: readPublished(frame),
    declared: {
      skills: frame.skills.map(({ name, digest }) => ({ name, digest })),
      kinds: frame.kinds,
      slots,
      points,
      labels: frame.labels,
      version: frame.version,
      host: frame.host,
    },
  };
}

/** Reads a lease; null when its ids are malformed: then it names nothing. */
export function readLease(ref: LeaseRef | undefined): Lease | null {
  if (!ref) return null;
  try {
    return {
      jobId: decodeId("job", ref.jobId),
      attempt: ref.attempt,
      leaseId: decodeId("lease", ref.leaseId),
    };
  } catch {
    return null;
  }
}

/** Adds who speaks, from the authenticated key. */
export function fenceOf(lease: Lease, workerId: string): Fence {
  return { jobId: lease.jobId, attempt: lease.attempt, leaseId: lease.leaseId, workerId };
}

/**
 * Reads a result. One that is malformed is told with why; where its lease can
 * be read it comes with the failure that it amounts to, so that the job does
 * not wait for a result that never gets better.
 */
export function readResult(
  result: Result,
  workerId: string,
  limits: { readonly maxPayloadBytes: number },
): LeaseResult | { readonly malformed: string; readonly failure: LeaseResult | null } {
  const lease = readLease(result.lease);
  if (!lease) return { malformed: "names no lease", failure: null };
  if (!uuidForm.test(result.resultId)) return { malformed: "has no UUID as its result_id", failure: null };
  const base = {
    fence: fenceOf(lease, workerId),
    resultId: result.resultId.toLowerCase(),
    result: null,
    error: null,
    prUrl: null,
    lastSequence: Number(result.lastSequence),
    reason: null,
    hasProgress: true,
    isolation: readIsolation(result.isolation),
    profile: readProfileMessage(result.profile),
  };
  const malformed = (why: string) => ({
    malformed: why,
    failure: {
      ...base,
      event: { type: "failed" as const, isRetryable: false, isTimedOut: false, retryAfterMs: null },
      error: { code: "RESULT_INVALID", message: `The result of the worker ${why}`, detail: "" },
    },
  });
  const { outcome } = result;
  switch (outcome.case) {
    case "success": {
      const json = readJson(outcome.value.result, limits.maxPayloadBytes);
      if (json.malformed !== null) return malformed(json.malformed);
      const prUrl = outcome.value.prUrl === "" ? null : cleanText(outcome.value.prUrl, 2_000);
      return { ...base, event: { type: "succeeded" }, result: json.text, prUrl };
    }
    case "failure": {
      const { error, retryable, timedOut, retryAfter } = outcome.value;
      return {
        ...base,
        error: {
          code: cleanText(error?.code ?? "", 100) || "FAILED",
          message: cleanText(error?.message ?? "", 4_096),
          detail: cleanText(error?.detail ?? "", 16_384),
        },
        event: {
          type: "failed",
          isRetryable: retryable,
          isTimedOut: timedOut,
          retryAfterMs: readWait(retryAfter),
        },
      };
    }
    case "cancelled":
      return { ...base, event: { type: "cancelled" }, reason: null };
    case "release":
      return { ...base, event: { type: "released" }, reason: cleanText(outcome.value.reason, 200) };
    case "park": {
      const wakeAfterMs = readWait(outcome.value.wakeAfter);
      const sessionId = cleanText(outcome.value.sessionId, 200);
      return {
        ...base,
        event: {
          type: "parked",
          wakeAfterMs,
          isPool: outcome.value.pool,
          ...(sessionId === "" ? {} : { sessionId }),
        },
        reason: cleanText(outcome.value.reason, 200),
      };
    }
    case undefined:
      return malformed("has no outcome");
  }
}

/** Reads what a handler said as an event of the record; null for progress and for what is malformed. */
export function readEvent(item: ReportItem, timeMs: number): StoredEvent | null {
  const at = { sequence: Number(item.sequence), timeMs };
  if (!(at.sequence > 0)) return null;
  const { body } = item;
  switch (body.case) {
    case "log": {
      const { stream, level, text } = body.value;
      const source = stream === 2 || stream === 3 || stream === 4 ? stream : 1;
      return {
        ...at,
        type: "log",
        stream: source,
        level: cleanText(level, 20),
        text: cleanText(text, 65_536),
      };
    }
    case "partial": {
      const json = readJson(body.value, 1024 * 1024);
      return json.malformed === null ? { ...at, type: "partial", json: json.text } : null;
    }
    case "event": {
      const { name, body: value } = body.value;
      const json = readJson(value, mostBodyBytes);
      const isRight = json.malformed === null && isHandlerEventName(name) && isShallow(JSON.parse(json.text));
      return isRight ? { ...at, type: "event", name, json: json.text } : null;
    }
    case "message":
      return { ...at, type: "message", text: cleanText(body.value, 65_536) };
    case "gap":
      return {
        ...at,
        type: "gap",
        from: Number(body.value.fromSequence),
        to: Number(body.value.toSequence),
        cause: cleanText(body.value.cause, 40) || "worker",
      };
    case "progress":
    case undefined:
      return null;
  }
}

/** Reads progress; null for other items. */
export function readProgress(item: ReportItem): { fraction: number | null; message: string } | null {
  if (item.body.case !== "progress") return null;
  const { fraction, message } = item.body.value;
  const isNumber = fraction !== undefined && Number.isFinite(fraction);
  return { fraction: isNumber ? Math.min(1, Math.max(0, fraction)) : null, message: cleanText(message, 200) };
}

/** How long a decline asks to be left alone. */
export function readCoolDown(retryAfter: Duration | undefined): number {
  return Math.min(milliseconds(retryAfter) ?? defaultCoolDownMs, 24 * 3_600_000);
}

// Who wants to wait longer waits a year: beyond it there are times that neither the database nor an answer can hold.
function readWait(duration: Duration | undefined): number | null {
  const ms = milliseconds(duration);
  return ms === null ? null : Math.min(ms, longestPauseMs);
}

type Json = { readonly text: string; readonly malformed: null } | { readonly malformed: string };

function readJson(payload: Payload | undefined, maxBytes: number): Json {
  // What workers that are written by hand send.
  if (payload?.content.case === "json") {
    const written = writeJsonText(toJson(ValueSchema, payload.content.value));
    if (written.fault !== null) return { malformed: written.fault };
    const size = Buffer.byteLength(written.text);
    return size > maxBytes ? tooLarge(size, maxBytes) : { text: written.text, malformed: null };
  }
  const bytes = payload?.content.case === "data" ? payload.content.value : undefined;
  if (!bytes || bytes.length === 0) return { text: "null", malformed: null };
  if (bytes.length > maxBytes) return tooLarge(bytes.length, maxBytes);
  const { text, fault } = readJsonText(bytes);
  return fault === null ? { text, malformed: null } : { malformed: fault };
}

function tooLarge(size: number, maxBytes: number): Json {
  return { malformed: `has ${size} bytes, allowed are ${maxBytes}` };
}

function leaseOrNone(ref: LeaseRef): Lease[] {
  const lease = readLease(ref);
  return lease ? [lease] : [];
}

function milliseconds(duration: Duration | undefined): number | null {
  return duration === undefined ? null : Math.max(0, Math.round(durationMs(duration)));
}

function isCleanText(text: string): boolean {
  return text.length <= 255 && !text.includes("\0");
}

/** What a worker says is kept, not refused: NUL and lone surrogates become U+FFFD. */
export function cleanText(text: string, maxLength: number): string {
  return text.slice(0, maxLength).replaceAll("\0", "\ufffd").toWellFormed();
}

// A malformed span is worth no result: what can be read of it is kept.
function readProfileMessage(profile: ProfileMessage | undefined): Profile | null {
  if (profile === undefined) return null;
  const msOf = (duration: Duration | undefined) => (duration === undefined ? 0 : durationMs(duration));
  return boundedProfile({
    spans: profile.spans.slice(0, 2 * maxSpans).map((span) => ({
      name: span.name,
      parent: span.parent === 0 ? null : span.parent - 1,
      count: Number(span.count),
      failed: Number(span.failed),
      totalMs: msOf(span.totalTime),
      selfMs: msOf(span.selfTime),
    })),
    dropped: Number(profile.dropped),
    runMs: msOf(profile.runTime),
  });
}
