import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Status } from "@muster/client/v1/status_service";
import { type Freshness, lostConnection } from "./connection.ts";

/** What went through in one span of `bucketMs`. */
export interface FlowBucket {
  /** Number of the span, by the server's clock. */
  readonly index: number;
  readonly submitted: number;
  readonly succeeded: number;
}

/** The org at a glance, as the header of every screen and the overview show it. */
export interface StatusState extends Freshness {
  readonly status: Status | undefined;
  /** The latest spans, oldest first. */
  readonly flow: readonly FlowBucket[];
}

/** The state of the org, kept outside of React. */
export interface StatusStore {
  readonly state: () => StatusState;
  readonly receive: (status: Status, nowMs: number) => void;
  readonly lose: (cause: string, delayMs: number, attempt: number, nowMs: number) => void;
  /** The key is refused; the next try comes after `delayMs`. */
  readonly refuse: (cause: string, delayMs: number, nowMs: number) => void;
}

/** Length of one bar of the flow, in milliseconds. */
export const bucketMs = 2_000;

/** Bars that are kept. */
export const bucketCount = 90;

/** Makes an empty store. */
export function createStatusStore(nowMs: number): StatusStore {
  let state: StatusState = {
    status: undefined,
    receivedMs: nowMs,
    quietMs: 3_000,
    connection: { kind: "connecting" },
    flow: [],
  };
  return {
    state: () => state,
    receive: (status, now) => {
      state = {
        ...state,
        status,
        receivedMs: now,
        connection: { kind: "live" },
        flow: addFlow(state.flow, state.status, status, now),
      };
    },
    lose: (cause, delayMs, attempt, now) => {
      state = { ...state, connection: lostConnection(state.connection, cause, delayMs, attempt, now) };
    },
    refuse: (cause, delayMs, now) => {
      const nextTryMs = now + delayMs;
      const connection = {
        kind: "lost",
        sinceMs: now,
        attempt: 1,
        nextTryMs,
        cause,
        isRefused: true,
      } as const;
      state = { ...state, connection };
    },
  };
}

/**
 * Adds to the flow what happened between two statuses. What happened during a longer pause is not known in time
 * and is left out, so that it does not look like a burst.
 */
export function addFlow(
  flow: readonly FlowBucket[],
  before: Status | undefined,
  status: Status,
  nowMs: number,
): readonly FlowBucket[] {
  const atMs = timeOf(status, nowMs);
  const index = Math.floor(atMs / bucketMs);
  const pauseMs = before === undefined ? Number.POSITIVE_INFINITY : atMs - timeOf(before, nowMs);
  const isGap = pauseMs > 2 * bucketMs || pauseMs < 0;
  const submitted = isGap ? 0 : growth(before?.flow?.submitted, status.flow?.submitted);
  const succeeded = isGap ? 0 : growth(before?.flow?.succeeded, status.flow?.succeeded);
  const last = flow.at(-1);
  if (last?.index === index) {
    const merged = { index, submitted: last.submitted + submitted, succeeded: last.succeeded + succeeded };
    return [...flow.slice(0, -1), merged];
  }
  const kept = flow.filter((bucket) => bucket.index > index - bucketCount && bucket.index < index);
  return [...kept, { index, submitted, succeeded }];
}

function growth(before = 0n, after = 0n): number {
  return after > before ? Number(after - before) : 0;
}

function timeOf(status: Status, nowMs: number): number {
  return status.time === undefined ? nowMs : timestampMs(status.time);
}
