import { createHmac } from "node:crypto";
import { type Backoff, backoffDelayMs } from "./backoff.ts";
import { webhookSecretPrefix } from "./webhook-signatures.ts";

/** What a secret of a webhook derives from, as it is kept: of no use without the coordinator's own secret. */
export interface WebhookSecret {
  /** 32 random bytes in base64url. */
  readonly seed: string;
  /** The version of the pepper that it goes with. */
  readonly pepper: string;
  /** Milliseconds since 1970 after which it does not sign any more; null: it is the present one. */
  readonly endsMs: number | null;
}

/** Secrets that a webhook has at most: rotations that overlap. */
export const mostSecrets = 4;

/** The secret of a webhook, `whsec_…`. */
export function webhookSecretOf(pepper: Uint8Array, { seed }: Pick<WebhookSecret, "seed">): string {
  const bytes = createHmac("sha256", pepper).update(`event webhook ${seed}`).digest("base64");
  return `${webhookSecretPrefix}${bytes}`;
}

/** The secrets after a rotation: what signed before does so until then. */
export function rotatedSecrets(
  before: readonly WebhookSecret[],
  next: Omit<WebhookSecret, "endsMs">,
  { nowMs, overlapMs }: { readonly nowMs: number; readonly overlapMs: number },
): WebhookSecret[] {
  const endsMs = nowMs + overlapMs;
  const older = before
    .map((one) => ({ ...one, endsMs: Math.min(one.endsMs ?? endsMs, endsMs) }))
    .filter((one) => one.endsMs > nowMs);
  return [{ ...next, endsMs: null }, ...older].slice(0, mostSecrets);
}

/** The secrets that sign now, the present one first. */
export function signingSecrets(secrets: readonly WebhookSecret[], nowMs: number): readonly WebhookSecret[] {
  return secrets.filter(({ endsMs }) => endsMs === null || endsMs > nowMs);
}

/** Between tries of one delivery: 5 s, 20 s, 80 s, 5 min, 21 min, then an hour. */
const backoff: Backoff = { initialMs: 5_000, factor: 4, maxMs: 3_600_000 };

/** Age at which a delivery that fails is given up: the tries of a bit more than a day. */
export const giveUpMs = 26 * 3_600_000;

/** A webhook that fails for so long is turned off. */
export const turnOffMs = 3 * 24 * 3_600_000;

/** How long deliveries are kept for people, and for a replay. */
export const keepDeliveriesMs = 7 * 24 * 3_600_000;

/** Deliveries of one webhook that wait at most; then the feed waits for it. */
export const mostPending = 20_000;

/** For how long the feed waits for a webhook; what is older then is told as missed. */
export const mostBehindMs = 24 * 3_600_000;

/** What a try came to. */
export interface TryOutcome {
  /** 0: no answer came. */
  readonly status: number;
  /** Empty: it succeeded. */
  readonly error: string;
  readonly tookMs: number;
}

/** What is to be done after a try. */
export type AfterTry =
  | { readonly next: "sent" }
  | { readonly next: "again"; readonly inMs: number }
  | { readonly next: "given-up" };

/** Whether a status says that the delivery was taken. */
export function isTaken(status: number): boolean {
  return status >= 200 && status <= 299;
}

/** Decides what follows a try, by its outcome, the tries so far and the age of the delivery. */
export function afterTry(
  { status, error }: TryOutcome,
  { tries, ageMs, random }: { readonly tries: number; readonly ageMs: number; readonly random: number },
): AfterTry {
  if (error === "" && isTaken(status)) return { next: "sent" };
  if (ageMs >= giveUpMs && tries >= 3) return { next: "given-up" };
  return { next: "again", inMs: backoffDelayMs(tries, backoff, random) };
}
