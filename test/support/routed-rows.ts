import { type InternedShape, internShape, type Shape } from "../../server/domain/rules/shapes.ts";
import { JobState } from "../../server/domain/rules/states.ts";
import type { TestDatabase } from "./database.ts";
import { insertJob, insertWorkerRow, type JobRows } from "./rows.ts";

/*
 * Rows of jobs, workers, sessions and gates as they are when something is explained, put there as the superuser.
 */

/** A shape with defaults. */
export function shapeOf(overrides: Partial<Shape> = {}): InternedShape {
  return internShape({
    kind: "shell.run",
    queue: "default",
    skills: [],
    points: 1,
    pool: null,
    project: null,
    target: null,
    avoid: [],
    isAlone: false,
    ...overrides,
  });
}

/** Inserts a job with its shape, READY unless told otherwise; returns its id. */
export async function insertShaped(
  db: TestDatabase,
  orgId: string,
  rows: JobRows & {
    readonly shape?: Partial<Shape>;
    readonly priority?: number;
    /** How long ago it became ready. */
    readonly readyForMs?: number;
    readonly waitingOn?: number;
    readonly losses?: number;
  } = {},
): Promise<string> {
  const shape = shapeOf({
    ...(rows.kind === undefined ? {} : { kind: rows.kind }),
    ...(rows.queue === undefined ? {} : { queue: rows.queue }),
    ...rows.shape,
  });
  await insertShape(db, orgId, shape);
  const { jobId } = await insertJob(db, orgId, {
    ...rows,
    kind: shape.kind,
    queue: shape.queue,
    points: shape.points,
    ...(shape.project === null ? {} : { project: shape.project }),
  });
  const isReady = (rows.state ?? JobState.ready) === JobState.ready;
  await db.admin`
    update muster.job_queue set shape_id = ${shape.shapeId.toString()}, priority = ${rows.priority ?? 128},
      waiting_on = ${rows.waitingOn ?? 0}, losses = ${rows.losses ?? 0},
      ready_at = case when ${isReady} then muster.muster_clock() - ${rows.readyForMs ?? 0}::float8 * interval '1 millisecond' end
    where org_id = ${orgId} and job_id = ${jobId}`;
  return jobId;
}

/** Inserts a shape, if it is not there. */
export async function insertShape(
  db: TestDatabase,
  orgId: string,
  { shapeId, kind, queue, skills, points, pool, project, target, avoid, isAlone }: InternedShape,
): Promise<void> {
  await db.admin`
    insert into muster.shapes (org_id, shape_id, kind, queue, skills, points, pool, project, target, avoid, alone)
    values (${orgId}, ${shapeId.toString()}, ${kind}, ${queue}, ${[...skills]}, ${points}, ${pool}, ${project}, ${target},
      ${[...avoid]}::uuid[], ${isAlone})
    on conflict do nothing`;
}

/** Inserts an attached worker that has a handler for shell.run, unless told otherwise; returns its id. */
export async function insertAble(
  db: TestDatabase,
  orgId: string,
  {
    kinds = ["shell.run"],
    skills = [],
    link = {},
    isSuspect = false,
    isQuarantined,
    ...rows
  }: Omit<Parameters<typeof insertWorkerRow>[2], "link"> & {
    readonly kinds?: readonly string[];
    readonly skills?: readonly string[];
    /** Null: it never connected. */
    readonly link?: Parameters<typeof insertWorkerRow>[2]["link"] | null;
    readonly isSuspect?: boolean;
  },
): Promise<string> {
  const workerId = await insertWorkerRow(db, orgId, {
    ...rows,
    ...(isQuarantined === undefined ? {} : { isQuarantined }),
    ...(link === null || link === undefined ? {} : { link }),
  });
  const named = skills.map((name) => ({ name, digest: "" }));
  await db.admin`
    update muster.workers set kinds = ${[...kinds]}, skills = ${db.admin.json(named)}
    where org_id = ${orgId} and worker_id = ${workerId}`;
  if (isSuspect) {
    await db.admin`
      update muster.links set suspect_at = muster.muster_clock() where org_id = ${orgId} and worker_id = ${workerId}`;
  }
  return workerId;
}

/** Inserts a gate. */
export async function insertGate(
  db: TestDatabase,
  orgId: string,
  key: string,
  gate: {
    readonly used?: number;
    readonly maxUsed?: number;
    readonly isPaused?: boolean;
    readonly reason?: string;
    readonly resumeInMs?: number;
    readonly rate?: { readonly jobs: number; readonly periodMs: number; readonly tokens: number };
  },
): Promise<void> {
  const { used = 0, maxUsed = null, isPaused = false, reason = null, resumeInMs = null, rate } = gate;
  await db.admin`
    insert into muster.gates (org_id, key, used, max_used, paused_at, pause_reason, resume_at, rate_jobs, rate_period_ms,
      tokens)
    values (${orgId}, ${key}, ${used}, ${maxUsed}, case when ${isPaused} then muster.muster_clock() end, ${reason},
      muster.muster_clock() + ${resumeInMs}::float8 * interval '1 millisecond', ${rate?.jobs ?? null},
      ${rate?.periodMs ?? null}, ${rate?.tokens ?? 0})`;
}

/** Inserts a session that can be used as far as it tells, unless told otherwise. */
export async function insertSession(
  db: TestDatabase,
  orgId: string,
  of: {
    readonly sessionId: string;
    readonly workerId: string;
    readonly project?: string;
    readonly isPrimary?: boolean;
    readonly isPublished?: boolean;
    readonly isArchived?: boolean;
    readonly isArchivedByOperator?: boolean;
    readonly isResumable?: boolean;
    readonly state?: number;
    readonly contestedBy?: string;
  },
): Promise<void> {
  const row = {
    org_id: orgId,
    session_id: of.sessionId,
    worker_id: of.workerId,
    project: of.project ?? null,
    label: "",
    agent: "codex",
    agent_session_id: (of.isResumable ?? true) ? "agent-1" : "",
    state: of.state ?? 1,
    role: "",
    terminal_target: "",
    registered_at: new Date(db.nowMs()),
    is_primary: of.isPrimary ?? false,
    says_primary: of.isPrimary ?? false,
    is_published: of.isPublished ?? true,
    is_archived: of.isArchived ?? false,
    archived_at: (of.isArchivedByOperator ?? false) ? new Date(db.nowMs()) : null,
    contested_by: of.contestedBy ?? null,
    contested_at: of.contestedBy === undefined ? null : new Date(db.nowMs()),
  };
  await db.admin`
    insert into muster.sessions select * from jsonb_populate_record(null::muster.sessions, ${JSON.stringify(row)}::text::jsonb)`;
}
