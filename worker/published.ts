import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { type LinksChanged, LinksChangedSchema } from "@muster/client/v1/link";
import { type LinkConflict, SessionState } from "@muster/client/v1/session";

/** A project whose working copy this machine has. */
export interface LinkedProject {
  /** Name of the project: 1 to 200 characters of `a-z A-Z 0-9 . _ - /`. */
  readonly project: string;
  /** Root of the working copy; at most 500 characters, as all texts here. */
  readonly root: string;
  /** Remote URL of the working copy. */
  readonly remoteUrl?: string;
  /** When it was linked. */
  readonly linkedAt?: Date;
  /** Who linked it. */
  readonly linkedBy?: string;
}

/** What an agent session does. */
export type SessionActivity = "idle" | "busy" | "ended";

/** A resumable agent session on this machine. */
export interface OwnSession {
  /** Id of the session, unique in the org: 1 to 200 characters. */
  readonly id: string;
  /** For people. */
  readonly label?: string;
  /** The agent program, e.g. `codex`. */
  readonly agent?: string;
  /** The agent's own id of the session; until it is known no job is routed to the session. */
  readonly agentSessionId?: string;
  /** What it does. Default `idle`. */
  readonly state?: SessionActivity;
  /** Its role, e.g. `review`. */
  readonly role?: string;
  /** Where a terminal is attached to it. */
  readonly terminalTarget?: string;
  /** When it last did something. */
  readonly activeAt?: Date;
  /** No longer to be used. */
  readonly archived?: boolean;
  /** The first choice of its project; there is one a project. */
  readonly primary?: boolean;
  /** The project that it belongs to. */
  readonly project?: string;
}

/** All that a worker publishes: at most 200 linked projects and 1,000 sessions. */
export interface Publication {
  readonly linkedProjects: readonly LinkedProject[];
  readonly sessions: readonly OwnSession[];
}

/** Something that was published and not taken over: malformed, or another worker has it. */
export interface PublishConflict {
  /** Empty: it is about a linked project. */
  readonly sessionId: string;
  /** `wrk_…` of the worker that has it; empty when nobody has. */
  readonly workerId: string;
  /** Name of that worker. */
  readonly workerName: string;
  /** For people: what is wrong and what to do. */
  readonly detail: string;
}

/** A publication on the wire. */
export function linksOf({ linkedProjects, sessions }: Publication): LinksChanged {
  return create(LinksChangedSchema, {
    linkedProjects: linkedProjects.map(({ project, root, remoteUrl = "", linkedAt, linkedBy = "" }) => ({
      project,
      root,
      remoteUrl,
      linkedBy,
      ...(isTime(linkedAt) ? { linkTime: timestampFromDate(linkedAt) } : {}),
    })),
    sessions: sessions.map(({ id, state = "idle", activeAt, ...session }) => ({
      ...session,
      sessionId: id,
      state: states[state] ?? SessionState.UNSPECIFIED,
      ...(isTime(activeAt) ? { activeTime: timestampFromDate(activeAt) } : {}),
    })),
  });
}

/** Conflicts as plain data. */
export function conflictsOf(conflicts: readonly LinkConflict[]): PublishConflict[] {
  return conflicts.map(({ sessionId, workerId, workerName, detail }) => ({
    sessionId,
    workerId,
    workerName,
    detail,
  }));
}

const states: Readonly<Record<SessionActivity, SessionState>> = {
  idle: SessionState.IDLE,
  busy: SessionState.BUSY,
  ended: SessionState.ENDED,
};

function isTime(date: Date | undefined): date is Date {
  return date !== undefined && !Number.isNaN(date.getTime());
}
