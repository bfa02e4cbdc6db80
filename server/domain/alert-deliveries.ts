import { type ClaimedDelivery, claimDeliveries, noteFailed, noteSent } from "../store/alert-work.ts";
import { inOrg } from "../store/database.ts";
import { type ChannelParts, openTarget } from "./alert-channels.ts";
import { type Sent, sendMessage } from "./alert-sending.ts";
import type { Coordinator } from "./context.ts";
import { encodeId } from "./ids.ts";
import { backoffMs, maxDeliveryAgeMs } from "./rules/alert-backoff.ts";
import type { AlertMessage } from "./rules/alert-texts.ts";

/** Messages that are sent at the same time for one org. */
const atOnce = 5;
/** Who takes a message and is gone leaves it to others after this: longer than a sending may take. */
const leaseMs = 60_000;

/**
 * Sends the messages of an org that are due, until none is. Each is taken by one coordinator at a time; one that dies
 * in the middle leaves it to be sent again, with the same id. What a channel that fails is owed waits for it; what it
 * refuses for good is given up, and the others do not wait.
 */
export async function deliverAlerts(
  c: Coordinator & ChannelParts,
  orgId: string,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const claimed = await inOrg(c.db.sweep, orgId, (tx) =>
      claimDeliveries(tx, orgId, { limit: atOnce, leaseMs }),
    );
    if (claimed.length === 0) return;
    await Promise.all(claimed.map((one) => deliver(c, orgId, one, signal)));
  }
}

async function deliver(
  c: Coordinator & ChannelParts,
  orgId: string,
  delivery: ClaimedDelivery,
  signal: AbortSignal,
): Promise<void> {
  const { deliveryId, channel, ageMs } = delivery;
  const sent = await send(c, orgId, delivery, signal);
  // What was cut off by our own stop is nobody's fault: its time comes again.
  if (signal.aborted && sent.error !== "") return;
  const isFinal = sent.error !== "" && (sent.isFinal || ageMs > maxDeliveryAgeMs);
  c.counters.add("muster_alert_deliveries_total", {
    outcome: sent.error === "" ? "sent" : isFinal ? "failed" : "again",
  });
  await inOrg(c.db.sweep, orgId, (tx) => {
    if (sent.error === "") return noteSent(tx, orgId, deliveryId, channel);
    return noteFailed(tx, orgId, {
      ...{ deliveryId, channel, error: sent.error, isFinal },
      isRefused: sent.isFinal,
      inMs: sent.retryAfterMs ?? backoffMs(delivery.failures, c.random()),
    });
  });
}

async function send(
  c: Coordinator & ChannelParts,
  orgId: string,
  { deliveryId, channel, type, target, secret, message }: ClaimedDelivery,
  signal: AbortSignal,
): Promise<Sent> {
  const opened = openTarget(c.sealKeys, orgId, { name: channel, type, target, secret });
  if (opened === null) {
    return {
      error: "its secret was sealed by another secret of the coordinator",
      isFinal: false,
      retryAfterMs: null,
    };
  }
  const messageId = encodeId("alertDelivery", deliveryId);
  return sendMessage(c, { target: opened, message: asMessage(message), messageId, signal });
}

// Written by the evaluation alone.
function asMessage(value: Record<string, unknown>): AlertMessage {
  return value as unknown as AlertMessage;
}
