import type { readFailingChannels } from "../store/alert-channels.ts";
import type { readTroubledWebhooks } from "../store/event-webhooks.ts";
import { AttentionCause, type AttentionItem, AttentionSeverity } from "./rules/attention.ts";
import { shellWord } from "./rules/shell-words.ts";

/** Channels of alerts that messages do not get through: nobody else would tell. */
export function channelItems(rows: Awaited<ReturnType<typeof readFailingChannels>>): AttentionItem[] {
  return rows.map(({ name, type, failingSince, lastError, failures }) => ({
    id: `channel-failing channel:${name}`,
    cause: AttentionCause.channelFailing,
    severity: AttentionSeverity.critical,
    target: `channel:${name}`,
    summary: `Channel ${name} (${type}) takes no messages: ${lastError}${failures > 0 ? ` (${failures} tries)` : ""}`,
    effect:
      "Nobody is told by it: its alerts wait for up to three days, and one that it refused is not sent again",
    fix: "Check its address and its secret, then send it a test; what waits is sent once one message gets through",
    command: `muster channel test ${shellWord(name)}`,
    since: failingSince,
    jobs: 0,
    jobIds: [],
  }));
}

/** Webhooks that cannot be delivered to, and such as were turned off for it. */
export function webhookItems(
  rows: Awaited<ReturnType<typeof readTroubledWebhooks>>,
  now: Date,
): AttentionItem[] {
  return rows.map(({ name, isDisabled, disabledReason, failures, failingSince, lastError }) => ({
    id: `webhook-failing webhook:${name}`,
    cause: AttentionCause.webhookFailing,
    severity: isDisabled ? AttentionSeverity.critical : AttentionSeverity.warning,
    target: `webhook:${name}`,
    summary: isDisabled
      ? `Webhook ${name} was turned off: ${disabledReason}; last ${lastError} (${failures} tries)`
      : `Webhook ${name} takes no events: ${lastError} (${failures} tries)`,
    effect: isDisabled
      ? "Its service is told nothing until an operator turns it on; what it missed is not sent by itself"
      : "Each event is tried for a day; after three days of failures the webhook is turned off",
    fix: isDisabled
      ? "Look at its service, turn it on, then send what it missed: muster webhook replay"
      : "Look at its service, its address and its secret; what waits is sent by itself once one gets through",
    command: isDisabled
      ? `muster webhook edit ${shellWord(name)} --on`
      : `muster webhook test ${shellWord(name)}`,
    since: failingSince ?? now,
    jobs: 0,
    jobIds: [],
  }));
}
