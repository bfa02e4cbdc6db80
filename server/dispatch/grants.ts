import type { Row } from "postgres";
import type { InternedShape } from "../domain/rules/shapes.ts";
import type { Grant, Held } from "./link.ts";

/** What the row of a claim leaves out, because who claimed knows it. */
export interface Slot {
  readonly shape: InternedShape;
  readonly workerId: string;
  readonly sessionId: string | null;
}

/** Reads a row of `claimReady`. */
export function grantOf(row: Row, { shape, workerId, sessionId }: Slot): Grant {
  const number = (name: string) => (row[name] === null ? null : Number(row[name]));
  return {
    fence: {
      jobId: String(row["job"]),
      attempt: Number(row["attempt"]),
      leaseId: String(row["lease"]),
      workerId,
    },
    shape,
    kind: shape.kind,
    title: textOf(row["title"]) ?? "",
    payload: bytesOf(row["payload"]),
    queue: shape.queue,
    points: shape.points,
    failures: number("failures") ?? 0,
    maxAttempts: Number(row["tries"]),
    softTimeoutMs: number("soft"),
    hardTimeoutMs: number("hard"),
    leaseTtlMs: Number(row["ttl"]),
    isExclusive: row["exclusive"] === true,
    isAlone: shape.isAlone,
    labels: labelsOf(row["labels"]),
    project: textOf(row["project"]),
    sessionId,
    parents: textsOf(row["parents"]),
    parentResults: [],
    skills: shape.skills,
    instructions: textsOf(row["instructions"]),
    documents: [],
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

const none: readonly string[] = [];

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : none;
}

function textOf(value: unknown): string | null {
  return value === null ? null : String(value);
}

function bytesOf(value: unknown): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new Error("a payload is bytes");
  return value;
}

function labelsOf(value: unknown): Record<string, string> {
  if (value === null || typeof value !== "object") return {};
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, String(text)]));
}
