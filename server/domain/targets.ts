import { inOrg } from "../store/database.ts";
import { findTargets } from "../store/targets.ts";
import type { Coordinator } from "./context.ts";
import { DomainError, notFound, type Violation } from "./errors.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import type { ShapeTarget } from "./rules/shapes.ts";

/**
 * Who alone may run each of some jobs, as it is stored; null: any worker that can. Throws WORKER_NOT_FOUND or
 * SESSION_NOT_FOUND with all the fields that name what the org does not have. A session may be archived: its jobs wait.
 *
 * @param pathOf where a job stands in the request.
 */
export async function resolveTargets(
  c: Pick<Coordinator, "db">,
  orgId: string,
  jobs: readonly JobRequest[],
  pathOf: (index: number) => string,
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
    const { field, message, error } = target;
    missing.push({ violation: { field: `${pathOf(index)}.target.${field}`, message }, error });
    return null;
  });
  const [first] = missing;
  if (first === undefined) return targets;
  const { reason, message, details } = first.error;
  const violations = missing.slice(0, mostViolations).map((one) => one.violation);
  throw new DomainError(reason, { message: `${first.violation.field}: ${message}`, details, violations });
}

const mostViolations = 1_000;

interface Missing {
  readonly violation: Violation;
  readonly error: DomainError;
}

function targetOf(
  { target, project }: JobRequest,
  found: Awaited<ReturnType<typeof findTargets>>,
): ShapeTarget | null | { readonly field: string; readonly message: string; readonly error: DomainError } {
  switch (target?.type) {
    case "worker": {
      const workerId = target.workerId ?? found.names.get(target.name);
      if (workerId !== undefined && found.workerIds.has(workerId)) return `worker:${workerId}`;
      const error = notFound("WORKER_NOT_FOUND", target.name);
      return { field: "worker", message: "names no worker", error };
    }
    case "session": {
      if (found.sessionIds.has(target.sessionId)) return `session:${target.sessionId}`;
      const error = notFound("SESSION_NOT_FOUND", target.sessionId);
      return { field: "sessionId", message: "names no session", error };
    }
    case "project":
      return project === null ? null : `project:${project}`;
    case undefined:
      return null;
  }
}
