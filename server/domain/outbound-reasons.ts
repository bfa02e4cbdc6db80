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
};
