import type { OwnerLimits, WeekHours, WorkerLimits } from "../domain/rules/worker-limits.ts";
import { at, bytea, muster, now, orgId, xid8 } from "./columns.ts";
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
  uniqueIndex,
  uuid,
} from "./drizzle.ts";

/** Tenants. */
export const orgs = muster.table(
  "orgs",
  {
    orgId: uuid("org_id").primaryKey(),
    name: text("name").notNull().unique(),
    createdAt: at("created_at").notNull().default(now),
    /** Grows when a gate comes or goes: a claim that knows another number claims nothing. */
    gatesVersion: bigint("gates_version", { mode: "number" }).notNull().default(0),
    /** Since when it may do nothing; null: it may. */
    suspendedAt: at("suspended_at"),
    suspendReason: text("suspend_reason").notNull().default(""),
    /** Since when a sweep removes all that it has, and at the end this row. */
    deletedAt: at("deleted_at"),
    /** The org whose audit log says that it was deleted. */
    deletedBy: uuid("deleted_by"),
  },
  (t) => [index("orgs_held_back").on(t.orgId).where(sql`suspended_at is not null or deleted_at is not null`)],
);

/** Keys: only a hash is kept: the HMAC of the secret, or of one that was hashed elsewhere what was given. */
export const apiKeys = muster.table(
  "api_keys",
  {
    orgId: orgId(),
    keyId: text("key_id").notNull().unique(),
    type: text("type").notNull(),
    name: text("name").notNull(),
    scopes: text("scopes").array().notNull(),
    hash: bytea("hash").notNull(),
    workerId: uuid("worker_id"),
    createdAt: at("created_at").notNull().default(now),
    expiresAt: at("expires_at"),
    revokedAt: at("revoked_at"),
    /** How `hash` came to be: `own` is ours; `sha256` and `hmac` were registered, and are of the whole key. */
    scheme: text("scheme").notNull().default("own"),
    /** Which pepper a key of ours is hashed under; empty: it is not known. */
    pepper: text("pepper").notNull().default(""),
    /** What the key begins with. */
    prefix: text("prefix").notNull().default("mk"),
    /** The last four characters of the key; empty: they were not kept. */
    lastFour: text("last_four").notNull().default(""),
    /** To within a minute; null: it was not used, or not since uses are kept. */
    usedAt: at("used_at"),
    callsPerMinute: integer("calls_per_minute"),
    jobsPerDay: integer("jobs_per_day"),
    /** The key that it was rotated to. */
    successor: text("successor"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.keyId] }),
    uniqueIndex("api_keys_registered").on(t.hash).where(sql`scheme <> 'own'`),
    index("api_keys_revoked").on(t.orgId, t.revokedAt).where(sql`revoked_at is not null`),
    index("api_keys_expiring").on(t.orgId, t.expiresAt).where(sql`expires_at is not null`),
  ],
);

/** What limited keys have spent of the present minute and day. */
export const keyCounts = muster.table(
  "key_counts",
  {
    orgId: orgId(),
    keyId: text("key_id").notNull(),
    /** `calls` or `jobs`. */
    counted: text("counted").notNull(),
    /** When the minute or the day began. */
    startedAt: at("started_at").notNull(),
    used: bigint("used", { mode: "number" }).notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.keyId, t.counted] })],
);

/** Defaults of jobs by org, queue and kind; null is inherited. */
export const settings = muster.table(
  "settings",
  {
    orgId: orgId(),
    scope: text("scope").notNull(),
    name: text("name").notNull(),
    reclaimAfterMs: integer("reclaim_after_ms"),
    leaseTtlMs: integer("lease_ttl_ms"),
    maxAttempts: integer("max_attempts"),
    backoffInitialMs: integer("backoff_initial_ms"),
    backoffMaxMs: integer("backoff_max_ms"),
    backoffFactor: doublePrecision("backoff_factor"),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.scope, t.name] })],
);

// As `look` and the claim have it: with other words the index is of no use to them.
const mayBeHeldBack = sql`disabled_at is not null or quarantined_at is not null or approval = 'pending' or hours is not null or max_open_prs is not null`;

/** Machine identities, with what they said at their last Hello. */
export const workers = muster.table(
  "workers",
  {
    orgId: orgId(),
    workerId: uuid("worker_id").notNull(),
    name: text("name").notNull(),
    disabledAt: at("disabled_at"),
    /** An operator wants it to take nothing new; stands until somebody resumes it. */
    drainRequestedAt: at("drain_requested_at"),
    /** It gets no offers until an operator clears it: it lost too much, or two processes fight for it. */
    quarantinedAt: at("quarantined_at"),
    quarantineReason: text("quarantine_reason"),
    skills: jsonb("skills").$type<{ name: string; digest: string }[]>().notNull().default([]),
    kinds: text("kinds").array().notNull().default([]),
    slots: integer("slots").notNull().default(0),
    points: integer("points").notNull().default(0),
    labels: jsonb("labels").$type<Record<string, string>>().notNull().default({}),
    version: text("version").notNull().default(""),
    host: text("host").notNull().default(""),
    createdAt: at("created_at").notNull().default(now),
    /** What it said of itself at its last Hello and did not get, for people. */
    refusals: text("refusals").array().notNull().default([]),
    /** `person:…` or `key:…`; empty: nobody's. */
    owner: text("owner").notNull().default(""),
    ownerPersonId: text("owner_person_id"),
    /** Null: it needs none. */
    approval: text("approval").$type<"pending" | "newcomer" | "approved" | "rejected">(),
    /** What the server allows; null: whatever it says of itself. */
    limits: jsonb("limits").$type<WorkerLimits>(),
    /** The same on top, until it is approved. */
    newcomerLimits: jsonb("newcomer_limits").$type<WorkerLimits>(),
    /** The lower of both for open pull requests. */
    maxOpenPrs: integer("max_open_prs"),
    /** What its owner gives of it; null: all. */
    ownerLimits: jsonb("owner_limits").$type<OwnerLimits>(),
    /** When it may get new offers; null: always. */
    hours: jsonb("hours").$type<WeekHours>(),
    /** The drain, the disabling, was its owner's: so the owner may end it. */
    isDrainedByOwner: boolean("is_drained_by_owner").notNull().default(false),
    isDisabledByOwner: boolean("is_disabled_by_owner").notNull().default(false),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.workerId] }),
    uniqueIndex("workers_by_name").on(t.orgId, t.name),
    index("workers_held_back").on(t.orgId, t.workerId).where(mayBeHeldBack),
    index("workers_by_owner").on(t.orgId, t.ownerPersonId).where(sql`owner_person_id is not null`),
  ],
);

/** Tokens with which machines become workers; the key of the same id is the token. */
export const enrolments = muster.table(
  "enrolments",
  {
    orgId: orgId(),
    keyId: text("key_id").notNull(),
    name: text("name").notNull(),
    limits: jsonb("limits").$type<WorkerLimits>().notNull(),
    namePattern: text("name_pattern").notNull(),
    uses: integer("uses").notNull(),
    used: integer("used").notNull().default(0),
    creator: text("creator").notNull(),
    createdAt: at("created_at").notNull().default(now),
    expiresAt: at("expires_at").notNull(),
    revokedAt: at("revoked_at"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.keyId] }),
    index("enrolments_by_time").on(t.orgId, t.createdAt.desc().nullsFirst(), t.keyId),
  ],
);

/** Which machine became which worker by a token: the same request may be repeated for a while. */
export const enrolmentUses = muster.table(
  "enrolment_uses",
  {
    orgId: orgId(),
    keyId: text("key_id").notNull(),
    requestId: text("request_id").notNull(),
    machine: text("machine").notNull(),
    workerId: uuid("worker_id").notNull(),
    usedAt: at("used_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.keyId, t.requestId] })],
);

/** Who may enrol own machines, by org; no row: nobody. */
export const enrolmentPolicies = muster.table("enrolment_policies", {
  orgId: orgId().primaryKey(),
  mode: text("mode").$type<"closed" | "approval" | "open">().notNull(),
  machinesPerPerson: integer("machines_per_person").notNull(),
  limits: jsonb("limits").$type<WorkerLimits>().notNull(),
  newcomerLimits: jsonb("newcomer_limits").$type<WorkerLimits>().notNull(),
});

/** The live link of each worker. */
export const links = muster.table(
  "links",
  {
    orgId: orgId(),
    workerId: uuid("worker_id").notNull(),
    bootId: uuid("boot_id").notNull(),
    hostBootId: text("host_boot_id").notNull(),
    linkEpoch: bigint("link_epoch", { mode: "number" }).notNull(),
    coordinatorId: uuid("coordinator_id").notNull(),
    seenAt: at("seen_at").notNull(),
    connectedAt: at("connected_at").notNull(),
    transport: text("transport").$type<"stream" | "poll">().notNull(),
    isAttached: boolean("is_attached").notNull(),
    isDraining: boolean("is_draining").notNull(),
    /** Since when it leaves a cancel without an answer; null: it answers. */
    suspectAt: at("suspect_at"),
    /** How often another process took the link over while it was live, since `flips_since`. */
    flips: integer("flips").notNull().default(0),
    flipsSince: at("flips_since"),
    /** Since when the event feed tells that it is silent, and that its leases were taken back; null: it does not. */
    staleAt: at("stale_at"),
    lostAt: at("lost_at"),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.workerId] })],
);

/** Which jobs a worker lost lately: three in ten minutes and it is the cause. A sweep drops old rows. */
export const workerLosses = muster.table(
  "worker_losses",
  {
    orgId: orgId(),
    workerId: uuid("worker_id").notNull(),
    jobId: uuid("job_id").notNull(),
    lostAt: at("lost_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.workerId, t.jobId] })],
);

/** What a worker is told, whichever coordinator holds its link; deleted when it is acknowledged. */
export const commands = muster.table(
  "commands",
  {
    orgId: orgId(),
    workerId: uuid("worker_id").notNull(),
    /** UUIDv7: they sort by age. */
    commandId: uuid("command_id").notNull(),
    action: text("action").$type<"drain" | "resume" | "reattach">().notNull(),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.workerId, t.commandId] })],
);

/** Repositories and their cap on open pull requests. */
export const projects = muster.table(
  "projects",
  {
    orgId: orgId(),
    name: text("name").notNull(),
    maxOpenPrs: integer("max_open_prs"),
    /** `owner/name` at GitHub; null: the project's own name. */
    repository: text("repository"),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.name] })],
);

/** Pull requests that results named; a URL counts once. */
export const pullRequests = muster.table(
  "pull_requests",
  {
    orgId: orgId(),
    url: text("url").notNull(),
    project: text("project").notNull(),
    jobId: uuid("job_id").notNull(),
    isOpen: boolean("is_open").notNull().default(true),
    isMerged: boolean("is_merged").notNull().default(false),
    /** Against the cap of its project, while it is open. */
    isCounted: boolean("is_counted").notNull().default(true),
    createdAt: at("created_at").notNull().default(now),
    changedAt: at("changed_at").notNull().default(now),
    /** When what stands here was true at GitHub, by its clock; null: an event never said so. */
    saidAt: at("said_at"),
    /** The worker whose result named it; null: not known. */
    workerId: uuid("worker_id"),
    /** The login at GitHub of who opened it; null: nobody said so yet. */
    author: text("author"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.url] }),
    index("pull_requests_by_worker").on(t.orgId, t.workerId).where(sql`is_open`),
    index("pull_requests_open").on(t.orgId, t.project).where(sql`is_open and is_counted`),
    index("pull_requests_by_time").on(t.orgId, t.createdAt.desc().nullsFirst(), t.url),
  ],
);

/** What principals changed: one row a call, append-only. */
export const auditLog = muster.table(
  "audit_log",
  {
    orgId: orgId(),
    auditId: uuid("audit_id").notNull(),
    at: at("at").notNull().default(now),
    actor: text("actor").notNull(),
    action: text("action").notNull(),
    target: text("target").notNull(),
    reason: text("reason").notNull(),
    requestId: text("request_id").notNull(),
    details: jsonb("details").$type<Record<string, unknown>>().notNull(),
    /** The transaction that wrote it: entries are sealed in the order of these, when all before have ended. */
    xid: xid8("xid").notNull().default(sql`pg_current_xact_id()`),
    /** SHA-256 of all of the above but `xid`, in a canonical form, by the database; nobody writes it. */
    contentHash: bytea("content_hash")
      .notNull()
      .generatedAlwaysAs(
        sql`muster.audit_hash(org_id, audit_id, at, actor, action, target, reason, request_id, details)`,
      ),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.auditId] }),
    index("audit_log_by_commit").on(t.orgId, t.xid, t.auditId),
  ],
);

/** The chain over the audit log of an org: each seal holds the hashes of entries, and the hash of the seal before. */
export const auditSeals = muster.table(
  "audit_seals",
  {
    orgId: orgId(),
    /** From 1, without gaps. */
    seal: bigint("seal", { mode: "number" }).notNull(),
    sealedAt: at("sealed_at").notNull().default(now),
    /** The last entry of it: the next seal begins after. */
    lastXid: xid8("last_xid").notNull(),
    lastId: uuid("last_id").notNull(),
    /** Its entries in their order, and their hashes, 32 bytes each, in the same. */
    entries: uuid("entries").array().notNull(),
    hashes: bytea("hashes").notNull(),
    hash: bytea("hash").notNull(),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.seal] })],
);

/** Coordinators that share this database. */
export const coordinators = muster.table("coordinators", {
  coordinatorId: uuid("coordinator_id").primaryKey(),
  apiAddress: text("api_address").notNull(),
  version: text("version").notNull(),
  startedAt: at("started_at").notNull().default(now),
  seenAt: at("seen_at").notNull().default(now),
  links: integer("links").notNull().default(0),
});

/** One row: its epoch grows when committed work may have been lost. */
export const cluster = muster.table("cluster", {
  id: integer("id").primaryKey(),
  epoch: bigint("epoch", { mode: "number" }).notNull(),
});
