import { createHmac, timingSafeEqual } from "node:crypto";

/** How far the time of a message may be from the receiver's, either way. */
export const webhookToleranceMs = 5 * 60_000;

/** A message that was not signed by the secret, or not now. Answer it with 401, or 400. */
export class WebhookVerificationError extends Error {
  override readonly name = "WebhookVerificationError";
  readonly why: "headers" | "time" | "signature" | "secret";

  constructor(why: WebhookVerificationError["why"], message: string) {
    super(message);
    this.why = why;
  }
}

/** The headers of a request: of `fetch`, or of Node's `request.headers`. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | readonly string[] | undefined>>;

/** What a verified message is: `id` is the same each time that it is sent, so keep it to know what came already. */
export interface VerifiedWebhook {
  readonly id: string;
  readonly sentAt: Date;
}

/**
 * Verifies a message by Standard Webhooks, as Muster signs its alerts and events. `body` is what came over the wire,
 * before it is parsed. `secrets`: the secret `whsec_…` of the channel; two of them while it is changed. Throws
 * `WebhookVerificationError` for a wrong signature, and for a time that is more than five minutes off.
 */
export function verifyWebhook(
  secrets: string | readonly string[],
  message: { readonly headers: WebhookHeaders; readonly body: string | Uint8Array },
  nowMs: number = Date.now(),
): VerifiedWebhook {
  const keys = [secrets].flat().map(keyOf);
  const id = headerOf(message.headers, "webhook-id");
  const timestamp = headerOf(message.headers, "webhook-timestamp");
  const signatures = headerOf(message.headers, "webhook-signature").split(" ");
  if (id === "" || !/^\d{1,12}$/.test(timestamp) || keys.length === 0) {
    throw new WebhookVerificationError("headers", "the headers of a webhook are missing");
  }
  const sentAtMs = Number(timestamp) * 1_000;
  if (Math.abs(nowMs - sentAtMs) > webhookToleranceMs) {
    throw new WebhookVerificationError("time", "the message was sent too long ago, or is of the future");
  }
  const right = keys.map((key) =>
    createHmac("sha256", key).update(`${id}.${timestamp}.`).update(message.body).digest(),
  );
  // At most ten are looked at: a longer list is nobody's rotation.
  const isSigned = signatures.slice(0, 10).some((signature) => {
    const given = Buffer.from(signature.startsWith("v1,") ? signature.slice(3) : "", "base64");
    return right.some((one) => one.length === given.length && timingSafeEqual(one, given));
  });
  if (!isSigned) throw new WebhookVerificationError("signature", "the signature is not of this secret");
  return { id, sentAt: new Date(sentAtMs) };
}

function keyOf(secret: string): Buffer {
  const key = Buffer.from(secret.startsWith("whsec_") ? secret.slice(6) : "", "base64");
  if (key.length < 24) {
    throw new WebhookVerificationError("secret", "a secret is `whsec_` and base64 of 24 bytes or more");
  }
  return key;
}

function headerOf(headers: WebhookHeaders, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : (headers[name] ?? "");
  return typeof value === "string" ? value : (value?.[0] ?? "");
}
