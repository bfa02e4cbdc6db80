import { now } from "./columns.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, inArray, lt, lte, sql } from "./drizzle.ts";
import type { FeedPlace } from "./event-feed.ts";
import { clock } from "./names.ts";
import { webhookDeliveries as deliveries } from "./schema-events.ts";
import { names, param, statement } from "./statement.ts";

const columns = {
  deliveryId: deliveries.deliveryId,
  webhookId: deliveries.webhookId,
  eventId: deliveries.eventId,
  type: deliveries.type,
  body: deliveries.body,
  state: deliveries.state,
  tries: deliveries.tries,
  dueAt: deliveries.dueAt,
  status: deliveries.status,
  error: deliveries.error,
  tookMs: deliveries.tookMs,
  createdAt: deliveries.createdAt,
  endedAt: deliveries.endedAt,
};

/** A delivery as it is read. */
export type DeliveryRow = Awaited<ReturnType<typeof readDeliveries>>[number];

/** An event that is to be delivered. */
export interface NewDelivery {
  readonly deliveryId: string;
  readonly eventId: string;
  readonly type: string;
  readonly body: string;
}

/** Keeps deliveries; those of events that the webhook has already are left as they are. */
export async function insertDeliveries(
  tx: Tx,
  orgId: string,
  webhookId: string,
  rows: readonly NewDelivery[],
): Promise<void> {
  if (rows.length === 0) return;
  await tx
    .insert(deliveries)
    .values(rows.map((row) => ({ orgId, webhookId, ...row })))
    .onConflictDoNothing();
}

/** Deliveries of a webhook, newest first. */
export function readDeliveries(
  tx: Tx,
  orgId: string,
  webhookId: string,
  {
    state,
    before,
    limit,
  }: { readonly state: DeliveryState | null; readonly before: string | null; readonly limit: number },
) {
  return tx
    .select(columns)
    .from(deliveries)
    .where(
      and(
        of(orgId, webhookId),
        state === null ? undefined : eq(deliveries.state, state),
        before === null ? undefined : lt(deliveries.deliveryId, before),
      ),
    )
    .orderBy(desc(deliveries.deliveryId))
    .limit(limit);
}

/** What became of a delivery. */
export type DeliveryState = "pending" | "sent" | "failed";

/**
 * Takes deliveries that are due, the oldest first, for so long: until then nobody else tries them. Answers with the
 * number of the try and the age of each.
 */
export async function claimDeliveries(
  tx: Tx,
  orgId: string,
  webhookId: string,
  { limit, leaseMs }: { readonly limit: number; readonly leaseMs: number },
) {
  const due = tx
    .select({ deliveryId: deliveries.deliveryId })
    .from(deliveries)
    .where(and(of(orgId, webhookId), eq(deliveries.state, "pending"), lte(deliveries.dueAt, now)))
    .orderBy(asc(deliveries.dueAt), asc(deliveries.deliveryId))
    .limit(limit)
    .for("update", { skipLocked: true });
  const ids = (await due).map(({ deliveryId }) => deliveryId);
  if (ids.length === 0) return [];
  const taken = await tx
    .update(deliveries)
    .set({
      tries: sql`${deliveries.tries} + 1`,
      dueAt: sql`${now} + ${leaseMs}::float8 * interval '1 millisecond'`,
    })
    .where(and(eq(deliveries.orgId, orgId), inArray(deliveries.deliveryId, ids)))
    .returning({
      deliveryId: deliveries.deliveryId,
      eventId: deliveries.eventId,
      body: deliveries.body,
      tries: deliveries.tries,
      ageMs: sql<number>`(extract(epoch from ${now} - ${deliveries.begunAt}) * 1000)::float8`,
    });
  const order = new Map(ids.map((id, index) => [id, index]));
  return taken.sort((a, b) => (order.get(a.deliveryId) ?? 0) - (order.get(b.deliveryId) ?? 0));
}

/** A delivery that was taken, to be tried. */
export type ClaimedDelivery = Awaited<ReturnType<typeof claimDeliveries>>[number];

/** Notes what a try came to, unless it was begun again or ended meanwhile. */
export async function noteTry(
  tx: Tx,
  orgId: string,
  { deliveryId, tries }: Pick<ClaimedDelivery, "deliveryId" | "tries">,
  done: {
    readonly state: DeliveryState;
    readonly inMs: number;
    readonly status: number;
    readonly error: string;
    readonly tookMs: number;
  },
): Promise<void> {
  const { state, inMs, status, error, tookMs } = done;
  await tx
    .update(deliveries)
    .set({
      ...{ state, status, error, tookMs },
      dueAt: sql`${now} + ${inMs}::float8 * interval '1 millisecond'`,
      endedAt: state === "pending" ? null : sql`${now}`,
    })
    .where(
      and(
        eq(deliveries.orgId, orgId),
        eq(deliveries.deliveryId, deliveryId),
        eq(deliveries.state, "pending"),
        eq(deliveries.tries, tries),
      ),
    );
}

/** Makes what waits for another try due now: the webhook answers again. */
export async function hurryDeliveries(tx: Tx, orgId: string, webhookId: string): Promise<void> {
  await tx
    .update(deliveries)
    .set({ dueAt: now })
    .where(
      and(
        of(orgId, webhookId),
        eq(deliveries.state, "pending"),
        // What is being tried now has no outcome of this try yet, and is due within its lease.
        sql`${deliveries.error} <> '' and ${deliveries.dueAt} > ${now}`,
      ),
    );
}

/** Gives up all that waits. Answers how many. */
export async function giveUpDeliveries(
  tx: Tx,
  orgId: string,
  webhookId: string,
  error: string,
): Promise<number> {
  const gone = await tx
    .update(deliveries)
    .set({ state: "failed", error, endedAt: now })
    .where(and(of(orgId, webhookId), eq(deliveries.state, "pending")))
    .returning({ deliveryId: deliveries.deliveryId });
  return gone.length;
}

/** Removes the deliveries of a webhook. */
export async function deleteDeliveries(tx: Tx, orgId: string, webhookId: string): Promise<void> {
  await tx.delete(deliveries).where(of(orgId, webhookId));
}

/** Which deliveries of a webhook are to be sent again. */
export interface ReplayChoice {
  readonly deliveryId: string | null;
  readonly after: FeedPlace | null;
  readonly since: Date | null;
  readonly isFailedOnly: boolean;
}

/** Begins deliveries again that have ended, the oldest first, so many at most. Answers how many. */
export async function beginAgain(
  tx: Tx,
  orgId: string,
  webhookId: string,
  choice: ReplayChoice,
  limit: number,
): Promise<number> {
  const { deliveryId, after, since, isFailedOnly } = choice;
  // Ids of events of the feed are places in it.
  const part = (n: number) => sql`split_part(${deliveries.eventId}, '.', ${n}::int)::bigint`;
  const isLater = (place: FeedPlace) => sql`case when ${deliveries.eventId} ~ '^[0-9]+(\\.[0-9]+){3}$'
    then (${part(2)}, ${part(3)}, ${part(4)}) > (${String(place.xid)}::bigint, ${place.n}::bigint, ${place.element}::bigint)
    else false end`;
  const chosen = await tx
    .select({ deliveryId: deliveries.deliveryId })
    .from(deliveries)
    .where(
      and(
        of(orgId, webhookId),
        inArray(deliveries.state, isFailedOnly ? ["failed"] : ["failed", "sent"]),
        deliveryId === null ? undefined : eq(deliveries.deliveryId, deliveryId),
        since === null ? undefined : sql`${deliveries.createdAt} >= ${since.toISOString()}::timestamptz`,
        after === null ? undefined : isLater(after),
      ),
    )
    .orderBy(asc(deliveries.deliveryId))
    .limit(limit)
    .for("update");
  const ids = chosen.map((row) => row.deliveryId);
  if (ids.length === 0) return 0;
  await tx
    .update(deliveries)
    .set({ state: "pending", tries: 0, dueAt: now, begunAt: now, endedAt: null, error: "", status: 0 })
    .where(and(eq(deliveries.orgId, orgId), inArray(deliveries.deliveryId, ids)));
  return ids.length;
}

/** Whether a webhook has a delivery, and what became of it. */
export async function findDelivery(
  tx: Tx,
  orgId: string,
  webhookId: string,
  deliveryId: string,
): Promise<DeliveryState | null> {
  const [row] = await tx
    .select({ state: deliveries.state })
    .from(deliveries)
    .where(and(of(orgId, webhookId), eq(deliveries.deliveryId, deliveryId)));
  return row?.state ?? null;
}

const d = names(deliveries);

/** Drops deliveries that came to be `keep` milliseconds ago or earlier, so many at a time. Parameters: org, keep, limit. */
export const dropDeliveries = statement(sql`
  delete from ${deliveries} x where x.${d.orgId} = ${param("org")}::uuid and x.${d.deliveryId} = any(array(
    select o.${d.deliveryId} from ${deliveries} o where o.${d.orgId} = ${param("org")}::uuid
      and o.${d.createdAt} < ${clock} - ${param("keep")}::bigint * interval '1 millisecond'
    limit ${param("limit")}::int))
  returning 1 as dropped`);

function of(orgId: string, webhookId: string) {
  return and(eq(deliveries.orgId, orgId), eq(deliveries.webhookId, webhookId));
}
