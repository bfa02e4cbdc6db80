import { createHmac, randomBytes } from "node:crypto";

/** What the secrets of webhooks begin with; base64 of their bytes follows. */
export const webhookSecretPrefix = "whsec_";

/** A secret has at least so many bytes, and at most 64. */
export const webhookSecretMinBytes = 24;

/** A message that is signed: the id stays the same however often it is sent, the time is that of this sending. */
export interface SignedMessage {
  readonly id: string;
  /** Milliseconds since 1970; seconds are signed. */
  readonly sentAtMs: number;
  readonly body: string;
}

/** A new secret of 32 random bytes. */
export function newWebhookSecret(): string {
  return `${webhookSecretPrefix}${randomBytes(32).toString("base64")}`;
}

/** The bytes of a secret `whsec_<base64>` of 24 to 64 bytes; null if it is none. */
export function webhookSecretBytes(secret: string): Buffer | null {
  const text = secret.startsWith(webhookSecretPrefix) ? secret.slice(webhookSecretPrefix.length) : "";
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.length >= webhookSecretMinBytes && bytes.length <= 64 ? bytes : null;
}

/**
 * The headers of a message by Standard Webhooks: `webhook-id`, `webhook-timestamp` in seconds, and
 * `webhook-signature`, `v1,<base64>` apart by spaces, one of each secret: while a secret is changed, both sign.
 * Receivers verify with `@muster/client/webhooks`. Throws for a secret that is none.
 */
export function webhookHeaders(
  secrets: readonly string[],
  { id, sentAtMs, body }: SignedMessage,
): Record<"webhook-id" | "webhook-timestamp" | "webhook-signature", string> {
  const timestamp = String(Math.floor(sentAtMs / 1_000));
  const signatures = secrets.map((secret) => {
    const key = webhookSecretBytes(secret);
    if (key === null) throw new Error("a secret of a webhook is not of its form");
    return `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`;
  });
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures.join(" ") };
}
