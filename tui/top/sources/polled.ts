import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import type { FeedMessage, Source } from "../store/feed.ts";

/** One reading of a list, whole. */
export type Listing<Row> = Omit<Extract<FeedMessage<Row>, { kind: "snapshot" }>, "kind">;

/** What a polled list may be given. */
export interface PollOptions {
  /** Time between two readings, in milliseconds. Default 2 s. */
  readonly everyMs?: number;
  /** Waits; tests hand in their own. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
}

/** A list that is read again and again: for what the server does not stream. */
export function polledSource<Row>(
  read: (signal: AbortSignal) => Promise<Listing<Row>>,
  options: PollOptions = {},
): Source<Row> {
  const everyMs = options.everyMs ?? 2_000;
  const wait = options.wait ?? ((ms: number, signal: AbortSignal) => delay(ms, undefined, { signal }));
  return {
    idleMs: everyMs + 30_000,
    open: async function* (signal) {
      while (!signal.aborted) {
        yield { kind: "snapshot", ...(await read(signal)) };
        await wait(everyMs, signal);
      }
    },
  };
}

/** Time that a stream is given for its very first message before the list is polled, in milliseconds. */
const firstMessageMs = 5_000;

/**
 * A list that is streamed where streams pass, and polled where they do not: the server does not know the stream, or
 * something in between holds it back. It says so, and tries the stream again with the next connection.
 */
export function withFallback<Row>(stream: Source<Row>, poll: Source<Row>): Source<Row> {
  let isPolled = false;
  let hasPassed = false;
  return {
    idleMs: Math.max(stream.idleMs, poll.idleMs),
    note: () => (isPolled ? "streams do not pass: polled" : (stream.note?.() ?? "")),
    open: async function* (signal) {
      // Where streams passed once, silence is a loss like any other.
      const first = hasPassed ? stream.open(signal) : await firstOf(stream, signal);
      isPolled = first === undefined;
      hasPassed ||= first !== undefined;
      if (first === undefined) yield* poll.open(signal);
      else yield* first;
    },
  };
}

// The stream, once it has said something; undefined when it will not.
async function firstOf<Row>(
  stream: Source<Row>,
  signal: AbortSignal,
): Promise<AsyncIterable<FeedMessage<Row>> | undefined> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), firstMessageMs);
  const messages = stream.open(AbortSignal.any([signal, silence.signal]))[Symbol.asyncIterator]();
  try {
    const first = await messages.next();
    return goOn(first, messages);
  } catch (error) {
    if (signal.aborted) throw error;
    const isUnknown = ConnectError.from(error).code === Code.Unimplemented;
    if (silence.signal.aborted || isUnknown) return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function* goOn<Row>(
  first: IteratorResult<FeedMessage<Row>>,
  messages: AsyncIterator<FeedMessage<Row>>,
): AsyncGenerator<FeedMessage<Row>, void> {
  try {
    for (let next = first; next.done !== true; next = await messages.next()) yield next.value;
  } finally {
    await messages.return?.();
  }
}
