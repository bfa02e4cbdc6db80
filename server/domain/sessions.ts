import { inOrg, type Tx } from "../store/database.ts";
import {
  changeSessions,
  countReadyFor,
  deleteSessions,
  type LinkedProjectRow,
  lockSessions,
  readLinkedProjects,
  readPrimary,
  readSessions,
  type SessionRow,
} from "../store/sessions.ts";
import { readOrg } from "../store/snapshot.ts";
import { readWorkers } from "../store/workers.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { failedPrecondition, invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { unusableReason } from "./rules/sessions.ts";
import { nameViolations, projectRule, textViolations } from "./rules/texts.ts";
import { selectWorker, type WorkerName } from "./workers.ts";

/** A session as it is shown. */
export interface SessionView extends SessionRow {
  /** Why no job can be routed to it now; null when one can. */
  readonly unusableReason: string | null;
}

/** A linked project as it is shown. */
export type LinkedProjectView = LinkedProjectRow;

/** A session to change, and why: for people. */
export interface SessionCommand {
  readonly sessionId: string;
  readonly reason: string;
}

/** Jobs that wait for one session are counted up to here. */
export const mostWaiting = 10_000;

/** Lists sessions by project, then by registration; those of no project come first. */
export async function listSessions(
  c: Coordinator,
  caller: Caller,
  {
    project,
    worker,
    isWithArchived,
    ...page
  }: PageRequest & {
    readonly project: string | null;
    readonly worker: WorkerName | null;
    readonly isWithArchived: boolean;
  },
): Promise<Page<SessionView>> {
  const { orgId } = caller;
  checkProject(project);
  const identity: ListIdentity = { list: "sessions", orgId, filter: [project, worker, isWithArchived] };
  const limit = pageRows(page);
  const forms = [/^/, /^\d{1,18}$/, /^/];
  const [after, registeredMicros = "0", sessionId = ""] = readPageToken(identity, page, forms) ?? [];
  const rows = await readOrg(c.db.app, orgId, async (tx) => {
    const workerId = worker === null ? null : await workerIdOf(c, tx, orgId, worker);
    const position = after === undefined ? null : { project: after, registeredMicros, sessionId };
    const selection = { project, workerId, isWithArchived, after: position, limit: limit + 1 };
    return readSessions(tx, orgId, selection, c.config.staleMs);
  });
  return pageOf(
    rows,
    limit,
    identity,
    (row) => [row.project ?? "", row.registeredMicros, row.sessionId],
    viewOf,
  );
}

/** Reads a session, and how many ready jobs wait for it by name. */
export async function getSession(c: Coordinator, caller: Caller, sessionId: string) {
  return readOrg(c.db.app, caller.orgId, (tx) => readCounted(c, tx, caller.orgId, sessionId));
}

/** Makes a session the primary one of its project, instead of the one that was. */
export function setPrimarySession(
  c: Coordinator,
  caller: Caller,
  command: SessionCommand,
): Promise<SessionView> {
  return change(c, caller, "session.set-primary", command, async (tx, session) => {
    const { sessionId, project } = session;
    if (project === null) throw failedPrecondition("SESSION_UNROUTABLE", { sessionId });
    const before = await readPrimary(tx, caller.orgId, project);
    if (before !== null && before !== sessionId) await changeSessions(tx, caller.orgId, [before], "demote");
    await changeSessions(tx, caller.orgId, [sessionId], "promote");
    return { project, before };
  });
}

/** Archives a session: no job is routed to it any more, whatever its worker says. Jobs that name it wait. */
export function archiveSession(c: Coordinator, caller: Caller, command: SessionCommand) {
  return change(c, caller, "session.archive", command, async (tx, { sessionId, archivedAt }) => {
    await changeSessions(tx, caller.orgId, [sessionId], "archive");
    return { wasArchived: archivedAt !== null };
  });
}

/** Lets jobs be routed to a session again that an operator archived. */
export function unarchiveSession(c: Coordinator, caller: Caller, command: SessionCommand) {
  return change(c, caller, "session.unarchive", command, async (tx, { sessionId, archivedAt }) => {
    await changeSessions(tx, caller.orgId, [sessionId], "unarchive");
    return { wasArchived: archivedAt !== null };
  });
}

/** Removes a session, unless its worker is connected and publishes it. Its id is free then. */
export async function removeSession(c: Coordinator, caller: Caller, command: SessionCommand): Promise<void> {
  const { orgId } = caller;
  const { sessionId, reason } = command;
  await inOrg(c.db.app, orgId, async (tx) => {
    await lockSessions(tx, orgId);
    const session = await readOne(c, tx, orgId, sessionId);
    const { workerId, workerName, project, isPrimary } = session;
    if (session.isPublished && session.isWorkerAttached && !session.isWorkerStale) {
      throw failedPrecondition("SESSION_PUBLISHED", { sessionId, worker: workerName });
    }
    await deleteSessions(tx, orgId, [sessionId]);
    const details = { worker: encodeId("worker", workerId), project, isPrimary };
    await audit(tx, c, caller, { action: "session.remove", target: sessionId, reason, details });
  });
  c.wakes.routes(orgId);
}

/** Lists which worker has a working copy of which project: by project, then by the name of the worker. */
export async function listLinkedProjects(
  c: Coordinator,
  caller: Caller,
  {
    project,
    worker,
    ...page
  }: PageRequest & { readonly project: string | null; readonly worker: WorkerName | null },
): Promise<Page<LinkedProjectView>> {
  const { orgId } = caller;
  checkProject(project);
  const identity: ListIdentity = { list: "linked-projects", orgId, filter: [project, worker] };
  const limit = pageRows(page);
  const [afterProject, workerName = ""] = readPageToken(identity, page, [projectRule.form, /^/]) ?? [];
  const rows = await readOrg(c.db.app, orgId, async (tx) => {
    const workerId = worker === null ? null : await workerIdOf(c, tx, orgId, worker);
    const after = afterProject === undefined ? null : { project: afterProject, workerName };
    return readLinkedProjects(tx, orgId, { project, workerId, after, limit: limit + 1 });
  });
  return pageOf(
    rows,
    limit,
    identity,
    (row) => [row.project, row.workerName],
    (row) => row,
  );
}

async function change(
  c: Coordinator,
  caller: Caller,
  action: string,
  { sessionId, reason }: SessionCommand,
  body: (tx: Tx, session: SessionView) => Promise<Record<string, unknown>>,
) {
  const violations = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const changed = await inOrg(c.db.app, orgId, async (tx) => {
    await lockSessions(tx, orgId);
    const details = await body(tx, await readOne(c, tx, orgId, sessionId));
    await audit(tx, c, caller, { action, target: sessionId, reason, details });
    return readCounted(c, tx, orgId, sessionId);
  });
  c.wakes.routes(orgId);
  return changed;
}

async function readCounted(c: Coordinator, tx: Tx, orgId: string, sessionId: string) {
  const session = await readOne(c, tx, orgId, sessionId);
  return { ...session, waitingJobs: await countReadyFor(tx, orgId, `session:${sessionId}`, mostWaiting) };
}

async function readOne(c: Coordinator, tx: Tx, orgId: string, sessionId: string): Promise<SessionView> {
  // Text with NUL is refused by the database; no session has such an id.
  const isName = sessionId !== "" && !sessionId.includes("\0");
  const [row] = isName ? await readSessions(tx, orgId, { sessionId }, c.config.staleMs) : [];
  if (row === undefined) throw notFound("SESSION_NOT_FOUND", sessionId);
  return viewOf(row);
}

function viewOf(row: SessionRow): SessionView {
  return { ...row, unusableReason: unusableReason(row) };
}

async function workerIdOf(c: Coordinator, tx: Tx, orgId: string, name: WorkerName): Promise<string> {
  const { selection, shown } = selectWorker(name);
  const [row] = selection ? await readWorkers(tx, orgId, selection, c.config.staleMs) : [];
  if (row === undefined) throw notFound("WORKER_NOT_FOUND", shown);
  return row.workerId;
}

function checkProject(project: string | null): void {
  if (project === null) return;
  const violations = nameViolations("project", project, projectRule);
  if (violations.length > 0) throw invalidArgument(violations);
}
