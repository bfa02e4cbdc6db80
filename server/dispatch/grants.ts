import type { Row } from "postgres";
import type { InternedShape } from "../domain/rules/shapes.ts";
import type { Grant, Held } from "./link.ts";

/** Reads a row of `claimReady`. */
export function grantOf(row: Row, shape: InternedShape): Grant {
  const number = (name: string) => (row[name] === null ? null : Number(row[name]));
  return {
    fence: {
      jobId: String(row["job"]),
      attempt: Number(row["attempt"]),
      leaseId: String(row["lease"]),
      workerId: String(row["worker"]),
    },
    shape,
    kind: String(row["kind"]),
    title: String(row["title"]),
    payload: bytesOf(row["payload"]),
    queue: String(row["queue"]),
    points: Number(row["points"]),
    failures: Number(row["failures"]),
    maxAttempts: Number(row["tries"]),
    softTimeoutMs: number("soft"),
    hardTimeoutMs: number("hard"),
    leaseTtlMs: Number(row["ttl"]),
    isExclusive: row["exclusive"] === true,
    isAlone: shape.isAlone,
    labels: labelsOf(row["labels"]),
    project: row["project"] === null ? null : String(row["project"]),
    sessionId: row["session"] === null ? null : String(row["session"]),
    parents: Array.isArray(row["parents"]) ? row["parents"].map(String) : [],
    parentResults: [],
    skills: Array.isArray(row["skills"]) ? row["skills"].map(String) : [],
  };
}

/** A grant as the link counts it until its worker answers. */
export function heldOf(grant: Grant, offerSequence: number, nowMs: number): Held {
  const { fence, shape, points, isExclusive, isAlone } = grant;
  return {
    fence,
    shape,
    points,
    isExclusive,
    isAlone,
    offerSequence,
    offeredAtMs: nowMs,
    state: "offered",
    missed: 0,
    acceptedAtHeartbeat: 0,
    cancelSentMs: null,
    isCancelAcknowledged: false,
    hasProgress: false,
    reporting: null,
    accepted: null,
  };
}

function bytesOf(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error("a payload is bytes");
  return value;
}

function labelsOf(value: unknown): Record<string, string> {
  if (value === null || typeof value !== "object") return {};
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, String(text)]));
}
