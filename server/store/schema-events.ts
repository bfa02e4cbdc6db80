import type { EventFilter } from "../domain/rules/event-filter.ts";
import type { WebhookSecret } from "../domain/rules/event-webhooks.ts";
import { at, muster, now, orgId, xid8 } from "./columns.ts";
import {
  bigint,
  boolean,
  index,
  integer,
  jsonb,
  primaryKey,
  smallint,
  sql,
  text,
  uniqueIndex,
  uuid,
} from "./drizzle.ts";

/**
 * What happened besides transitions of jobs, each written in the transaction of what it tells. Read together with the
 * change feed, in the order of transactions; within one, after its transitions. Kept as long.
 */
export const events = muster.table(
  "events",
  {
    orgId: orgId(),
    xid: xid8("xid").notNull().default(sql`pg_current_xact_id()`),
    /** Orders what one transaction tells. */
    eventId: uuid("event_id").notNull(),
    at: at("at").notNull().default(now),
    type: text("type").notNull(),
    jobId: uuid("job_id"),
    attempt: integer("attempt"),
    workerId: uuid("worker_id"),
    project: text("project"),
    data: jsonb("data").$type<Record<string, unknown>>().notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.xid, t.eventId] }),
    // What a worker says again after a lost acknowledgement is told once.
    uniqueIndex("events_by_id").on(t.orgId, t.eventId),
  ],
);

/** Addresses that events are sent to. */
export const webhooks = muster.table(
  "webhooks",
  {
    orgId: orgId(),
    webhookId: uuid("webhook_id").notNull(),
    name: text("name").notNull(),
    url: text("url").notNull(),
    filter: jsonb("filter").$type<EventFilter>().notNull(),
    isDisabled: boolean("is_disabled").notNull(),
    disabledReason: text("disabled_reason").notNull().default(""),
    /** What its secrets derive from, the present one first. */
    secrets: jsonb("secrets").$type<readonly WebhookSecret[]>().notNull(),
    /** Up to where of the feed deliveries were made: after this element of this row. */
    cursorEpoch: bigint("cursor_epoch", { mode: "number" }).notNull(),
    cursorXid: xid8("cursor_xid").notNull(),
    cursorN: smallint("cursor_n").notNull(),
    cursorElement: integer("cursor_element").notNull(),
    failures: integer("failures").notNull().default(0),
    failingSince: at("failing_since"),
    lastError: text("last_error").notNull().default(""),
    lastSentAt: at("last_sent_at"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.webhookId] }),
    uniqueIndex("webhooks_by_name").on(t.orgId, t.name),
  ],
);

/** Events on their way to webhooks. Who tries one moves its time ahead first, so that it is tried by one at a time. */
export const webhookDeliveries = muster.table(
  "webhook_deliveries",
  {
    orgId: orgId(),
    deliveryId: uuid("delivery_id").notNull(),
    webhookId: uuid("webhook_id").notNull(),
    eventId: text("event_id").notNull(),
    type: text("type").notNull(),
    body: text("body").notNull(),
    state: text("state").$type<"pending" | "sent" | "failed">().notNull().default("pending"),
    tries: integer("tries").notNull().default(0),
    dueAt: at("due_at").notNull().default(now),
    status: integer("status").notNull().default(0),
    error: text("error").notNull().default(""),
    tookMs: integer("took_ms"),
    createdAt: at("created_at").notNull().default(now),
    /** From when its tries count: its beginning, or its last replay. */
    begunAt: at("begun_at").notNull().default(now),
    endedAt: at("ended_at"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.deliveryId] }),
    // An event is one delivery, whoever writes it.
    uniqueIndex("webhook_deliveries_by_event").on(t.orgId, t.webhookId, t.eventId),
    index("webhook_deliveries_due").on(t.orgId, t.webhookId, t.dueAt).where(sql`state = 'pending'`),
    index("webhook_deliveries_by_time").on(t.orgId, t.webhookId, t.deliveryId.desc().nullsFirst()),
    index("webhook_deliveries_by_age").on(t.orgId, t.createdAt),
  ],
);
