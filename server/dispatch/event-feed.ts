import { setTimeout as sleep } from "node:timers/promises";
import { type FeedEventPage, type FeedStart, readFeedEvents } from "../domain/event-feed.ts";
import type { EventFilter } from "../domain/rules/event-filter.ts";
import type { Watches } from "./watches.ts";

/** What to follow. */
export interface EventWatchRequest {
  readonly orgId: string;
  readonly start: FeedStart;
  readonly filter: EventFilter;
}

/** Transitions that one message is made of at most: what a reader that is slow makes us keep. */
const mostEvents = 250;

/** Least time between two looks that found nothing. */
const spacingMs = 20;

/** Silence after which a watcher is told that it is still watching, and how far it is. */
const aliveMs = 15_000;

/**
 * Tells events as they are committed, until the signal is aborted. Nothing is kept for a reader: the next page is read
 * when it has taken the last one, and one that is behind for longer than the feed is kept gets a reset.
 */
export async function* watchEvents(
  { coordinator, feed, nowMs, enter }: Watches,
  { orgId, start, filter }: EventWatchRequest,
  signal: AbortSignal,
): AsyncGenerator<FeedEventPage> {
  using _place = enter(orgId);
  let at = start;
  let spokeMs = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    const news = feed.waitForOrg(orgId, signal);
    const page = await readFeedEvents(coordinator, orgId, at, filter, mostEvents);
    at = { revision: page.revision, since: null };
    // The first message tells where the watch begins.
    if (page.resetCause !== null || page.events.length > 0 || nowMs() - spokeMs >= aliveMs) {
      yield page;
      spokeMs = nowMs();
    }
    if (page.isWhole && page.events.length === 0) await Promise.all([news, pause(spacingMs, signal)]);
  }
}

/** Reads the next events, and waits up to so long for a first one. */
export async function readEvents(
  { coordinator, feed, nowMs, enter }: Watches,
  { orgId, start, filter }: EventWatchRequest,
  { waitMs, limit }: { readonly waitMs: number; readonly limit: number },
  signal: AbortSignal,
): Promise<FeedEventPage> {
  // Who waits watches; a look takes no place.
  using _place = waitMs > 0 ? enter(orgId) : undefined;
  const endMs = nowMs() + waitMs;
  let at = start;
  for (;;) {
    const leftMs = Math.max(0, endMs - nowMs());
    const news = feed.waitForOrg(orgId, signal, Math.min(1_000, leftMs));
    const page = await readFeedEvents(coordinator, orgId, at, filter, limit);
    const isNews = page.resetCause !== null || page.events.length > 0;
    const isBeginning = at.revision === "" && at.since !== null;
    at = { revision: page.revision, since: null };
    if (isNews || signal.aborted || (leftMs === 0 && !isBeginning)) return page;
    if (page.isWhole) await Promise.all([news, pause(Math.min(spacingMs, leftMs), signal)]);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => undefined);
}
