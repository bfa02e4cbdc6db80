import { digestPayload, readPayload } from "../domain/built-in-kinds.ts";
import type { Maintenance } from "../domain/maintenance.ts";
import { MailError } from "../outbound/mail.ts";
import type { KindContext, KindParts } from "./context.ts";

/**
 * The built-in kind `report.digest`, payload `{ "to": ["ada@example.com"], "period"?: "day" | "week", "zone"?: string }`:
 * e-mails what ended, died and was opened as a pull request, and by whom, in the day or the week that ended last in the
 * zone. Meant for 08:00 of that zone, each day or on Monday. A repetition has the same message id.
 */
export function digest(
  parts: KindParts & { readonly maintenance: Pick<Maintenance, "digest"> },
): (ctx: KindContext) => Promise<{ readonly subject: string; readonly to: number }> {
  return async (ctx) => {
    const { to, period, zone } = readPayload("report.digest", digestPayload, ctx.payload, parts.failure);
    const messageId = `digest-${ctx.idempotencyKey.replaceAll(/[^\w-]/g, "-").slice(0, 100)}`;
    try {
      const { subject } = await parts.maintenance.digest({ period, zone, to, messageId });
      return { subject, to: to.length };
    } catch (error) {
      if (error instanceof MailError && error.isFinal) throw parts.failure(error.message, "MAIL_REFUSED");
      throw error;
    }
  };
}
