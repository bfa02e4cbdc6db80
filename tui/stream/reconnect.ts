import { setTimeout as delay } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { durationToMs } from "../output/time.ts";

/** A pause of a stream, and its end. */
export interface ReconnectOptions {
  /** Ends the stream: the iteration returns without an error. */
  readonly signal: AbortSignal;
  /** Whether the stream has told all that it will: then its end is the end. */
  readonly isComplete: () => boolean;
  /** The stream was lost; the next try comes after `delayMs`. `attempt` counts from 1. */
  readonly onLost?: (error: ConnectError, delayMs: number, attempt: number) => void;
  /** A first message came after the stream was lost. */
  readonly onBack?: () => void;
  /** Silence after which a stream counts as lost, in milliseconds. Default 45 s: three signs of life. */
  readonly idleMs?: number;
  /** Try again also when the first connection fails. Default false: then the error is thrown. */
  readonly fromTheStart?: boolean;
  /** Waits; tests hand in their own. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** A number from 0 to 1, for the jitter. */
  readonly random?: () => number;
}

/**
 * Follows a stream that survives its connection: opened again, after 0.5 s and up to 30 s with jitter, whenever
 * it is lost or falls silent. `open` starts where the last message left off. An error that trying again does
 * not help (no such job, key refused) is thrown.
 */
export async function* followStream<Message>(
  open: (signal: AbortSignal) => AsyncIterable<Message>,
  options: ReconnectOptions,
): AsyncGenerator<Message, void> {
  const wait = options.wait ?? ((ms, signal) => delay(ms, undefined, { signal }));
  let wasOpen = options.fromTheStart ?? false;
  let attempt = 0;
  while (!options.signal.aborted) {
    let lost: ConnectError;
    try {
      for await (const message of untilSilent(open, options)) {
        if (attempt > 0) options.onBack?.();
        attempt = 0;
        wasOpen = true;
        yield message;
      }
      if (options.isComplete()) return;
      lost = new ConnectError("the stream ended early", Code.Unavailable);
    } catch (error) {
      if (options.signal.aborted) return;
      lost = ConnectError.from(error);
      if (!wasOpen || !isPassing(lost)) throw error;
    }
    if (options.signal.aborted) return;
    attempt += 1;
    const delayMs = backoffMs(attempt, lost, options.random ?? Math.random);
    options.onLost?.(lost, delayMs, attempt);
    try {
      await wait(delayMs, options.signal);
    } catch (error) {
      if (!options.signal.aborted) throw error;
    }
  }
}

/** Whether the same call may succeed later: the connection failed, or the server says when to try again. */
export function isPassing(error: unknown): boolean {
  const { code, detail } = readError(error);
  if (code === Code.Unavailable) return true;
  if (detail !== undefined) return detail.retryAfter !== undefined;
  // Without a detail it is not Muster that speaks, but the transport or something between.
  return [Code.Aborted, Code.Canceled, Code.Unknown, Code.Internal, Code.DeadlineExceeded].includes(code);
}

async function* untilSilent<Message>(
  open: (signal: AbortSignal) => AsyncIterable<Message>,
  { signal, idleMs = 45_000 }: ReconnectOptions,
): AsyncGenerator<Message, void> {
  const silence = new AbortController();
  const both = AbortSignal.any([signal, silence.signal]);
  let timer = setTimeout(() => silence.abort(), idleMs);
  try {
    for await (const message of open(both)) {
      clearTimeout(timer);
      yield message;
      timer = setTimeout(() => silence.abort(), idleMs);
    }
  } catch (error) {
    if (silence.signal.aborted && !signal.aborted) {
      throw new ConnectError(
        `nothing came for ${idleMs / 1000} s`,
        Code.Unavailable,
        undefined,
        undefined,
        error,
      );
    }
    throw error;
  } finally {
    clearTimeout(timer);
    // Lets go of the connection also when the reader stopped early.
    silence.abort();
  }
}

function backoffMs(attempt: number, error: ConnectError, random: () => number): number {
  const grown = Math.min(30_000, 500 * 2 ** Math.min(attempt - 1, 10));
  const asked = readError(error).detail?.retryAfter;
  return Math.max(Math.round(grown * (0.8 + 0.4 * random())), asked === undefined ? 0 : durationToMs(asked));
}
