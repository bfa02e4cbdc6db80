import { builtInKindNames } from "../domain/rules/built-in-kinds.ts";
import { at, bytea, muster, now, orgId, xid8 } from "./columns.ts";
import {
  bigint,
  boolean,
  check,
  date,
  doublePrecision,
  index,
  integer,
  jsonb,
  primaryKey,
  smallint,
  sql,
  text,
  uuid,
} from "./drizzle.ts";

/**
 * What was asked; people may edit priority, title and labels while it lives. Partitioned by range of job_id, which is
 * its submit time.
 */
export const jobs = muster.table(
  "jobs",
  {
    orgId: orgId(),
    jobId: uuid("job_id").notNull(),
    batchId: uuid("batch_id"),
    parentJobId: uuid("parent_job_id"),
    createdAt: at("created_at").notNull().default(now),
    runAt: at("run_at"),
    deadline: at("deadline"),
    points: integer("points").notNull(),
    softTimeoutMs: integer("soft_timeout_ms"),
    hardTimeoutMs: integer("hard_timeout_ms"),
    leaseTtlMs: integer("lease_ttl_ms").notNull(),
    reclaimAfterMs: integer("reclaim_after_ms").notNull(),
    maxAttempts: integer("max_attempts").notNull(),
    backoffInitialMs: integer("backoff_initial_ms").notNull(),
    backoffMaxMs: integer("backoff_max_ms").notNull(),
    backoffFactor: doublePrecision("backoff_factor").notNull(),
    priority: smallint("priority").notNull(),
    exclusive: boolean("exclusive").notNull(),
    atMostOnce: boolean("at_most_once").notNull(),
    opensPullRequest: boolean("opens_pull_request").notNull(),
    kind: text("kind").notNull(),
    queue: text("queue").notNull(),
    title: text("title").notNull(),
    payload: bytea("payload").notNull(),
    /** Null: none, like the instructions; an empty list would be 16 bytes of each row. */
    skills: text("skills").array(),
    instructions: text("instructions").array(),
    labels: jsonb("labels").$type<Record<string, string>>(),
    project: text("project"),
    pool: text("pool"),
    externalId: text("external_id"),
    idempotencyKey: text("idempotency_key"),
    /** As in shapes. */
    target: text("target"),
    /** In the order in which they were named; null: none. */
    dependsOn: uuid("depends_on").array(),
    dependencyPolicy: text("dependency_policy").$type<"cancel" | "release">(),
    submittedBy: text("submitted_by").notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.jobId] })],
);

/** One narrow row while a job is not terminal; deleted by the transaction that ends the run. */
export const jobQueue = muster.table(
  "job_queue",
  {
    orgId: orgId(),
    jobId: uuid("job_id").notNull(),
    shapeId: bigint("shape_id", { mode: "bigint" }).notNull(),
    readyAt: at("ready_at"),
    wakeAt: at("wake_at"),
    deadline: at("deadline"),
    grantedAt: at("granted_at"),
    cancelRequestedAt: at("cancel_requested_at"),
    leaseId: uuid("lease_id"),
    workerId: uuid("worker_id"),
    batchId: uuid("batch_id"),
    attempt: integer("attempt").notNull().default(0),
    generation: integer("generation").notNull().default(1),
    waitingOn: integer("waiting_on").notNull().default(0),
    /** Others wait for it: its end must look for them. */
    hasDependants: boolean("has_dependants").notNull().default(false),
    /** Parked because its pool is spent: it goes on with the pool. */
    isPoolParked: boolean("is_pool_parked").notNull().default(false),
    points: integer("points").notNull(),
    reclaimAfterMs: integer("reclaim_after_ms").notNull(),
    leaseTtlMs: integer("lease_ttl_ms").notNull(),
    state: smallint("state").notNull(),
    priority: smallint("priority").notNull(),
    failures: smallint("failures").notNull().default(0),
    losses: smallint("losses").notNull().default(0),
    releases: smallint("releases").notNull().default(0),
    reason: text("reason"),
    /** The session that the lease was given, or that the job goes back to. */
    sessionId: text("session_id"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.jobId] }),
    index("job_queue_ready")
      .on(t.orgId, t.shapeId, t.priority.desc().nullsFirst(), t.readyAt, t.jobId)
      .where(sql`state = 3`),
    index("job_queue_waiting").on(t.orgId, t.state, t.jobId).where(sql`state in (1, 2, 6)`),
    index("job_queue_wake").on(t.orgId, t.wakeAt).where(sql`wake_at is not null`),
    index("job_queue_avoiding")
      .on(t.orgId, t.losses)
      .where(sql`state = 3 and (wake_at is not null or losses > 0)`),
    index("job_queue_deadline").on(t.orgId, t.deadline).where(sql`deadline is not null`),
    index("job_queue_leased").on(t.orgId, t.workerId).where(sql`worker_id is not null`),
    index("job_queue_cancel").on(t.orgId, t.cancelRequestedAt).where(sql`cancel_requested_at is not null`),
    index("job_queue_pool_parked").on(t.orgId, t.jobId).where(sql`is_pool_parked`),
    index("job_queue_trouble").on(t.orgId, t.jobId).where(sql`failures >= 3 or losses >= 3`),
  ],
);

/** Append-only history: one row an ended attempt. Partitioned like jobs. */
export const attempts = muster.table(
  "attempts",
  {
    orgId: orgId(),
    jobId: uuid("job_id").notNull(),
    attempt: integer("attempt").notNull(),
    generation: integer("generation").notNull(),
    grantedAt: at("granted_at"),
    endedAt: at("ended_at").notNull().default(now),
    workerId: uuid("worker_id"),
    leaseId: uuid("lease_id"),
    resultId: uuid("result_id"),
    outcome: smallint("outcome").notNull(),
    /** The terminal state that a final attempt brought the run to. */
    state: smallint("state"),
    failures: smallint("failures").notNull(),
    losses: smallint("losses").notNull(),
    releases: smallint("releases").notNull(),
    final: boolean("final").notNull(),
    /** 0 of the final one, else the attempt: so the key holds one end a generation, and no second index is needed. */
    ordinal: integer("ordinal").notNull(),
    result: bytea("result"),
    errorCode: text("error_code"),
    errorMessage: text("error_message"),
    errorDetail: text("error_detail"),
    prUrl: text("pr_url"),
    reason: text("reason"),
    sessionId: text("session_id"),
    lastSequence: bigint("last_sequence", { mode: "number" }),
    /** What its programs ran under; null when it started none, or its worker did not say. */
    isolation: smallint("isolation"),
    /** Where its time went, as JSON; null: its handler marked nothing. */
    profile: bytea("profile"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.jobId, t.generation, t.ordinal] }),
    check("attempts_ordinal", sql`ordinal = case when final then 0 else attempt end`),
  ],
);

/** A row a dead run; deleted by replay or discard. */
export const deadLetters = muster.table(
  "dead_letters",
  {
    orgId: orgId(),
    jobId: uuid("job_id").notNull(),
    generation: integer("generation").notNull(),
    cause: text("cause").notNull(),
    fingerprint: text("fingerprint").notNull(),
    kind: text("kind").notNull(),
    deadAt: at("dead_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.jobId] }),
    index("dead_letters_by_time").on(t.orgId, t.deadAt.desc().nullsFirst()),
  ],
);

/** What stale leases sent: kept for people, never applied. */
export const lateResults = muster.table(
  "late_results",
  {
    orgId: orgId(),
    resultId: uuid("result_id").notNull(),
    jobId: uuid("job_id").notNull(),
    attempt: integer("attempt").notNull(),
    leaseId: uuid("lease_id").notNull(),
    workerId: uuid("worker_id").notNull(),
    outcome: smallint("outcome").notNull(),
    result: bytea("result"),
    errorMessage: text("error_message"),
    receivedAt: at("received_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.resultId] })],
);

/** Idempotency keys and ids of requests (7 days), and external ids (as long as the job). */
export const jobKeys = muster.table(
  "job_keys",
  {
    orgId: orgId(),
    type: text("type").$type<"idempotency" | "external" | "request">().notNull(),
    key: text("key").notNull(),
    targetId: uuid("target_id").notNull(),
    fingerprint: bytea("fingerprint").notNull(),
    expiresAt: at("expires_at"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.type, t.key] }),
    index("job_keys_expiry").on(t.orgId, t.expiresAt).where(sql`expires_at is not null`),
  ],
);

/** Jobs submitted atomically; their ids lie between the first and the last one. */
export const batches = muster.table(
  "batches",
  {
    orgId: orgId(),
    batchId: uuid("batch_id").notNull(),
    title: text("title").notNull(),
    firstJobId: uuid("first_job_id").notNull(),
    lastJobId: uuid("last_job_id").notNull(),
    total: integer("total").notNull(),
    pending: integer("pending").notNull(),
    succeeded: integer("succeeded").notNull().default(0),
    cancelled: integer("cancelled").notNull().default(0),
    dead: integer("dead").notNull().default(0),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.batchId] })],
);

/** Everything that decides who may run a job, interned by its digest. */
export const shapes = muster.table(
  "shapes",
  {
    orgId: orgId(),
    shapeId: bigint("shape_id", { mode: "bigint" }).notNull(),
    kind: text("kind").notNull(),
    queue: text("queue").notNull(),
    skills: text("skills").array().notNull(),
    points: integer("points").notNull(),
    pool: text("pool"),
    /** Where the cap of a project counts the job. */
    project: text("project"),
    /** `worker:<uuid>`, `session:<id>` or `project:<name>`; null: any worker that can. */
    target: text("target"),
    avoid: uuid("avoid").array().notNull(),
    alone: boolean("alone").notNull(),
    /** The project of a job that no cap counts: for statistics alone. */
    accountedTo: text("accounted_to"),
    /** The name of the schedule that made the job: for statistics alone. */
    schedule: text("schedule"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.shapeId] }),
    // Few rows at any time, and none in orgs that use none of them.
    index("shapes_built_in")
      .on(t.orgId, t.shapeId)
      .where(sql.raw(`kind in (${builtInKindNames.map((name) => `'${name}'`).join(", ")})`)),
  ],
);

/** Latest progress of a running attempt. */
export const progress = muster.table(
  "progress",
  {
    orgId: orgId(),
    jobId: uuid("job_id").notNull(),
    attempt: integer("attempt").notNull(),
    fraction: doublePrecision("fraction"),
    message: text("message").notNull(),
    updatedAt: at("updated_at").notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.jobId] })],
);

/** What attempts said, in chunks. Partitioned by the day of the grant (UTC). */
export const logChunks = muster.table(
  "log_chunks",
  {
    orgId: orgId(),
    day: date("day").notNull(),
    jobId: uuid("job_id").notNull(),
    attempt: integer("attempt").notNull(),
    firstSequence: bigint("first_sequence", { mode: "number" }).notNull(),
    lastSequence: bigint("last_sequence", { mode: "number" }).notNull(),
    isCompressed: boolean("is_compressed").notNull(),
    body: bytea("body").notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.jobId, t.attempt, t.firstSequence, t.day] })],
);

/** Files that attempts produced; the bytes are in the artifact store. */
export const artifacts = muster.table(
  "artifacts",
  {
    orgId: orgId(),
    artifactId: uuid("artifact_id").notNull(),
    jobId: uuid("job_id").notNull(),
    attempt: integer("attempt").notNull(),
    name: text("name").notNull(),
    contentType: text("content_type").notNull(),
    sizeBytes: bigint("size_bytes", { mode: "number" }).notNull(),
    sha256: text("sha256").notNull(),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.artifactId] }), index("artifacts_by_job").on(t.orgId, t.jobId)],
);

/** The change feed: one row a (transaction, org, statement), parallel lists of transitions. Kept 1 h. */
export const changes = muster.table(
  "changes",
  {
    orgId: orgId(),
    xid: xid8("xid").notNull().default(sql`pg_current_xact_id()`),
    n: smallint("n").notNull(),
    at: at("at").notNull().default(now),
    jobIds: uuid("job_ids").array().notNull(),
    states: smallint("states").array().notNull(),
    attempts: integer("attempts").array().notNull(),
    workerIds: uuid("worker_ids").array().notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.xid, t.n] })],
);

/**
 * How many runs of a queue began and ended, and by how much the number of its jobs in each state changed: each flush
 * appends a row a queue, a sweep folds them. What stands now is the sum of all rows.
 */
export const tallies = muster.table(
  "tallies",
  {
    orgId: orgId(),
    tallyId: uuid("tally_id").notNull(),
    queue: text("queue").notNull(),
    at: at("at").notNull().default(now),
    submitted: bigint("submitted", { mode: "number" }).notNull(),
    succeeded: bigint("succeeded", { mode: "number" }).notNull(),
    cancelled: bigint("cancelled", { mode: "number" }).notNull(),
    dead: bigint("dead", { mode: "number" }).notNull(),
    blocked: bigint("blocked", { mode: "number" }).notNull().default(0),
    scheduled: bigint("scheduled", { mode: "number" }).notNull().default(0),
    ready: bigint("ready", { mode: "number" }).notNull().default(0),
    offered: bigint("offered", { mode: "number" }).notNull().default(0),
    running: bigint("running", { mode: "number" }).notNull().default(0),
    parked: bigint("parked", { mode: "number" }).notNull().default(0),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.tallyId, t.queue] })],
);
