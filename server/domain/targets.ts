import { inOrg } from "../store/database.ts";
import { findTargets } from "../store/targets.ts";
import type { Coordinator } from "./context.ts";
import { DomainError, notFound, type Violation } from "./errors.ts";
import { isAnyTaken } from "./project-names.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import type { ShapeTarget } from "./rules/shapes.ts";

/**
 * Who alone may run each of some jobs, as it is stored; null: any worker that can. Throws WORKER_NOT_FOUND or
 * SESSION_NOT_FOUND with all the fields that name what the org does not have. A session may be archived: its jobs wait.
 * A submission that repeats an earlier one by its keys is let through, to be told what became of that.
 *
 * @param pathOf where a job stands in the request.
 * @param keys of the submission.
 */
export async function resolveTargets(
  c: Pick<Coordinator, "db">,
  orgId: string,
  jobs: readonly JobRequest[],
  pathOf: (index: number) => string,
  keys: readonly string[],
): Promise<(ShapeTarget | null)[]> {
  const asked = jobs.flatMap(({ target }) => target ?? []);
  if (asked.length === 0) return jobs.map(() => null);
  const workers = asked.filter((one) => one.type === "worker");
  const sessionIds = asked.flatMap((one) => (one.type === "session" ? one.sessionId : []));
  const found = await inOrg(c.db.app, orgId, (tx) =>
    findTargets(tx, orgId, {
      workerIds: workers.flatMap((one) => one.workerId ?? []),
      names: workers.flatMap((one) => (one.workerId === null ? one.name : [])),
      sessionIds,
    }),
  );
  const missing: Missing[] = [];
  const targets = jobs.map((job, index) => {
    const target = targetOf(job, found);
    if (target === null || typeof target === "string") return target;
    const { field, message, error, asked } = target;
    missing.push({ violation: { field: `${pathOf(index)}.target.${field}`, message }, error, asked });
    return asked;
  });
  const [first] = missing;
  if (first === undefined) return targets;
  if (missing.every(({ asked }) => asked !== null) && (await isAnyTaken(c, orgId, keys))) return targets;
  const { reason, message, details } = first.error;
  const violations = missing.slice(0, mostViolations).map((one) => one.violation);
  throw new DomainError(reason, { message: `${first.violation.field}: ${message}`, details, violations });
}

const mostViolations = 1_000;

interface Missing {
  readonly violation: Violation;
  readonly error: DomainError;
  /** What would be stored if it were there; null: a name says nothing then. */
  readonly asked: ShapeTarget | null;
}

function targetOf(
  { target, project }: JobRequest,
  found: Awaited<ReturnType<typeof findTargets>>,
):
  | ShapeTarget
  | null
  | (Pick<Missing, "error" | "asked"> & { readonly field: string; readonly message: string }) {
  switch (target?.type) {
    case "worker": {
      const workerId = target.workerId ?? found.names.get(target.name);
      if (workerId !== undefined && found.workerIds.has(workerId)) return `worker:${workerId}`;
      const error = notFound("WORKER_NOT_FOUND", target.name);
      const asked: ShapeTarget | null = target.workerId === null ? null : `worker:${target.workerId}`;
      return { field: "worker", message: "names no worker", error, asked };
    }
    case "session": {
      const asked: ShapeTarget = `session:${target.sessionId}`;
      if (found.sessionIds.has(target.sessionId)) return asked;
      const error = notFound("SESSION_NOT_FOUND", target.sessionId);
      return { field: "sessionId", message: "names no session", error, asked };
    }
    case "project":
      return project === null ? null : `project:${project}`;
    case undefined:
      return null;
  }
}
