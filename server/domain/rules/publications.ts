/** A project whose working copy a worker has. */
export interface PublishedProject {
  readonly project: string;
  /** On the worker's machine. */
  readonly root: string;
  readonly remoteUrl: string;
  readonly linkedAt: Date | null;
  readonly linkedBy: string;
}

/** A session as its worker says it. */
export interface PublishedSession {
  readonly sessionId: string;
  readonly project: string | null;
  readonly label: string;
  readonly agent: string;
  readonly agentSessionId: string;
  /** As in `SessionState`. */
  readonly state: number;
  readonly role: string;
  readonly terminalTarget: string;
  readonly activeAt: Date | null;
  readonly isArchived: boolean;
  /** The worker says that it is the first choice of its project. */
  readonly saysPrimary: boolean;
}

/** What was not taken over. */
export interface Conflict {
  /** Empty: it is about a linked project. */
  readonly sessionId: string;
  /** The worker that has it; null when nobody has. */
  readonly workerId: string | null;
  readonly workerName: string;
  /** For people: what is wrong and what to do. */
  readonly detail: string;
}

/** All that a worker publishes, checked for its form. */
export interface Published {
  readonly projects: readonly PublishedProject[];
  readonly sessions: readonly PublishedSession[];
  /** Entries that are malformed or too many. */
  readonly refused: readonly Conflict[];
}

/** Nothing. */
export const nothingPublished: Published = { projects: [], sessions: [], refused: [] };

/** A session that is known already. */
export interface KnownSession extends PublishedSession {
  readonly workerId: string;
  readonly workerName: string;
  readonly isPrimary: boolean;
  readonly isPublished: boolean;
  /** How long its worker has shown no life; null when it never was attached. */
  readonly silentMs: number | null;
}

/** What a publication changes. */
export interface Publication {
  /** The sessions that the worker has now, as they are to be kept. */
  readonly kept: readonly (PublishedSession & { readonly isPrimary: boolean })[];
  /** Those of `kept` that differ from what is known. */
  readonly written: readonly (PublishedSession & { readonly isPrimary: boolean })[];
  /** Sessions that their first owner left: the worker takes them over. */
  readonly freed: readonly string[];
  /** Sessions that are no longer the primary ones. */
  readonly demoted: readonly string[];
  /** Sessions that the worker does not publish any more. */
  readonly withdrawn: readonly string[];
  /** Sessions that another worker has. */
  readonly contested: readonly string[];
  readonly conflicts: readonly Conflict[];
}

/** An owner that is silent for so long, and had withdrawn a session before, has left it. */
export const ownerLeftMs = 24 * 3_600_000;

/**
 * What becomes of the sessions that a worker publishes. `known`: its own ones, those of the same ids, and the primary
 * ones of the same projects. One owner a session, one primary session a project: who comes second is told who was
 * first. What an operator decided about the primary session stands until its worker says something else than before.
 */
export function planPublication(
  workerId: string,
  published: readonly PublishedSession[],
  known: readonly KnownSession[],
): Publication {
  const byId = new Map(known.map((one) => [one.sessionId, one]));
  const freed: string[] = [];
  const contested: string[] = [];
  const demoted: string[] = [];
  const conflicts: Conflict[] = [];
  const own: { readonly said: PublishedSession; readonly before: KnownSession | null }[] = [];
  for (const said of published) {
    const before = byId.get(said.sessionId) ?? null;
    if (before === null || before.workerId === workerId) own.push({ said, before });
    else if (!before.isPublished && (before.silentMs === null || before.silentMs > ownerLeftMs)) {
      freed.push(said.sessionId);
      own.push({ said, before: null });
    } else {
      contested.push(said.sessionId);
      conflicts.push(conflict(said.sessionId, before, ownedBy(before)));
    }
  }
  const isFreed = (sessionId: string) => freed.includes(sessionId);
  const saidNow = new Map(own.map(({ said }) => [said.sessionId, said]));
  const primaries = new Map<string, KnownSession>();
  for (const one of known) {
    if (one.isPrimary && one.project !== null && !isFreed(one.sessionId)) primaries.set(one.project, one);
  }
  const lost = new Set<string>();
  const demote = (session: KnownSession, project: string) => {
    demoted.push(session.sessionId);
    lost.add(session.sessionId);
    primaries.delete(project);
  };
  for (const { said, before } of own) {
    if (!before?.isPrimary || before.project === null) continue;
    const isTakenBack = before.saysPrimary && !said.saysPrimary;
    if (before.project !== said.project || isTakenBack) demote(before, before.project);
  }
  const gained = new Set<string>();
  for (const { said, before } of own) {
    if (!said.saysPrimary) continue;
    const { project, sessionId } = said;
    if (project === null) {
      conflicts.push(conflict(sessionId, null, "it has no project whose primary session it could be"));
      continue;
    }
    const holder = primaries.get(project);
    if (holder?.sessionId === sessionId) continue;
    const isNew = before === null || !before.saysPrimary || before.project !== project;
    const isLeft =
      holder &&
      (holder.workerId === workerId
        ? !saidNow.has(holder.sessionId) || (isNew && saidNow.get(holder.sessionId)?.saysPrimary !== true)
        : !holder.isPublished);
    if (holder && !isLeft) {
      conflicts.push(conflict(sessionId, holder, primaryIs(project, holder)));
      continue;
    }
    if (holder) demote(holder, project);
    gained.add(sessionId);
    primaries.set(project, {
      ...said,
      workerId,
      workerName: "",
      isPrimary: true,
      isPublished: true,
      silentMs: 0,
    });
  }
  const kept = own.map(({ said, before }) => ({
    ...said,
    isPrimary: gained.has(said.sessionId) || (before?.isPrimary === true && !lost.has(said.sessionId)),
  }));
  return {
    kept,
    written: kept.filter((one) => differs(one, isFreed(one.sessionId) ? undefined : byId.get(one.sessionId))),
    freed,
    demoted,
    withdrawn: known
      .filter((one) => one.workerId === workerId && one.isPublished && !saidNow.has(one.sessionId))
      .map((one) => one.sessionId),
    contested,
    conflicts,
  };
}

function conflict(sessionId: string, owner: KnownSession | null, detail: string): Conflict {
  return { sessionId, workerId: owner?.workerId ?? null, workerName: owner?.workerName ?? "", detail };
}

function ownedBy({ workerName, isPublished, sessionId }: KnownSession): string {
  if (isPublished)
    return `worker ${workerName} published it first: end it there, or give this one another id`;
  const command = `muster session remove ${sessionId}`;
  return `worker ${workerName} had it first, and may publish it again: if it is gone for good, ${command}`;
}

function primaryIs(project: string, { sessionId, workerName }: KnownSession): string {
  const where = workerName === "" ? "" : ` of worker ${workerName}`;
  return `project ${project} has a primary session: ${sessionId}${where}. It is kept as another one of the project; muster session set-primary changes that`;
}

function differs(
  now: PublishedSession & { readonly isPrimary: boolean },
  before: KnownSession | undefined,
): boolean {
  if (!before?.isPublished) return true;
  const isSame =
    now.project === before.project &&
    now.label === before.label &&
    now.agent === before.agent &&
    now.agentSessionId === before.agentSessionId &&
    now.state === before.state &&
    now.role === before.role &&
    now.terminalTarget === before.terminalTarget &&
    now.activeAt?.getTime() === before.activeAt?.getTime() &&
    now.isArchived === before.isArchived &&
    now.saysPrimary === before.saysPrimary &&
    now.isPrimary === before.isPrimary;
  return !isSame;
}
