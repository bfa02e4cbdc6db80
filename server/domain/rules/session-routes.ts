import type { Route, WorkerFacts } from "./routing.ts";
import { anyRoute, closedReason } from "./routing.ts";
import { type ShapeTarget, targetParts } from "./shapes.ts";

/** What decides whether jobs may be routed to a session, as the store has it. */
export interface SessionFacts {
  readonly sessionId: string;
  readonly workerId: string;
  readonly project: string | null;
  readonly isPrimary: boolean;
  /** Its worker published it last time. */
  readonly isPublished: boolean;
  /** By its worker or by an operator. */
  readonly isArchived: boolean;
  readonly isArchivedByOperator: boolean;
  readonly isEnded: boolean;
  /** The agent's own id of it is known. */
  readonly isResumable: boolean;
  readonly registeredAt: Date;
}

/** Why no session takes a job. `owner`: its worker does not take jobs, which may pass by itself. */
export type SessionProblem = "missing" | "archived" | "unpublished" | "ended" | "not-resumable" | "owner";

/** A target with where it leads, and why it leads nowhere. */
export interface TargetRoute {
  readonly route: Route;
  readonly problem: SessionProblem | null;
  /** The session that is nearest to taking the job; null: there is none, or it takes it. */
  readonly nearest: SessionFacts | null;
}

/** Where a target leads: exactly there; of a project to its primary session, else to the first that is usable. */
export function routeOf(
  target: ShapeTarget | null,
  sessions: readonly SessionFacts[],
  workers: ReadonlyMap<string, WorkerFacts>,
): TargetRoute {
  if (target === null) return { route: anyRoute, problem: null, nearest: null };
  const { type, name } = targetParts(target);
  if (type === "worker") return { route: toWorker(name, null), problem: null, nearest: null };
  const candidates = sessions
    .filter((one) => (type === "session" ? one.sessionId === name : one.project === name))
    .sort(firstChoice);
  const usable = candidates.find((one) => sessionProblem(one, workers.get(one.workerId)) === null);
  if (usable) return { route: toWorker(usable.workerId, usable.sessionId), problem: null, nearest: null };
  const nearest = candidates.toSorted((a, b) => rank(a) - rank(b))[0] ?? null;
  const problem = nearest && sessionProblem(nearest, workers.get(nearest.workerId));
  const detail =
    nearest && problem
      ? problemDetail(problem, nearest, workers.get(nearest.workerId))
      : type === "session"
        ? `no worker has session ${name}`
        : `no worker has a session of project ${name}`;
  return { route: { kind: "none", detail }, problem: problem ?? "missing", nearest };

  function rank(session: SessionFacts): number {
    return problemOrder.indexOf(sessionProblem(session, workers.get(session.workerId)) ?? "owner");
  }
}

/** Why a session takes no jobs; null: it does. */
export function sessionProblem(session: SessionFacts, owner: WorkerFacts | undefined): SessionProblem | null {
  if (session.isArchived || session.isArchivedByOperator) return "archived";
  if (session.isEnded) return "ended";
  if (!session.isPublished) return "unpublished";
  if (!session.isResumable) return "not-resumable";
  if (owner === undefined) return "owner";
  const closed = closedReason(owner);
  // One that leaves a cancel unanswered is still the owner: its jobs wait for it.
  return closed === null || closed === "suspect" ? null : "owner";
}

function problemDetail(
  problem: SessionProblem,
  session: SessionFacts,
  owner: WorkerFacts | undefined,
): string {
  const { sessionId } = session;
  const name = owner?.name ?? "its worker";
  switch (problem) {
    case "missing":
      return `no worker has session ${sessionId}`;
    case "archived":
      return session.isArchivedByOperator
        ? `session ${sessionId} was archived by an operator`
        : `session ${sessionId} is archived on worker ${name}`;
    case "ended":
      return `session ${sessionId} has ended on worker ${name}`;
    case "unpublished":
      return `worker ${name} no longer publishes session ${sessionId}`;
    case "not-resumable":
      return `session ${sessionId} cannot be resumed yet: its agent session is not known`;
    case "owner": {
      const closed = owner === undefined ? "offline" : closedReason(owner);
      return `worker ${name}, which has session ${sessionId}, is ${closed ?? "away"}`;
    }
  }
}

// The nearest to being usable first.
const problemOrder: readonly SessionProblem[] = [
  "owner",
  "not-resumable",
  "archived",
  "unpublished",
  "ended",
  "missing",
];

function firstChoice(a: SessionFacts, b: SessionFacts): number {
  return (
    Number(b.isPrimary) - Number(a.isPrimary) ||
    a.registeredAt.getTime() - b.registeredAt.getTime() ||
    (a.sessionId < b.sessionId ? -1 : 1)
  );
}

function toWorker(workerId: string, sessionId: string | null): Route {
  return { kind: "worker", workerId, sessionId };
}
