import { createMailer } from "../outbound/mail.ts";
import { outboundHttp } from "../outbound/outbound-http.ts";
import type { ChannelParts } from "./alert-channels.ts";
import type { AlertSources } from "./alert-sources.ts";
import { createAttentionReader } from "./attention.ts";
import type { Coordinator } from "./context.ts";
import { deriveSealKeys } from "./rules/sealed-secrets.ts";

/** What alerts go out by: as the configuration says. `secrets` are those of the coordinator, newest first. */
export function createAlertParts(
  { db, config, counters, log }: Pick<Coordinator, "db" | "config" | "counters" | "log">,
  secrets: readonly [string, ...string[]],
): ChannelParts & AlertSources {
  const { outboundAllow, smtpUrl, sendgridKey, sendgridUrl, mailFrom } = config;
  return {
    attention: createAttentionReader({ db, config }),
    http: outboundHttp({
      allow: outboundAllow,
      blocked(host, why) {
        counters.add("muster_webhooks_blocked_total", {});
        log.warn({ event: "WEBHOOK_BLOCKED", host, why }, "a call to an address was refused");
      },
    }),
    mailer: createMailer({ smtpUrl, sendgridKey, sendgridUrl, from: mailFrom }),
    sealKeys: deriveSealKeys(secrets, "alert channels"),
  };
}
