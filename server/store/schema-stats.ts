import { at, muster, now, orgId } from "./columns.ts";
import { bigint, doublePrecision, jsonb, primaryKey, real, smallint, text, uuid } from "./drizzle.ts";

/**
 * Attempts that ended, as each flush appends them: one row, parallel lists. A sweep folds them into `stats` and deletes
 * them; until then a reader counts them too.
 */
export const statDeltas = muster.table(
  "stat_deltas",
  {
    orgId: orgId(),
    deltaId: uuid("delta_id").notNull(),
    at: at("at").notNull().default(now),
    shapeIds: bigint("shape_ids", { mode: "bigint" }).array().notNull(),
    workerIds: uuid("worker_ids").array().notNull(),
    /** Null: all succeeded, and ended their runs. */
    outcomes: smallint("outcomes").array(),
    /** The terminal state that an attempt brought its run to; null in the list: the run went on. */
    states: smallint("states").array(),
    /** Seconds between ready and granted, and between granted and ended; null in the list: not known. */
    waits: real("waits").array().notNull(),
    runs: real("runs").array().notNull(),
    /** Where the time of these attempts went, summed by kind and span; null: nobody said. */
    spans: jsonb("spans").$type<readonly SpanSum[]>(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.deltaId] })],
);

/** What spans of one name and place took, of attempts of one kind. */
export interface SpanSum {
  readonly kind: string;
  /** Names from the outermost span on, joined by line breaks. */
  readonly path: string;
  readonly count: number;
  readonly totalMs: number;
  /** Without what spans inside of it took. */
  readonly selfMs: number;
}

/** Attempts that ended, counted by minute, hour or day and by what they are of. */
export const stats = muster.table(
  "stats",
  {
    orgId: orgId(),
    /** 1: a minute, 2: an hour, 3: a day (UTC). */
    grain: smallint("grain").notNull(),
    /** As in `domain/rules/stats.ts`. */
    dimension: smallint("dimension").notNull(),
    at: at("at").notNull(),
    value: text("value").notNull(),
    /** Of owners also by project; empty: none, or another dimension. */
    project: text("project").notNull(),
    succeeded: bigint("succeeded", { mode: "number" }).notNull(),
    failed: bigint("failed", { mode: "number" }).notNull(),
    timedOut: bigint("timed_out", { mode: "number" }).notNull(),
    lost: bigint("lost", { mode: "number" }).notNull(),
    cancelled: bigint("cancelled", { mode: "number" }).notNull(),
    released: bigint("released", { mode: "number" }).notNull(),
    parked: bigint("parked", { mode: "number" }).notNull(),
    unanswered: bigint("unanswered", { mode: "number" }).notNull(),
    /** Runs that ended as dead letters. */
    dead: bigint("dead", { mode: "number" }).notNull(),
    runSeconds: doublePrecision("run_seconds").notNull(),
    /** Histograms: pairs of a bucket's number and its count, by number. */
    waits: bigint("waits", { mode: "number" }).array().notNull(),
    runs: bigint("runs", { mode: "number" }).array().notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.grain, t.dimension, t.at, t.value, t.project] })],
);

/** Where the time of attempts went, by hour or day, kind and span. */
export const spanStats = muster.table(
  "span_stats",
  {
    orgId: orgId(),
    /** 2: an hour, 3: a day (UTC). */
    grain: smallint("grain").notNull(),
    kind: text("kind").notNull(),
    at: at("at").notNull(),
    path: text("path").notNull(),
    count: bigint("count", { mode: "number" }).notNull(),
    totalMs: doublePrecision("total_ms").notNull(),
    selfMs: doublePrecision("self_ms").notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.grain, t.kind, t.at, t.path] })],
);
