import type { WebhookSecret } from "../domain/rules/event-webhooks.ts";
import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gt, sql } from "./drizzle.ts";
import type { FeedPlace } from "./event-feed.ts";
import { webhookDeliveries, webhooks } from "./schema-events.ts";
import { names } from "./statement.ts";

/** Deliveries that wait are counted up to so many. */
const mostCounted = 20_000;

const d = names(webhookDeliveries);
const w = names(webhooks);

const columns = {
  webhookId: webhooks.webhookId,
  name: webhooks.name,
  url: webhooks.url,
  filter: webhooks.filter,
  isDisabled: webhooks.isDisabled,
  disabledReason: webhooks.disabledReason,
  secrets: webhooks.secrets,
  cursorEpoch: webhooks.cursorEpoch,
  cursorXid: sql<string>`${webhooks.cursorXid}::text`,
  cursorN: webhooks.cursorN,
  cursorElement: webhooks.cursorElement,
  failures: webhooks.failures,
  failingSince: webhooks.failingSince,
  lastError: webhooks.lastError,
  lastSentAt: webhooks.lastSentAt,
  createdAt: webhooks.createdAt,
  pending: sql<number>`(select count(*)::int from (select from ${webhookDeliveries} d
    where d.${d.orgId} = ${webhooks}.${w.orgId} and d.${d.webhookId} = ${webhooks}.${w.webhookId} and d.${d.state} = 'pending'
    limit ${mostCounted}) p)`,
};

/** A webhook as it is read. */
export type WebhookRow = Awaited<ReturnType<typeof readWebhooks>>[number];

/** Webhooks by name, after one. */
export function readWebhooks(
  tx: Tx,
  orgId: string,
  { after, limit }: { readonly after: string; readonly limit: number },
) {
  return tx
    .select(columns)
    .from(webhooks)
    .where(and(eq(webhooks.orgId, orgId), gt(webhooks.name, after)))
    .orderBy(asc(webhooks.name))
    .limit(limit);
}

/** One, by its name; null when the org has none of it. */
export async function findWebhook(
  tx: Tx,
  orgId: string,
  name: string,
  options: { readonly isLocked?: boolean } = {},
): Promise<WebhookRow | null> {
  const found = tx
    .select(columns)
    .from(webhooks)
    .where(and(eq(webhooks.orgId, orgId), eq(webhooks.name, name)));
  const [row] = options.isLocked ? await found.for("update") : await found;
  return row ?? null;
}

/** Webhooks that are on, without locks; what waits is not counted. */
export function readLiveWebhooks(tx: Tx, orgId: string) {
  return tx
    .select({ ...columns, pending: sql<number>`0` })
    .from(webhooks)
    .where(and(eq(webhooks.orgId, orgId), eq(webhooks.isDisabled, false)))
    .orderBy(asc(webhooks.name));
}

/** Locks a webhook whose cursor is to move; null: somebody else moves it, or it is off. */
export async function lockCursor(tx: Tx, orgId: string, webhookId: string): Promise<WebhookRow | null> {
  const [row] = await tx
    .select(columns)
    .from(webhooks)
    .where(and(eq(webhooks.orgId, orgId), eq(webhooks.webhookId, webhookId), eq(webhooks.isDisabled, false)))
    .for("update", { skipLocked: true });
  return row ?? null;
}

/** Keeps a new one. False: its name is taken. */
export async function insertWebhook(tx: Tx, row: typeof webhooks.$inferInsert): Promise<boolean> {
  const made = await tx
    .insert(webhooks)
    .values(row)
    .onConflictDoNothing()
    .returning({ webhookId: webhooks.webhookId });
  return made.length > 0;
}

/** How many the org has. */
export async function countWebhooks(tx: Tx, orgId: string): Promise<number> {
  const [row] = await tx
    .select({ count: sql<number>`count(*)::int` })
    .from(webhooks)
    .where(eq(webhooks.orgId, orgId));
  return row?.count ?? 0;
}

/** What may be changed of one. */
export interface WebhookChange {
  readonly url?: string;
  readonly filter?: (typeof webhooks.$inferInsert)["filter"];
  readonly secrets?: readonly WebhookSecret[];
  readonly isDisabled?: boolean;
  readonly disabledReason?: string;
  readonly failures?: number;
  readonly failingSince?: null;
}

/** Changes one. */
export async function updateWebhook(
  tx: Tx,
  orgId: string,
  webhookId: string,
  change: WebhookChange,
): Promise<void> {
  if (Object.keys(change).length === 0) return;
  await tx.update(webhooks).set(change).where(of(orgId, webhookId));
}

/** Moves the cursor of one. */
export async function moveCursor(
  tx: Tx,
  orgId: string,
  webhookId: string,
  { epoch, place }: { readonly epoch: number; readonly place: FeedPlace },
): Promise<void> {
  await tx
    .update(webhooks)
    .set({
      cursorEpoch: epoch,
      cursorXid: String(place.xid),
      cursorN: place.n,
      cursorElement: place.element,
    })
    .where(of(orgId, webhookId));
}

/** Notes that a try succeeded. True when those before it did not. */
export async function noteSent(tx: Tx, orgId: string, webhookId: string): Promise<boolean> {
  const [row] = await tx
    .select({ failures: webhooks.failures })
    .from(webhooks)
    .where(of(orgId, webhookId))
    .for("update");
  await tx
    .update(webhooks)
    .set({ failures: 0, failingSince: null, lastError: "", lastSentAt: now })
    .where(of(orgId, webhookId));
  return (row?.failures ?? 0) > 0;
}

/** Notes that a try failed. Answers for how long all have; null: it is gone, or off. */
export async function noteFailed(
  tx: Tx,
  orgId: string,
  webhookId: string,
  error: string,
): Promise<number | null> {
  const [row] = await tx
    .update(webhooks)
    .set({
      failures: sql`${webhooks.failures} + 1`,
      failingSince: sql`coalesce(${webhooks.failingSince}, ${now})`,
      lastError: error,
    })
    .where(and(of(orgId, webhookId), eq(webhooks.isDisabled, false)))
    .returning({
      failingMs: sql<number>`(extract(epoch from ${now} - ${webhooks.failingSince}) * 1000)::float8`,
    });
  return row?.failingMs ?? null;
}

/** Removes one. */
export async function deleteWebhookRow(tx: Tx, orgId: string, webhookId: string): Promise<void> {
  await tx.delete(webhooks).where(of(orgId, webhookId));
}

/** Webhooks that fail, or that the server turned off. */
export function readTroubledWebhooks(tx: Tx, orgId: string, limit: number) {
  return tx
    .select({
      name: webhooks.name,
      isDisabled: webhooks.isDisabled,
      disabledReason: webhooks.disabledReason,
      failures: webhooks.failures,
      failingSince: webhooks.failingSince,
      lastError: webhooks.lastError,
    })
    .from(webhooks)
    .where(
      and(
        eq(webhooks.orgId, orgId),
        sql`(${webhooks.disabledReason} <> '' or (${webhooks.failingSince} is not null and not ${webhooks.isDisabled}))`,
      ),
    )
    .orderBy(asc(webhooks.name))
    .limit(limit);
}

function of(orgId: string, webhookId: string) {
  return and(eq(webhooks.orgId, orgId), eq(webhooks.webhookId, webhookId));
}
