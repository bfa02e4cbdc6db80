import { at, muster, now, orgId } from "./columns.ts";
import { index, integer, jsonb, primaryKey, sql, text, uniqueIndex, uuid } from "./drizzle.ts";

/** What creates jobs by cron. */
export const schedules = muster.table(
  "schedules",
  {
    orgId: orgId(),
    scheduleId: uuid("schedule_id").notNull(),
    name: text("name").notNull(),
    cron: text("cron").notNull(),
    zone: text("zone").notNull(),
    jitterMs: integer("jitter_ms").notNull(),
    startAt: at("start_at"),
    endAt: at("end_at"),
    overlap: text("overlap").$type<"skip" | "queue" | "replace" | "allow">().notNull(),
    catchUp: text("catch_up").$type<"none" | "one" | "all">().notNull(),
    catchUpLimit: integer("catch_up_limit").notNull(),
    /** Of its jobs: also in `job`, and here for lists. */
    kind: text("kind").notNull(),
    /** What each of its jobs is: a job request as JSON text. */
    job: text("job").notNull(),
    labels: jsonb("labels").$type<Record<string, string>>().notNull(),
    /** Grows with each change. */
    revision: integer("revision").notNull().default(1),
    createdAt: at("created_at").notNull().default(now),
    updatedAt: at("updated_at").notNull().default(now),
    pausedAt: at("paused_at"),
    pauseReason: text("pause_reason").notNull().default(""),
    /** The first fire time that nothing became of yet; null: paused, or ended. */
    nextFireAt: at("next_fire_at"),
    /** The same with jitter: when its job is made. */
    dueAt: at("due_at"),
    /** Jobs of it that had not ended at its last fire. */
    liveJobs: uuid("live_jobs").array().notNull().default(sql`'{}'`),
    /** Since when its jobs cannot be submitted; null: they can. */
    failingAt: at("failing_at"),
    /** Why: reason and message of the last error. */
    failure: text("failure").notNull().default(""),
    failureText: text("failure_text").notNull().default(""),
    /** It failed so often since. */
    failures: integer("failures").notNull().default(0),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.scheduleId] }),
    uniqueIndex("schedules_by_name").on(t.orgId, t.name),
    index("schedules_due").on(t.orgId, t.dueAt).where(sql`due_at is not null`),
    index("schedules_failing").on(t.orgId, t.failingAt).where(sql`failing_at is not null`),
  ],
);

/** What became of fire times: at most one entry each. */
export const scheduleFires = muster.table(
  "schedule_fires",
  {
    orgId: orgId(),
    scheduleId: uuid("schedule_id").notNull(),
    fireAt: at("fire_at").notNull(),
    outcome: text("outcome").$type<"submitted" | "skipped" | "missed" | "failed">().notNull(),
    cause: text("cause").$type<"due" | "catch-up" | "trigger" | "backfill">().notNull(),
    jobId: uuid("job_id"),
    note: text("note").notNull().default(""),
    errorReason: text("error_reason").notNull().default(""),
    recordedAt: at("recorded_at").notNull().default(now),
    /** Missed times that follow each other may share an entry. */
    count: integer("count").notNull().default(1),
    lastAt: at("last_at").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.scheduleId, t.fireAt] }),
    index("schedule_fires_by_time").on(t.orgId, t.recordedAt),
    index("schedule_fires_troubled").on(t.orgId, t.recordedAt).where(sql`outcome in ('missed', 'failed')`),
  ],
);
