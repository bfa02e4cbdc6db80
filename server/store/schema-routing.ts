import { at, muster, now, orgId } from "./columns.ts";
import {
  boolean,
  doublePrecision,
  index,
  integer,
  primaryKey,
  smallint,
  sql,
  text,
  uniqueIndex,
  uuid,
} from "./drizzle.ts";

/**
 * What may hold jobs of a queue, kind, pool or project back: a row only where something is limited or paused.
 * A claim locks the gates of its shapes in the order of their keys, and every exit from a lease gives back.
 */
export const gates = muster.table(
  "gates",
  {
    orgId: orgId(),
    /** `queue:<name>`, `kind:<name>`, `pool:<name>` or `project:<name>`. */
    key: text("key").notNull(),
    /** Leases of its jobs; of a project also its open pull requests. */
    used: integer("used").notNull(),
    /** Null: no limit. */
    maxUsed: integer("max_used"),
    pausedAt: at("paused_at"),
    pauseReason: text("pause_reason"),
    /** When a pause ends by itself; null: when somebody resumes it. */
    resumeAt: at("resume_at"),
    /** So many starts a period; null: no rate. */
    rateJobs: integer("rate_jobs"),
    ratePeriodMs: integer("rate_period_ms"),
    /** Starts that were free at `tokens_at`. */
    tokens: doublePrecision("tokens").notNull().default(0),
    tokensAt: at("tokens_at").notNull().default(now),
    createdAt: at("created_at").notNull().default(now),
    /** When `used` was last counted anew. */
    countedAt: at("counted_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.key] })],
);

/** Which waiting jobs depend on which; an edge goes when its parent's end reached the child. */
export const edges = muster.table(
  "edges",
  {
    orgId: orgId(),
    parentId: uuid("parent_id").notNull(),
    childId: uuid("child_id").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.parentId, t.childId] }),
    index("edges_by_child").on(t.orgId, t.childId),
  ],
);

/** Ends of jobs that have too many dependants for their transaction: a sweep takes them to their edges. */
export const releases = muster.table(
  "releases",
  {
    orgId: orgId(),
    parentId: uuid("parent_id").notNull(),
    /** The terminal state that the parent came to. */
    state: smallint("state").notNull(),
    createdAt: at("created_at").notNull().default(now),
  },
  (t) => [primaryKey({ columns: [t.orgId, t.parentId] })],
);

/** Working copies that workers have. */
export const linkedProjects = muster.table(
  "linked_projects",
  {
    orgId: orgId(),
    project: text("project").notNull(),
    workerId: uuid("worker_id").notNull(),
    root: text("root").notNull(),
    remoteUrl: text("remote_url").notNull(),
    linkedAt: at("linked_at"),
    linkedBy: text("linked_by").notNull(),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.project, t.workerId] }),
    index("linked_projects_by_worker").on(t.orgId, t.workerId),
  ],
);

/** Agent sessions that workers published. */
export const sessions = muster.table(
  "sessions",
  {
    orgId: orgId(),
    /** Chosen by the worker. */
    sessionId: text("session_id").notNull(),
    workerId: uuid("worker_id").notNull(),
    project: text("project"),
    label: text("label").notNull(),
    agent: text("agent").notNull(),
    agentSessionId: text("agent_session_id").notNull(),
    state: smallint("state").notNull(),
    role: text("role").notNull(),
    terminalTarget: text("terminal_target").notNull(),
    activeAt: at("active_at"),
    registeredAt: at("registered_at").notNull().default(now),
    isPrimary: boolean("is_primary").notNull(),
    /** Its worker says that it is: an operator may have decided otherwise. */
    saysPrimary: boolean("says_primary").notNull(),
    /** Its worker published it last time. */
    isPublished: boolean("is_published").notNull(),
    /** Its worker says that it is archived. */
    isArchived: boolean("is_archived").notNull(),
    /** An operator archived it. */
    archivedAt: at("archived_at"),
    /** Another worker published it lately. */
    contestedBy: uuid("contested_by"),
    contestedAt: at("contested_at"),
  },
  (t) => [
    primaryKey({ columns: [t.orgId, t.sessionId] }),
    uniqueIndex("sessions_primary").on(t.orgId, t.project).where(sql`is_primary`),
    index("sessions_by_project").on(t.orgId, t.project, t.registeredAt),
    index("sessions_by_worker").on(t.orgId, t.workerId),
    index("sessions_contested").on(t.orgId, t.contestedAt).where(sql`contested_at is not null`),
  ],
);
