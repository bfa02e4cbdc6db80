import { createHmac, timingSafeEqual } from "node:crypto";
import type { Caller } from "./context.ts";
import { DomainError } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type PullRequestContext, setPullRequestState } from "./pull-requests.ts";
import type { PullRequestState } from "./rules/pull-requests.ts";

/** All webhooks of GitHub are below it, one an org. */
export const githubWebhookPath = "/webhooks/github/";

/** What the secrets of webhooks derive from, made from the coordinator's secret. */
export function deriveWebhookKey(secret: string): Buffer {
  return createHmac("sha256", secret).update("muster github webhooks").digest();
}

/** Where an org's events are sent, and the secret that they are signed with: the same on every coordinator. */
export function githubWebhook(
  key: Uint8Array,
  orgId: string,
): { readonly path: string; readonly secret: string } {
  const org = encodeId("org", orgId);
  return { path: `${githubWebhookPath}${org}`, secret: createHmac("sha256", key).update(org).digest("hex") };
}

/** Whether a body was signed with the org's secret: `sha256=` and the HMAC in hex. Takes the same time either way. */
export function isSignedByGithub(
  key: Uint8Array,
  orgId: string,
  { body, signature }: { readonly body: Uint8Array; readonly signature: string },
): boolean {
  const { secret } = githubWebhook(key, orgId);
  const right = Buffer.from(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
  const given = Buffer.from(signature);
  return given.length === right.length && timingSafeEqual(given, right);
}

/** What an event came to: it changed something, said nothing new, or is none that matters here. */
export type EventOutcome = "changed" | "unchanged" | "ignored";

/**
 * Applies an event of GitHub whose signature was right. Pull requests that no result has named, and other events, are
 * ignored. A delivery may come again, and late: it then changes nothing.
 */
export async function applyGithubEvent(
  c: PullRequestContext,
  orgId: string,
  {
    event,
    deliveryId,
    payload,
  }: { readonly event: string; readonly deliveryId: string; readonly payload: unknown },
): Promise<EventOutcome> {
  if (event !== "pull_request") return "ignored";
  const said = saidOfPullRequest(payload);
  if (said === null) return "ignored";
  const caller: Caller = {
    orgId,
    actor: "webhook:github",
    type: "api",
    keyId: "",
    workerId: null,
    scopes: ["operate"],
    requestId: deliveryId,
  };
  try {
    const { isChanged } = await setPullRequestState(c, caller, { ...said, reason: "" });
    return isChanged ? "changed" : "unchanged";
  } catch (error) {
    // Pull requests of people, or a URL that is none.
    if (error instanceof DomainError && isNotOurs(error)) return "ignored";
    throw error;
  }
}

interface Said {
  readonly url: string;
  readonly state: PullRequestState;
  readonly saidAt: Date | null;
  readonly author: string | null;
}

function saidOfPullRequest(payload: unknown): Said | null {
  const action = memberOf(payload, "action");
  const pull = memberOf(payload, "pull_request");
  const url = memberOf(pull, "html_url");
  if (typeof url !== "string") return null;
  const updated = new Date(String(memberOf(pull, "updated_at")));
  const saidAt = Number.isNaN(updated.getTime()) ? null : updated;
  const login = memberOf(memberOf(pull, "user"), "login");
  const author = typeof login === "string" && /^[\w[\]-]{1,100}$/.test(login) ? login : null;
  // The first event of all: it says who, and where it stands until a later one says otherwise.
  if (action === "opened" || action === "reopened") return { url, state: "open", saidAt, author };
  if (action !== "closed") return null;
  return { url, state: memberOf(pull, "merged") === true ? "merged" : "closed", saidAt, author };
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function isNotOurs({ reason }: DomainError): boolean {
  return reason === "PULL_REQUEST_NOT_FOUND" || reason === "VALIDATION_FAILED";
}
