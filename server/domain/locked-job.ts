import type { Row } from "postgres";
import type { DependencyPolicy } from "./rules/dependencies.ts";
import type { JobFacts } from "./rules/lifecycle.ts";
import { scheduleOfActor } from "./rules/schedules.ts";
import { type Shape, type ShapeTarget, shapeTarget } from "./rules/shapes.ts";
import type { JobState } from "./rules/states.ts";

/** A live row whose lock is held, with the policy of its job. */
export interface LockedJob extends JobFacts {
  readonly jobId: string;
  readonly batchId: string | null;
  readonly attempt: number;
  readonly generation: number;
  readonly shapeId: bigint;
  readonly leaseId: string | null;
  readonly workerId: string | null;
  /** When the row was read, by the database's clock: milliseconds since 1970. */
  readonly readAtMs: number;
  /** Its deadline has passed. */
  readonly isOverdue: boolean;
  readonly grantedAtSeconds: number | null;
  /** From ready to granted; null: it is not leased, or that is not known. */
  readonly waitedSeconds: number | null;
  readonly reason: string | null;
  readonly kind: string;
  readonly project: string | null;
  readonly priority: number;
  /** It may open a pull request that counts against the cap of its project. */
  readonly opensPullRequest: boolean;
  /** Whom it was submitted for. */
  readonly askedTarget: ShapeTarget | null;
  /** The session that its lease was given, or that it goes back to. */
  readonly sessionId: string | null;
  /** What becomes of it when a job that it depends on dies. */
  readonly dependencyPolicy: DependencyPolicy;
  /** Other jobs wait for its end. */
  readonly hasDependants: boolean;
  /** What decides who may run it, now. */
  readonly shape: Shape;
}

/** Reads a row of `lockLeases` or `lockJobs`. */
export function lockedJob(row: Row): LockedJob {
  return {
    jobId: String(row["job"]),
    batchId: text(row["batch"]),
    state: stateOf(row["state"]),
    attempt: Number(row["attempt"]),
    generation: Number(row["generation"]),
    shapeId: BigInt(String(row["shape"])),
    leaseId: text(row["lease"]),
    workerId: text(row["worker"]),
    waitingOn: Number(row["waiting"]),
    readyInMs: row["ready_in"] === null ? null : Number(row["ready_in"]),
    readAtMs: Number(row["read_at"]),
    isOverdue: row["overdue"] === true,
    grantedAtSeconds: row["granted"] === null ? null : Number(row["granted"]),
    waitedSeconds: row["waited"] === null ? null : Number(row["waited"]),
    reason: text(row["reason"]),
    kind: String(row["kind"]),
    project: text(row["project"]),
    opensPullRequest: row["opens"] === true,
    askedTarget: shapeTarget(text(row["asked_target"])),
    priority: Number(row["priority"]),
    sessionId: text(row["session"]),
    dependencyPolicy: row["policy"] === "release" ? "release" : "cancel",
    hasDependants: row["has_dependants"] === true,
    shape: {
      kind: String(row["kind"]),
      queue: String(row["queue"]),
      skills: [...new Set(texts(row["skills"]))].sort(),
      points: Number(row["points"]),
      pool: text(row["pool"]),
      project: row["opens"] === true ? text(row["project"]) : null,
      target: shapeTarget(text(row["target"])),
      avoid: texts(row["avoid"]),
      isAlone: row["alone"] === true,
      accountedTo: row["opens"] === true ? null : text(row["project"]),
      schedule: scheduleOfActor(String(row["submitter"])),
    },
    failures: Number(row["failures"]),
    losses: Number(row["losses"]),
    releases: Number(row["releases"]),
    isCancelRequested: row["cancelling"] === true,
    maxAttempts: Number(row["tries"]),
    backoff: {
      initialMs: Number(row["backoff_initial"]),
      maxMs: Number(row["backoff_max"]),
      factor: Number(row["backoff_factor"]),
    },
    isAtMostOnce: row["at_most_once"] === true,
    isAlone: row["alone"] === true,
  };
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function text(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value);
}

// The column holds no other number: every write of it goes through the table of transitions.
function stateOf(value: unknown): JobState {
  return Number(value) as JobState;
}
