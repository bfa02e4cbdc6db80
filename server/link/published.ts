import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { LinksChanged } from "@muster/client/v1/link";
import type { LinkConflictSchema, LinkedProject, Session } from "@muster/client/v1/session";
import type { OwnedSession } from "../dispatch/link.ts";
import { encodeId } from "../domain/ids.ts";
import type {
  Conflict,
  Published,
  PublishedProject,
  PublishedSession,
} from "../domain/rules/publications.ts";
import { nameViolations, projectRule, textViolations } from "../domain/rules/texts.ts";

/** What one worker may publish. */
const mostProjects = 200;
const mostSessions = 1_000;
/** Conflicts that are told one by one; what is beyond them is counted. */
const mostConflicts = 100;

const idRule = { min: 1, max: 200 };
const textRule = { min: 0, max: 500 };

/**
 * Reads what a worker publishes. An entry that is malformed, named twice or one too many is left out, with why; the
 * others count, and the link stands.
 */
export function readPublished(frame: Pick<LinksChanged, "linkedProjects" | "sessions">): Published {
  const refused: Conflict[] = [];
  const projects = readEach(
    frame.linkedProjects,
    mostProjects,
    (one) => one.project,
    readProject,
    (one, why) => {
      refused.push({ ...nobody, detail: `linked project ${shown(one.project)} ${why}` });
    },
  );
  const sessions = readEach(
    frame.sessions,
    mostSessions,
    (one) => one.sessionId,
    readSession,
    (one, why) => {
      refused.push({
        ...nobody,
        sessionId: shown(one.sessionId),
        detail: `session ${shown(one.sessionId)} ${why}`,
      });
    },
  );
  return { projects, sessions, refused };
}

/** Conflicts on the wire; of very many the rest as a number. */
export function conflictMessages(
  conflicts: readonly Conflict[],
): MessageInitShape<typeof LinkConflictSchema>[] {
  const told = conflicts.slice(0, mostConflicts).map(({ sessionId, workerId, workerName, detail }) => ({
    sessionId,
    workerId: workerId === null ? "" : encodeId("worker", workerId),
    workerName,
    detail,
  }));
  const more = conflicts.length - told.length;
  return more === 0 ? told : [...told, { detail: `and ${more} more entries were not taken over` }];
}

/** A session of a link's worker, whole. */
export function sessionMessage(
  { workerId, workerName }: { readonly workerId: string; readonly workerName: string },
  session: OwnedSession,
): Session {
  const { sessionId, label, agent, agentSessionId, state, role, terminalTarget, activeAt } = session;
  return {
    $typeName: "muster.v1.Session",
    sessionId,
    label,
    agent,
    agentSessionId,
    state,
    role,
    terminalTarget,
    archived: session.isArchived,
    primary: session.isPrimary,
    project: session.project ?? "",
    workerId: encodeId("worker", workerId),
    workerName,
    // It was given to the worker to use.
    usable: true,
    unusableReason: "",
    ...(activeAt === null ? {} : { activeTime: timestampFromDate(activeAt) }),
  };
}

const nobody = { sessionId: "", workerId: null, workerName: "" };

function readEach<Entry, Read>(
  entries: readonly Entry[],
  most: number,
  nameOf: (entry: Entry) => string,
  read: (entry: Entry) => Read | string,
  refuse: (entry: Entry, why: string) => void,
): Read[] {
  const seen = new Set<string>();
  const kept: Read[] = [];
  for (const entry of entries) {
    const one = read(entry);
    if (typeof one === "string") refuse(entry, one);
    else if (seen.has(nameOf(entry))) refuse(entry, "is named twice: the first one counts");
    else if (kept.length >= most) refuse(entry, `is one too many: a worker publishes at most ${most}`);
    else {
      seen.add(nameOf(entry));
      kept.push(one);
    }
  }
  return kept;
}

function readProject({
  project,
  root,
  remoteUrl,
  linkTime,
  linkedBy,
}: LinkedProject): PublishedProject | string {
  const [wrong] = [
    ...nameViolations("project", project, projectRule),
    ...textsOf({ root, remoteUrl, linkedBy }),
  ];
  if (wrong) return `is malformed: ${wrong.field} ${wrong.message}`;
  return { project, root, remoteUrl, linkedBy, linkedAt: readTime(linkTime) };
}

function readSession(session: Session): PublishedSession | string {
  const { sessionId, label, agent, agentSessionId, state, role, terminalTarget } = session;
  const project = session.project === "" ? null : session.project;
  const [wrong] = [
    ...textViolations("sessionId", sessionId, idRule),
    ...textViolations("agentSessionId", agentSessionId, { ...idRule, min: 0 }),
    ...(project === null ? [] : nameViolations("project", project, projectRule)),
    ...textsOf({ label, agent, role, terminalTarget }),
    ...(state >= 0 && state <= 3 ? [] : [{ field: "state", message: "is not a state" }]),
  ];
  if (wrong) return `is malformed: ${wrong.field} ${wrong.message}`;
  const texts = { label, agent, agentSessionId, role, terminalTarget };
  const flags = { isArchived: session.archived, saysPrimary: session.primary };
  return { sessionId, project, state, ...texts, ...flags, activeAt: readTime(session.activeTime) };
}

function textsOf(texts: Readonly<Record<string, string>>) {
  return Object.entries(texts).flatMap(([field, text]) => textViolations(field, text, textRule));
}

// For people alone: one out of range is as good as none.
function readTime(time: Timestamp | undefined): Date | null {
  if (time === undefined || time.seconds < 0n || time.seconds > 253_402_300_799n) return null;
  return time.nanos >= 0 && time.nanos < 1e9 ? timestampDate(time) : null;
}

function shown(name: string): string {
  const text = name.length > 80 ? `${name.slice(0, 79)}…` : name;
  return text.replaceAll("\0", "\ufffd").toWellFormed();
}
