import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Status } from "@muster/client/v1/status_service";

/** Whether the figures are fresh. */
export type Connection =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | {
      readonly kind: "lost";
      readonly sinceMs: number;
      readonly attempt: number;
      readonly nextTryMs: number;
      readonly cause: string;
    };

/** What went through in one span of `bucketMs`. */
export interface FlowBucket {
  /** Number of the span, by the server's clock. */
  readonly index: number;
  readonly submitted: number;
  readonly succeeded: number;
}

/** Everything that the screen shows. */
export interface TopState {
  readonly status: Status | undefined;
  /** When the status came, by the clock of this machine. */
  readonly receivedMs: number;
  readonly connection: Connection;
  /** The latest spans, oldest first. */
  readonly flow: readonly FlowBucket[];
  readonly nowMs: number;
}

/** The state of the screen, kept outside of React. */
export interface TopStore {
  readonly getState: () => TopState;
  readonly subscribe: (listener: () => void) => () => void;
  readonly receive: (status: Status, nowMs: number) => void;
  readonly lose: (cause: string, delayMs: number, attempt: number, nowMs: number) => void;
  /** Lets time pass: ages on the screen are computed from it. */
  readonly tick: (nowMs: number) => void;
}

/** Length of one bar of the flow, in milliseconds. */
export const bucketMs = 2_000;

/** Bars that are kept. */
export const bucketCount = 90;

/** Makes an empty store. */
export function createTopStore(nowMs: number): TopStore {
  let state: TopState = {
    status: undefined,
    receivedMs: nowMs,
    connection: { kind: "connecting" },
    flow: [],
    nowMs,
  };
  const listeners = new Set<() => void>();
  const publish = (next: TopState): void => {
    state = next;
    for (const listener of listeners) listener();
  };
  return {
    getState: () => state,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    receive: (status, now) =>
      publish({
        status,
        receivedMs: now,
        connection: { kind: "live" },
        flow: addFlow(state.flow, state.status, status, now),
        nowMs: now,
      }),
    lose: (cause, delayMs, attempt, now) => {
      const sinceMs = state.connection.kind === "lost" ? state.connection.sinceMs : now;
      publish({
        ...state,
        connection: { kind: "lost", sinceMs, attempt, nextTryMs: now + delayMs, cause },
        nowMs: now,
      });
    },
    tick: (now) => {
      // While figures come each second, they bring the time along.
      const isFresh = state.connection.kind === "live" && now - state.receivedMs < 1_500;
      if (!isFresh) publish({ ...state, nowMs: now });
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
