import { randomBytes } from "node:crypto";
import { OutboundError, type OutboundHttp } from "../outbound/outbound-http.ts";
import { inOrg, type Tx } from "../store/database.ts";
import { type FeedPlace, readEnd } from "../store/event-feed.ts";
import {
  countWebhooks,
  deleteWebhookRow,
  findWebhook,
  insertWebhook,
  moveCursor,
  readWebhooks,
  updateWebhook,
  type WebhookChange,
  type WebhookRow,
} from "../store/event-webhooks.ts";
import { readClock } from "../store/explain.ts";
import { readOrg } from "../store/snapshot.ts";
import { deleteDeliveries, giveUpDeliveries } from "../store/webhook-deliveries.ts";
import { audit } from "./audit.ts";
import type { Caller } from "./context.ts";
import { alreadyExists, DomainError, invalidArgument, notFound, type Violation } from "./errors.ts";
import { writePlace } from "./event-feed.ts";
import { encodeId } from "./ids.ts";
import type { KeyContext } from "./keys.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import type { EventFilter } from "./rules/event-filter.ts";
import {
  rotatedSecrets,
  signingSecrets,
  type WebhookSecret,
  webhookSecretOf,
} from "./rules/event-webhooks.ts";
import { pepperVersion } from "./rules/keys.ts";
import { nameViolations, slugRule, textViolations } from "./rules/texts.ts";

/** What verbs about webhooks work with. */
export interface WebhookContext extends KeyContext {
  readonly outbound: OutboundHttp;
}

/** An address that events are sent to; never its secret. */
export interface WebhookView
  extends Omit<
    WebhookRow,
    "webhookId" | "secrets" | "cursorEpoch" | "cursorXid" | "cursorN" | "cursorElement"
  > {
  /** Up to where of the feed deliveries were made. */
  readonly revision: string;
  /** When the last secret before the present one ends; null: there is none. */
  readonly previousSecretEndsAt: Date | null;
}

/** What a webhook is to be. */
export interface NewWebhook {
  readonly name: string;
  readonly url: string;
  readonly filter: EventFilter;
  readonly isDisabled: boolean;
}

/** Webhooks that an org has at most: each reads the feed. */
const mostWebhooks = 50;

/** Makes a webhook, which is told what happens from now on. Answers with its secret: here alone. */
export async function createWebhook(
  c: WebhookContext,
  caller: Caller,
  { name, url, filter, isDisabled }: NewWebhook,
  signal: AbortSignal,
): Promise<{ readonly webhook: WebhookView; readonly secret: string }> {
  const violations = [...nameViolations("webhook.name", name, slugRule)];
  await checkUrl(c, violations, "webhook.url", url, signal);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const secret = newSecret(c);
  return inOrg(c.db.app, orgId, async (tx) => {
    if ((await countWebhooks(tx, orgId)) >= mostWebhooks) {
      throw new DomainError("WEBHOOKS_EXHAUSTED", { details: { most: String(mostWebhooks) } });
    }
    const { epoch, end } = await readEnd(tx);
    const webhookId = c.newId();
    const isNew = await insertWebhook(tx, {
      ...{ orgId, webhookId, name, url, filter, isDisabled, secrets: [secret] },
      ...{ cursorEpoch: epoch, cursorXid: String(end.xid), cursorN: end.n, cursorElement: end.element },
    });
    if (!isNew) throw alreadyExists("WEBHOOK_EXISTS", { name });
    await audit(tx, c, caller, {
      action: "webhook.create",
      target: name,
      details: { url, filter, isDisabled },
    });
    return { webhook: await view(tx, orgId, name), secret: webhookSecretOf(c.pepper, secret) };
  });
}

/** Lists webhooks by name. */
export async function listWebhooks(
  c: Pick<KeyContext, "db">,
  { orgId }: Pick<Caller, "orgId">,
  page: PageRequest,
): Promise<Page<WebhookView>> {
  const identity: ListIdentity = { list: "webhooks", orgId };
  const limit = pageRows(page);
  const [after = ""] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const rows = await readOrg(c.db.app, orgId, (tx) => readWebhooks(tx, orgId, { after, limit: limit + 1 }));
  return pageOf(rows, limit, identity, ({ name }) => [name], viewOf);
}

/** Reads one. */
export function getWebhook(c: Pick<KeyContext, "db">, { orgId }: Pick<Caller, "orgId">, name: string) {
  return readOrg(c.db.app, orgId, (tx) => view(tx, orgId, name));
}

/** What may be changed of a webhook; what is undefined stays. */
export interface WebhookEdit {
  readonly name: string;
  readonly url: string | undefined;
  readonly filter: EventFilter | undefined;
  readonly isDisabled: boolean | undefined;
  readonly reason: string;
}

/**
 * Changes a webhook. Turned off, it is told nothing, and what waits for it is given up; turned on again, it goes on
 * from now: what it was not told can be replayed.
 */
export async function editWebhook(
  c: WebhookContext,
  caller: Caller,
  { name, url, filter, isDisabled, reason }: WebhookEdit,
  signal: AbortSignal,
): Promise<WebhookView> {
  const violations: Violation[] = reasonViolations(reason);
  if (url !== undefined) await checkUrl(c, violations, "url", url, signal);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const before = await locked(tx, orgId, name);
    const { webhookId } = before;
    const change: WebhookChange = {
      ...(url === undefined ? {} : { url }),
      ...(filter === undefined ? {} : { filter }),
      ...(isDisabled === undefined ? {} : { isDisabled, disabledReason: "" }),
    };
    await updateWebhook(tx, orgId, webhookId, change);
    if (isDisabled === true && !before.isDisabled) await giveUpDeliveries(tx, orgId, webhookId, turnedOff);
    if (isDisabled === false && before.isDisabled) {
      const { epoch, end } = await readEnd(tx);
      await moveCursor(tx, orgId, webhookId, { epoch, place: end });
      // The first try that fails again is no reason to turn it off at once.
      await updateWebhook(tx, orgId, webhookId, { failures: 0, failingSince: null });
    }
    const details = { ...change, before: { url: before.url, isDisabled: before.isDisabled } };
    await audit(tx, c, caller, { action: "webhook.update", target: name, reason, details });
    return view(tx, orgId, name);
  });
}

/** What is said of deliveries that a webhook was turned off with. */
export const turnedOff = "the webhook was turned off";

/** Removes a webhook and its deliveries. */
export async function deleteWebhook(
  c: Pick<KeyContext, "db" | "newId">,
  caller: Caller,
  { name, reason }: { readonly name: string; readonly reason: string },
): Promise<void> {
  const violations = reasonViolations(reason);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  await inOrg(c.db.app, orgId, async (tx) => {
    const { webhookId, url } = await locked(tx, orgId, name);
    await deleteWebhookRow(tx, orgId, webhookId);
    await deleteDeliveries(tx, orgId, webhookId);
    await audit(tx, c, caller, { action: "webhook.delete", target: name, reason, details: { url } });
  });
}

/** Gives a webhook another secret; the one before signs, too, for so long. */
export async function rotateWebhookSecret(
  c: WebhookContext,
  caller: Caller,
  { name, overlapMs, reason }: { readonly name: string; readonly overlapMs: number; readonly reason: string },
): Promise<{ readonly webhook: WebhookView; readonly secret: string }> {
  const violations = reasonViolations(reason);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const { webhookId, secrets } = await locked(tx, orgId, name);
    const next = newSecret(c);
    const nowMs = (await readClock(tx)).getTime();
    await updateWebhook(tx, orgId, webhookId, {
      secrets: rotatedSecrets(secrets, next, { nowMs, overlapMs }),
    });
    await audit(tx, c, caller, { action: "webhook.rotate", target: name, reason, details: { overlapMs } });
    return { webhook: await view(tx, orgId, name), secret: webhookSecretOf(c.pepper, next) };
  });
}

/** The secrets that a message of a webhook is signed with now; none: those that they derive from were dropped. */
export function secretsOf(
  { pepper, olderPeppers }: Pick<KeyContext, "pepper" | "olderPeppers">,
  secrets: readonly WebhookSecret[],
  nowMs: number,
): string[] {
  const peppers = new Map([...olderPeppers, pepper].map((one) => [pepperVersion(one), one]));
  return signingSecrets(secrets, nowMs).flatMap((secret) => {
    const of = peppers.get(secret.pepper);
    return of === undefined ? [] : [webhookSecretOf(of, secret)];
  });
}

/** A webhook of the org, locked. */
export async function locked(tx: Tx, orgId: string, name: string): Promise<WebhookRow> {
  const row = await findWebhook(tx, orgId, name, { isLocked: true });
  if (row === null) throw notFound("WEBHOOK_NOT_FOUND", name);
  return row;
}

/** Where the cursor of a webhook stands. */
export function cursorOf(row: WebhookRow): { readonly epoch: number; readonly place: FeedPlace } {
  const { cursorEpoch, cursorXid, cursorN, cursorElement } = row;
  return { epoch: cursorEpoch, place: { xid: BigInt(cursorXid), n: cursorN, element: cursorElement } };
}

/** What is wrong with a reason. */
export function reasonViolations(reason: string): Violation[] {
  return textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
}

function newSecret({ pepper }: Pick<KeyContext, "pepper">): WebhookSecret {
  return { seed: randomBytes(32).toString("base64url"), pepper: pepperVersion(pepper), endsMs: null };
}

async function checkUrl(
  { outbound }: WebhookContext,
  violations: Violation[],
  field: string,
  url: string,
  signal: AbortSignal,
): Promise<void> {
  const wrong = textViolations(field, url, { min: 1, max: 2_000 });
  violations.push(...wrong);
  if (wrong.length > 0) return;
  try {
    await outbound.check(url, signal);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    const message = error.message.replace(/^the address /, "");
    if (error.reason === "WEBHOOK_BLOCKED") violations.push({ field, message, reason: "WEBHOOK_BLOCKED" });
  }
}

async function view(tx: Tx, orgId: string, name: string): Promise<WebhookView> {
  const row = await findWebhook(tx, orgId, name);
  if (row === null) throw notFound("WEBHOOK_NOT_FOUND", name);
  return viewOf(row);
}

function viewOf(row: WebhookRow): WebhookView {
  const { webhookId: _, secrets, cursorEpoch, cursorXid, cursorN, cursorElement, ...rest } = row;
  const endsMs = Math.max(0, ...secrets.map((one) => one.endsMs ?? 0));
  const { epoch, place } = cursorOf(row);
  return {
    ...rest,
    revision: writePlace(epoch, place),
    previousSecretEndsAt: endsMs === 0 ? null : new Date(endsMs),
  };
}

/** The source of events of an org, as CloudEvents name it. */
export function eventSource(orgId: string): string {
  return `/muster/orgs/${encodeId("org", orgId)}`;
}
