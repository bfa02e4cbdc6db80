import { outboundHttp } from "../outbound/outbound-http.ts";
import type { WebhookContext } from "./event-webhooks.ts";
import type { KeyContext } from "./keys.ts";

/** What webhooks are sent with: to public addresses, and to those that the configuration allows. */
export function createWebhookParts(keys: KeyContext): WebhookContext {
  const { config, log } = keys;
  const outbound = outboundHttp({
    allow: config.outboundAllow,
    blocked: (host, why) =>
      log.warn({ event: "WEBHOOK_BLOCKED", host, why }, "a call to an address was refused"),
  });
  return { ...keys, outbound };
}
