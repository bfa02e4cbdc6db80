import { reason as r } from "./reason-entry.ts";

/** The reasons of errors about what the coordinator sends out. */
export const outboundReasons = {
  WEBHOOK_BLOCKED: r(
    "invalid_argument",
    "The address may not be called.",
    "Give an https URL of a public host, or let the operator allow the host by MUSTER_OUTBOUND_ALLOW.",
  ),
};
