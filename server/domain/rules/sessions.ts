/** What an agent session does. The numbers are those of the protocol. */
export const SessionState = { unspecified: 0, idle: 1, busy: 2, ended: 3 } as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

/** What of a session decides whether jobs can be routed to it. */
export interface SessionFacts {
  /** Its worker published it last time. */
  readonly isPublished: boolean;
  /** Its worker says that it is archived. */
  readonly isArchived: boolean;
  /** An operator archived it. */
  readonly archivedAt: Date | null;
  readonly agentSessionId: string;
  /** As in `SessionState`. */
  readonly state: number;
  readonly isWorkerAttached: boolean;
  readonly isWorkerStale: boolean;
  readonly isWorkerDisabled: boolean;
  readonly isWorkerQuarantined: boolean;
  readonly isWorkerDraining: boolean;
}

/** Why no job can be routed to a session now, for people: the first reason; null when one can. */
export function unusableReason(session: SessionFacts): string | null {
  if (session.archivedAt !== null) return "an operator archived it";
  if (session.isArchived) return "its worker archived it";
  if (!session.isPublished) return "its worker no longer publishes it";
  if (session.state === SessionState.ended) return "it has ended";
  if (session.agentSessionId === "") return "its agent has not named its session yet";
  if (session.isWorkerDisabled) return "its worker is disabled";
  if (!session.isWorkerAttached) return "its worker is not connected";
  if (session.isWorkerStale) return "its worker is stale: it shows no life";
  if (session.isWorkerQuarantined) return "its worker is quarantined";
  if (session.isWorkerDraining) return "its worker drains";
  return null;
}

/** A session of a project, among which the first choice is made. */
export interface RoutedSession {
  readonly sessionId: string;
  readonly isPrimary: boolean;
  readonly registeredAt: Date;
}

/** Which of the usable sessions of a project its jobs go to: the primary one, else the one that was there first. */
export function firstChoice<T extends RoutedSession>(usable: readonly T[]): T | null {
  const [first = null] = [...usable].sort(
    (a, b) =>
      Number(b.isPrimary) - Number(a.isPrimary) ||
      a.registeredAt.getTime() - b.registeredAt.getTime() ||
      (a.sessionId < b.sessionId ? -1 : 1),
  );
  return first;
}
