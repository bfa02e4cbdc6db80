import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { followStream, isPassing, type ReconnectOptions } from "../../stream/reconnect.ts";

/** How a list goes on before and behind the page that is shown; empty where it does not. */
export interface PageTokens {
  readonly next: string;
  readonly previous: string;
}

/** A count behind a tab of a list. */
export type Counts = ReadonlyMap<number, bigint>;

/** What a list is told: everything, or what changed. */
export type FeedMessage<Row> =
  /** What was known is void; a snapshot follows. */
  | { readonly kind: "reset"; readonly cause: string }
  | {
      readonly kind: "snapshot";
      /** In the order of the server. */
      readonly rows: readonly Row[];
      readonly tokens: PageTokens;
      /** Absent: the server does not count this list. */
      readonly counts?: Counts;
      /** The counts are lower bounds. */
      readonly atLeast?: boolean;
      /** Something to say about the list, e.g. that it is cut. */
      readonly note?: string;
    }
  | {
      readonly kind: "delta";
      /** New or changed rows. */
      readonly rows: readonly Row[];
      /** Ids of rows that left the list. */
      readonly left: readonly string[];
      /** When they are others than told before. */
      readonly tokens?: PageTokens;
      readonly counts?: Counts;
      readonly atLeast?: boolean;
    }
  /** The connection lives. */
  | { readonly kind: "alive" };

/** Where a list comes from. A source remembers where its last message left off, and `open` goes on there. */
export interface Source<Row> {
  /** One connection; ends or throws when it is lost. */
  readonly open: (signal: AbortSignal) => AsyncIterable<FeedMessage<Row>>;
  /** Silence after which the connection counts as lost, in milliseconds. */
  readonly idleMs: number;
  /** What to tell people about how the data comes, e.g. that it is polled; empty when it is streamed. */
  readonly note?: () => string;
}

/** Hears of a feed. */
export interface FeedSink<Row> {
  readonly receive: (message: FeedMessage<Row>, nowMs: number) => void;
  /** The connection is lost; the next try comes after `delayMs`. `attempt` counts from 1. */
  readonly lose: (cause: string, delayMs: number, attempt: number, nowMs: number) => void;
  /** The server refuses the list as it is asked for (a filter with a mistake): there will be no other try. */
  readonly refuse: (error: ConnectError, nowMs: number) => void;
}

/** How a feed is followed. */
export interface FeedOptions extends Pick<ReconnectOptions, "wait" | "random"> {
  readonly signal: AbortSignal;
  readonly now: () => number;
}

/**
 * Follows a source until the signal, over as many connections as it takes: it tries again after 0.5 s and up to
 * 30 s, for ever. Ends early only when the request itself is refused.
 */
export async function followFeed<Row>(
  source: Source<Row>,
  sink: FeedSink<Row>,
  options: FeedOptions,
): Promise<void> {
  const { signal, now } = options;
  const wait = options.wait ?? ((ms: number, inner: AbortSignal) => delay(ms, undefined, { signal: inner }));
  const onLost = (error: ConnectError, delayMs: number, attempt: number): void =>
    sink.lose(error.rawMessage, delayMs, attempt, now());
  const followed = {
    ...options,
    wait,
    isComplete: () => false,
    fromTheStart: true,
    idleMs: source.idleMs,
    onLost,
  };
  while (!signal.aborted) {
    try {
      for await (const message of followStream((inner) => source.open(inner), followed)) {
        sink.receive(message, now());
      }
    } catch (thrown) {
      if (signal.aborted) return;
      const error = ConnectError.from(thrown);
      if (isMistake(error)) return sink.refuse(error, now());
      // A key that was revoked may be valid again; a server that is too old may be upgraded.
      onLost(error, refusedPauseMs, 1);
      await wait(refusedPauseMs, signal).catch(() => undefined);
    }
  }
}

const refusedPauseMs = 30_000;

function isMistake(error: ConnectError): boolean {
  return (
    !isPassing(error) && [Code.InvalidArgument, Code.NotFound, Code.PermissionDenied].includes(error.code)
  );
}
