import type { AlertRuleDefinition } from "../domain/rules/alert-rules.ts";
import { at, bytea, muster, now, orgId } from "./columns.ts";
import {
  bigint,
  boolean,
  doublePrecision,
  index,
  integer,
  jsonb,
  primaryKey,
  sql,
  text,
  uuid,
} from "./drizzle.ts";

/** When to tell whom. */
export const alertRules = muster.table(
  "alert_rules",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    definition: jsonb("definition").$type<AlertRuleDefinition>().notNull(),
    isDisabled: boolean("is_disabled").notNull(),
    /** When it is looked at next. Whoever looks locks the row. */
    dueAt: at("due_at").notNull().default(now),
    /** Up to where of the change feed its runs were counted. */
    cursor: text("cursor").notNull(),
    lastFiredAt: at("last_fired_at"),
    createdAt: at("created_at").notNull().default(now),
    updatedAt: at("updated_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.name] }),
    index("alert_rules_due").on(t.orgId, t.dueAt).where(sql`not is_disabled`),
  ],
);

/** What a rule counted of a group, and whether it fires. */
export const alertStates = muster.table(
  "alert_states",
  {
    orgId: orgId(),
    rule: text("rule").notNull(),
    /** Empty: all together. */
    groupKey: text("group_key").notNull(),
    /** The alert that fires; null: it does not. */
    alertId: uuid("alert_id"),
    /** What was counted, as the condition needs it. */
    counts: jsonb("counts").$type<unknown>(),
    /** When a firing of the group was last told. */
    notifiedAt: at("notified_at"),
    updatedAt: at("updated_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.rule, t.groupKey] })],
);

/** Each time that a group of a rule fired. */
export const alerts = muster.table(
  "alerts",
  {
    orgId: orgId(),
    alertId: uuid("alert_id").notNull(),
    rule: text("rule").notNull(),
    condition: text("condition").notNull(),
    groupKey: text("group_key").notNull(),
    severity: text("severity").notNull(),
    summary: text("summary").notNull(),
    value: doublePrecision("value").notNull(),
    occurrences: bigint("occurrences", { mode: "number" }).notNull(),
    /** Of those, how many were told. */
    told: bigint("told", { mode: "number" }).notNull().default(0),
    jobIds: uuid("job_ids").array().notNull(),
    startedAt: at("started_at").notNull().default(now),
    endedAt: at("ended_at"),
    notifiedAt: at("notified_at"),
    isSilenced: boolean("is_silenced").notNull().default(false),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.alertId] }),
    index("alerts_by_rule").on(t.orgId, t.rule, t.alertId.desc().nullsFirst()),
    index("alerts_firing").on(t.orgId, t.alertId).where(sql`ended_at is null`),
  ],
);

/** Where messages go. */
export const alertChannels = muster.table(
  "alert_channels",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    type: text("type").$type<"slack" | "discord" | "email" | "webhook">().notNull(),
    /** What is no secret: addresses, a channel's id. */
    target: jsonb("target").$type<Record<string, unknown>>().notNull(),
    /** Encrypted; null: it has none. */
    secret: bytea("secret"),
    /** The last four characters of the secret. */
    secretHint: text("secret_hint").notNull(),
    isDisabled: boolean("is_disabled").notNull(),
    /** Tries in a row that came to nothing; without those in which one message was refused for good. */
    failures: integer("failures").notNull().default(0),
    failingSince: at("failing_since"),
    lastError: text("last_error").notNull().default(""),
    lastSentAt: at("last_sent_at"),
    createdAt: at("created_at").notNull().default(now),
    updatedAt: at("updated_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.name] }),
    index("alert_channels_failing").on(t.orgId, t.name).where(sql`failing_since is not null`),
  ],
);

/** Times without messages. */
export const alertSilences = muster.table(
  "alert_silences",
  {
    orgId: orgId(),
    /** Empty: all rules. */
    rule: text("rule").notNull(),
    /** Empty: all groups. */
    groupKey: text("group_key").notNull(),
    endsAt: at("ends_at").notNull(),
    reason: text("reason").notNull(),
    creator: text("creator").notNull(),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.rule, t.groupKey] })],
);

/** Messages on their way: an outbox. Who tries one moves its time ahead first, so that it is tried by one at a time. */
export const alertDeliveries = muster.table(
  "alert_deliveries",
  {
    orgId: orgId(),
    deliveryId: uuid("delivery_id").notNull(),
    channel: text("channel").notNull(),
    /** The alerts that it tells of. */
    alertIds: uuid("alert_ids").array().notNull(),
    event: text("event").$type<"firing" | "resolved">().notNull(),
    message: jsonb("message").$type<Record<string, unknown>>().notNull(),
    state: text("state").$type<"pending" | "sent" | "failed">().notNull().default("pending"),
    tries: integer("tries").notNull().default(0),
    dueAt: at("due_at").notNull().default(now),
    lastError: text("last_error").notNull().default(""),
    createdAt: at("created_at").notNull().default(now),
    sentAt: at("sent_at"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.deliveryId] }),
    index("alert_deliveries_due").on(t.orgId, t.dueAt).where(sql`state = 'pending'`),
  ],
);
