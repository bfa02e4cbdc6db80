import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "@connectrpc/connect";
import { ConnectError } from "@connectrpc/connect";
import type { Status, StatusService } from "@muster/client/v1/status_service";
import { durationFromMs } from "../../input/values.ts";
import { isPassing } from "../../stream/reconnect.ts";
import { type FeedMessage, type FeedOptions, followFeed, type Source } from "../store/feed.ts";
import type { StatusStore } from "../store/status.ts";
import { polledSource, withFallback } from "./polled.ts";

/** What it takes to read the status. */
export type StatusClient = Pick<Client<typeof StatusService>, "watchStatus" | "getStatus">;

/** Time between two statuses, in milliseconds. */
const everyMs = 1_000;

/** How the status is followed. */
export interface StatusOptions extends FeedOptions {
  /** A first call that is refused is a loss like any other: there is something else to go to. */
  readonly outlivesRefusal: boolean;
}

/** Until a call that was refused is tried again, in milliseconds. */
const refusedPauseMs = 30_000;

/**
 * Keeps the status fresh until the signal. Throws when the very first call is refused, unless the console outlives
 * that: it has nothing to show. Later it only says so.
 */
export async function followStatus(
  client: StatusClient,
  store: StatusStore,
  isDetailed: boolean,
  onNews: () => void,
  options: StatusOptions,
): Promise<void> {
  const { outlivesRefusal, wait = (ms, signal) => delay(ms, undefined, { signal }) } = options;
  const first = new AbortController();
  const signal = AbortSignal.any([options.signal, first.signal]);
  let refusal: ConnectError | undefined;
  const sink = {
    receive: (message: FeedMessage<Status>, nowMs: number): void => {
      const status = message.kind === "snapshot" ? message.rows[0] : undefined;
      if (status !== undefined) store.receive(status, nowMs);
      onNews();
    },
    lose: (cause: string, delayMs: number, attempt: number, nowMs: number): void => {
      store.lose(cause, delayMs, attempt, nowMs);
      onNews();
    },
    refuse: (error: ConnectError): void => {
      refusal = error;
      first.abort();
      if (!outlivesRefusal) return;
      store.refuse(error.rawMessage, refusedPauseMs, options.now());
      onNews();
    },
  };
  const source = statusSource(client, isDetailed);
  const watched: Source<Status> = {
    ...source,
    open: async function* (inner) {
      try {
        yield* source.open(inner);
      } catch (error) {
        // Followed sources never end by themselves; a key that is refused at the start ends the console.
        const known = ConnectError.from(error);
        if (store.state().status === undefined && !isPassing(known)) sink.refuse(known);
        throw error;
      }
    },
  };
  await followFeed(watched, sink, { ...options, signal });
  if (refusal === undefined || options.signal.aborted) return;
  if (!outlivesRefusal) throw refusal;
  await wait(refusedPauseMs, options.signal).catch(() => undefined);
}

function statusSource(client: StatusClient, detail: boolean): Source<Status> {
  const tokens = { next: "", previous: "" };
  const stream: Source<Status> = {
    idleMs: 10_000,
    open: async function* (signal) {
      for await (const { status } of client.watchStatus(
        { detail, interval: durationFromMs(everyMs) },
        { signal },
      )) {
        if (status !== undefined) yield { kind: "snapshot", rows: [status], tokens };
      }
    },
  };
  const poll = polledSource<Status>(async (signal) => {
    const { status } = await client.getStatus({ detail }, { signal, timeoutMs: 10_000 });
    return { rows: status === undefined ? [] : [status], tokens };
  });
  const both = withFallback(stream, poll);
  return { ...both, idleMs: 10_000 };
}
