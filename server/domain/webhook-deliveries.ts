import { inOrg } from "../store/database.ts";
import { type FeedPlace, findPlace, isAfter } from "../store/event-feed.ts";
import { findWebhook, moveCursor } from "../store/event-webhooks.ts";
import { readOrg } from "../store/snapshot.ts";
import {
  beginAgain,
  type DeliveryRow,
  type DeliveryState,
  findDelivery,
  readDeliveries,
} from "../store/webhook-deliveries.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { failedPrecondition, invalidArgument, notFound, type Violation } from "./errors.ts";
import { readFeedPlace } from "./event-feed.ts";
import { cursorOf, locked, reasonViolations, type WebhookContext } from "./event-webhooks.ts";
import { encodeId } from "./ids.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
import type { TryOutcome } from "./rules/event-webhooks.ts";
import { send, testBody } from "./webhook-sends.ts";

/** Lists deliveries of a webhook, newest first. */
export function listDeliveries(
  c: Pick<WebhookContext, "db">,
  { orgId }: Pick<Caller, "orgId">,
  { name, state, ...page }: PageRequest & { readonly name: string; readonly state: DeliveryState | null },
): Promise<Page<DeliveryRow>> {
  const identity: ListIdentity = { list: "webhook-deliveries", orgId, filter: [name, state] };
  const limit = pageRows(page, { most: 500 });
  const [before = null] = readPageToken(identity, page, [uuidForm]) ?? [];
  return readOrg(c.db.app, orgId, async (tx) => {
    const webhook = await findWebhook(tx, orgId, name);
    if (webhook === null) throw notFound("WEBHOOK_NOT_FOUND", name);
    const rows = await readDeliveries(tx, orgId, webhook.webhookId, { state, before, limit: limit + 1 });
    return pageOf(
      rows,
      limit,
      identity,
      ({ deliveryId }) => [deliveryId],
      (row) => row,
    );
  });
}

/** What is to be sent again: one delivery, or all of a time. */
export interface Replay {
  readonly name: string;
  readonly deliveryId: string | null;
  readonly revision: string;
  readonly since: Date | null;
  readonly isFailedOnly: boolean;
  readonly reason: string;
}

/** Deliveries that one replay begins again at most. */
const mostReplayed = 10_000;

/**
 * Sends deliveries again, with the same ids. Of a range also what is in the feed and was never sent, as while the
 * webhook was off: its cursor goes back, and what it has already is not written again.
 */
export async function replayDeliveries(
  c: Pick<WebhookContext, "db" | "newId">,
  caller: Caller,
  { name, deliveryId, revision, since, isFailedOnly, reason }: Replay,
): Promise<{ readonly deliveries: number; readonly isMore: boolean }> {
  const violations: Violation[] = reasonViolations(reason);
  const given = [deliveryId !== null, revision !== "", since !== null].filter(Boolean).length;
  const after = revision === "" ? null : readFeedPlace(revision);
  if (given !== 1)
    violations.push({ field: "since", message: "or deliveryId or revision: give one of the three" });
  if (revision !== "" && after === null)
    violations.push({ field: "revision", message: "is not one that was answered" });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const webhook = await locked(tx, orgId, name);
    const { webhookId } = webhook;
    if (deliveryId !== null && (await findDelivery(tx, orgId, webhookId, deliveryId)) === null)
      throw notFound("DELIVERY_NOT_FOUND", encodeId("delivery", deliveryId));
    if (webhook.isDisabled) throw failedPrecondition("WEBHOOK_OFF", { name });
    const choice = { deliveryId, since, isFailedOnly, after: after?.place ?? null };
    const deliveries = await beginAgain(tx, orgId, webhookId, choice, mostReplayed);
    const cursor = cursorOf(webhook);
    let from: FeedPlace | null = null;
    if (after !== null && after.epoch === cursor.epoch) from = after.place;
    if (since !== null) from = (await findPlace(tx, orgId, since)).end;
    if (from !== null && !isFailedOnly && isAfter(cursor.place, from))
      await moveCursor(tx, orgId, webhookId, { epoch: cursor.epoch, place: from });
    const target = deliveryId === null ? name : encodeId("delivery", deliveryId);
    const details = { webhook: name, revision, since: since?.toISOString() ?? "", isFailedOnly, deliveries };
    await audit(tx, c, caller, { action: "webhook.replay", target, reason, details });
    return { deliveries, isMore: deliveries === mostReplayed };
  });
}

/** Sends a test to a webhook, once, also where it is off. */
export async function testWebhook(
  c: WebhookContext,
  caller: Caller,
  name: string,
  signal: AbortSignal,
): Promise<TryOutcome & { readonly body: string }> {
  const { orgId } = caller;
  const id = `test.${c.newId()}`;
  const webhook = await inOrg(c.db.app, orgId, async (tx) => {
    const row = await locked(tx, orgId, name);
    await audit(tx, c, caller, { action: "webhook.test", target: name, details: { eventId: id } });
    return row;
  });
  const body = testBody(orgId, id, new Date(c.nowMs()), name);
  return { ...(await send(c, webhook, { id, body }, signal)), body };
}
