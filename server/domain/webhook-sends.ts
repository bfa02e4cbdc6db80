import { OutboundError } from "../outbound/outbound-http.ts";
import { inOrg } from "../store/database.ts";
import {
  lockCursor,
  moveCursor,
  noteFailed,
  noteSent,
  readLiveWebhooks,
  updateWebhook,
  type WebhookRow,
} from "../store/event-webhooks.ts";
import { goByIndex } from "../store/snapshot.ts";
import {
  type ClaimedDelivery,
  claimDeliveries,
  giveUpDeliveries,
  hurryDeliveries,
  insertDeliveries,
  type NewDelivery,
  noteTry,
} from "../store/webhook-deliveries.ts";
import { readFeedEventsAt } from "./event-feed.ts";
import { cursorOf, eventSource, secretsOf, type WebhookContext } from "./event-webhooks.ts";
import { encodeId } from "./ids.ts";
import { checkedState } from "./job-views.ts";
import type { FeedEvent } from "./rules/event-filter.ts";
import {
  afterTry,
  isTaken,
  mostBehindMs,
  mostPending,
  type TryOutcome,
  turnOffMs,
} from "./rules/event-webhooks.ts";
import { stateName } from "./rules/states.ts";
import { webhookHeaders } from "./rules/webhook-signatures.ts";

/** Transitions that one step of a cursor passes at most. */
const stepEvents = 500;

/** How long a try may take; and how long a delivery is taken for it. */
const tryTimeoutMs = 15_000;
const leaseMs = 60_000;

/** The webhooks of an org that are on. */
export function liveWebhooks(c: Pick<WebhookContext, "db">, orgId: string): Promise<WebhookRow[]> {
  return inOrg(c.db.sweep, orgId, (tx) => readLiveWebhooks(tx, orgId));
}

/**
 * Moves the cursor of a webhook on, and writes a delivery for each event that it passes and the webhook means, in one
 * transaction: so each is written once, with any number of coordinators. Answers whether there is more to pass now.
 */
export function scheduleDeliveries(c: WebhookContext, orgId: string, webhookId: string): Promise<boolean> {
  return inOrg(c.db.sweep, orgId, async (tx) => {
    await goByIndex(tx);
    const row = await lockCursor(tx, orgId, webhookId);
    // The feed keeps what it is behind with for a day.
    if (row === null || row.pending >= mostPending) return false;
    const cursor = cursorOf(row);
    const piece = { limit: stepEvents, keepMs: mostBehindMs };
    const page = await readFeedEventsAt(tx, orgId, cursor, row.filter, piece);
    const deliveries: NewDelivery[] = page.events.map((event) => ({
      deliveryId: c.newId(),
      eventId: event.eventId,
      type: event.type,
      body: bodyOf(orgId, event),
    }));
    if (page.resetCause !== null) {
      // Whoever keeps a copy must know that it is not whole.
      const eventId = `reset.${page.revision}`;
      const at = new Date(c.nowMs());
      const body = cloudEvent(orgId, { id: eventId, type: resetType, at, data: { cause: page.resetCause } });
      deliveries.push({ deliveryId: c.newId(), eventId, type: resetType, body });
    }
    await insertDeliveries(tx, orgId, webhookId, deliveries);
    await moveCursor(tx, orgId, webhookId, page);
    return !page.isWhole;
  });
}

/** The type of what a webhook is told when events were missed. */
const resetType = "feed.reset";

/** The type of what a test sends. */
export const testType = "webhook.test";

/** Takes deliveries of a webhook that are due, so many at most. */
export function takeDeliveries(
  c: Pick<WebhookContext, "db">,
  orgId: string,
  webhookId: string,
  limit: number,
): Promise<ClaimedDelivery[]> {
  return inOrg(c.db.sweep, orgId, (tx) => claimDeliveries(tx, orgId, webhookId, { limit, leaseMs }));
}

/** Tries a delivery that was taken, and notes what it came to. True when it was sent. */
export async function tryDelivery(
  c: WebhookContext,
  orgId: string,
  webhook: Pick<WebhookRow, "webhookId" | "name" | "url" | "secrets">,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<boolean> {
  const outcome = await send(c, webhook, { id: delivery.eventId, body: delivery.body }, signal);
  const { tries, ageMs } = delivery;
  const after = afterTry(outcome, { tries, ageMs, random: Math.random() });
  const isSent = after.next === "sent";
  await inOrg(c.db.sweep, orgId, async (tx) => {
    const { webhookId } = webhook;
    // The webhook first: so several tries of one wait for each other, and never two for one another.
    const failingMs = isSent ? null : await noteFailed(tx, orgId, webhookId, outcome.error);
    const isBack = isSent && (await noteSent(tx, orgId, webhookId));
    await noteTry(tx, orgId, delivery, {
      ...outcome,
      state: isSent ? "sent" : after.next === "again" ? "pending" : "failed",
      inMs: after.next === "again" ? after.inMs : 0,
    });
    if (isBack) await hurryDeliveries(tx, orgId, webhookId);
    const isGone = outcome.status === gone;
    if (failingMs === null || (failingMs < turnOffMs && !isGone)) return;
    const disabledReason = isGone ? "it answered 410 Gone" : "it failed for three days";
    await updateWebhook(tx, orgId, webhookId, { isDisabled: true, disabledReason });
    await giveUpDeliveries(tx, orgId, webhookId, `the webhook was turned off: ${disabledReason}`);
    c.log.warn({ orgId, webhook: webhook.name, disabledReason }, "a webhook was turned off");
  });
  return isSent;
}

const gone = 410;

/** Sends one message. Never rejects, except when the signal is aborted. */
export async function send(
  c: WebhookContext,
  { url, secrets }: Pick<WebhookRow, "url" | "secrets">,
  { id, body }: { readonly id: string; readonly body: string },
  signal: AbortSignal,
): Promise<TryOutcome> {
  const sentAtMs = c.nowMs();
  const startedMs = performance.now();
  const took = () => Math.round(performance.now() - startedMs);
  const keys = secretsOf(c, secrets, sentAtMs);
  if (keys.length === 0)
    return { status: 0, error: "the coordinator has no secret for it: rotate it", tookMs: 0 };
  try {
    const { status } = await c.outbound.request({
      url,
      method: "POST",
      headers: {
        "content-type": "application/cloudevents+json; charset=utf-8",
        ...webhookHeaders(keys, { id, sentAtMs, body }),
      },
      body,
      timeoutMs: tryTimeoutMs,
      // What is answered is not read; more than a little is no answer to a webhook.
      maxBytes: 65_536,
      signal,
    });
    return { status, error: isTaken(status) ? "" : `it answered ${status}`, tookMs: took() };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OutboundError)) throw error;
    return { status: 0, error: error.message, tookMs: took() };
  }
}

/** What a test sends. */
export function testBody(orgId: string, id: string, at: Date, name: string): string {
  return cloudEvent(orgId, { id, type: testType, at, data: { webhook: name } });
}

function bodyOf(orgId: string, event: FeedEvent): string {
  const { jobId, workerId, batchId, state, attempt, queue, kind, project, sessionId, labels } = event;
  const facts = {
    jobId: jobId === null ? "" : encodeId("job", jobId),
    state: state === null ? "" : stateName(checkedState(state)),
    attempt: attempt === 0 ? "" : attempt,
    workerId: workerId === null ? "" : encodeId("worker", workerId),
    batchId: batchId === null ? "" : encodeId("batch", batchId),
    ...{ queue, kind, project, sessionId },
    labels: Object.keys(labels).length === 0 ? "" : labels,
  };
  const known = Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== ""));
  const { eventId: id, type, at } = event;
  const alertId = type.startsWith("alert.") ? event.data["alertId"] : undefined;
  const subject = String(known["jobId"] ?? known["workerId"] ?? known["project"] ?? alertId ?? "");
  return cloudEvent(orgId, { id, type, at, data: { ...known, ...event.data }, subject });
}

function cloudEvent(
  orgId: string,
  {
    id,
    type,
    at,
    data,
    subject = "",
  }: {
    readonly id: string;
    readonly type: string;
    readonly at: Date;
    readonly data: Readonly<Record<string, unknown>>;
    readonly subject?: string;
  },
): string {
  return JSON.stringify({
    ...{ specversion: "1.0", id, source: eventSource(orgId), type },
    ...(subject === "" ? {} : { subject }),
    ...{ time: at.toISOString(), datacontenttype: "application/json", data },
  });
}
