import { reason as r } from "./reason-entry.ts";

/** The reasons of errors about what the coordinator sends out. */
export const outboundReasons = {
  WEBHOOK_BLOCKED: r(
    "invalid_argument",
    "The address may not be called.",
    "Give an https URL of a public host, or let the operator allow the host by MUSTER_OUTBOUND_ALLOW.",
  ),
  ALERT_RULE_NOT_FOUND: r("not_found", "There is no such alert rule.", "List them with `muster alert list`."),
  ALERT_CHANNEL_NOT_FOUND: r(
    "not_found",
    "There is no such alert channel.",
    "List them with `muster channel list`.",
  ),
  ALERT_SILENCE_NOT_FOUND: r(
    "not_found",
    "There is no such silence.",
    "List them with `muster alert silences`.",
  ),
  ALERT_CHANNEL_USED: r(
    "failed_precondition",
    "Rules send to the channel.",
    "Take it from the rules that are named first.",
  ),
  ALERTS_FULL: r(
    "failed_precondition",
    "The org has as many alert rules or channels as it may.",
    "Delete some that are not used any more.",
  ),
  WEBHOOK_NOT_FOUND: r("not_found", "There is no such webhook.", "List them with `muster webhook list`."),
  DELIVERY_NOT_FOUND: r(
    "not_found",
    "The webhook has no such delivery.",
    "List them with `muster webhook deliveries`; they are kept for 7 days.",
  ),
  WEBHOOK_EXISTS: r(
    "already_exists",
    "There is a webhook of that name.",
    "Change it with `muster webhook edit`, or take another name.",
  ),
  WEBHOOK_OFF: r(
    "failed_precondition",
    "The webhook is off.",
    "Turn it on with `muster webhook edit --on`, then replay.",
  ),
  WEBHOOKS_EXHAUSTED: r(
    "resource_exhausted",
    "The org has as many webhooks as it may have.",
    "Remove one, or let one webhook take more types of events.",
  ),
};
