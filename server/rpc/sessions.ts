import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { SessionSchema } from "@muster/client/v1/session";
import type { SessionService, WorkerProjectSchema } from "@muster/client/v1/session_service";
import {
  archiveSession,
  getSession,
  type LinkedProjectView,
  listLinkedProjects,
  listSessions,
  removeSession,
  type SessionCommand,
  type SessionView,
  setPrimarySession,
  unarchiveSession,
} from "../domain/sessions.ts";
import type { WorkerName } from "../domain/workers.ts";
import { callerOf } from "./auth.ts";
import {
  orNull,
  type Problems,
  pageOf,
  readOptionalId,
  readReason,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.SessionService`. */
export function sessionService({ coordinator: c }: ApiParts): ServiceImpl<typeof SessionService> {
  return {
    async listSessions(request, context) {
      const { items, nextPageToken } = await listSessions(c, callerOf(context), {
        ...pageOf(request),
        project: orNull(request.project),
        worker: readWorker(request.worker),
        isWithArchived: request.archived,
      });
      return { sessions: items.map(sessionMessage), nextPageToken };
    },

    async getSession(request, context) {
      const sessionId = readSessionId([], request.sessionId);
      const { waitingJobs, ...session } = await getSession(c, callerOf(context), sessionId);
      return { session: sessionMessage(session), waitingJobs };
    },

    async setPrimarySession(request, context) {
      return { session: sessionMessage(await setPrimarySession(c, callerOf(context), readCommand(request))) };
    },

    async archiveSession(request, context) {
      const { waitingJobs, ...session } = await archiveSession(c, callerOf(context), readCommand(request));
      return { session: sessionMessage(session), waitingJobs };
    },

    async unarchiveSession(request, context) {
      return { session: sessionMessage(await unarchiveSession(c, callerOf(context), readCommand(request))) };
    },

    async removeSession(request, context) {
      await removeSession(c, callerOf(context), readCommand(request));
      return {};
    },

    async listLinkedProjects(request, context) {
      const { items, nextPageToken } = await listLinkedProjects(c, callerOf(context), {
        ...pageOf(request),
        project: orNull(request.project),
        worker: readWorker(request.worker),
      });
      return { linkedProjects: items.map(linkedProjectMessage), nextPageToken };
    },
  };
}

function readCommand(request: { readonly sessionId: string; readonly reason: string }): SessionCommand {
  const problems: Problems = [];
  const reason = readReason(problems, request.reason);
  return { sessionId: readSessionId(problems, request.sessionId), reason };
}

// Any text may be one: workers choose them.
function readSessionId(problems: Problems, sessionId: string): string {
  if (sessionId === "") problems.push({ field: "sessionId", message: "is required" });
  refuseProblems(problems);
  return sessionId;
}

function readWorker(idOrName: string): WorkerName | null {
  if (idOrName === "") return null;
  if (!idOrName.startsWith("wrk_")) return { workerId: null, name: idOrName };
  const problems: Problems = [];
  const workerId = readOptionalId(problems, "worker", idOrName, "worker");
  refuseProblems(problems);
  return { workerId, name: null };
}

function sessionMessage(session: SessionView): MessageInitShape<typeof SessionSchema> {
  return {
    sessionId: session.sessionId,
    label: session.label,
    agent: session.agent,
    agentSessionId: session.agentSessionId,
    state: session.state,
    role: session.role,
    terminalTarget: session.terminalTarget,
    activeTime: writeTime(session.activeAt),
    archived: session.isArchived || session.archivedAt !== null,
    primary: session.isPrimary,
    project: session.project ?? "",
    workerId: writeId("worker", session.workerId),
    workerName: session.workerName,
    archiveTime: writeTime(session.archivedAt),
    usable: session.unusableReason === null,
    unusableReason: session.unusableReason ?? "",
    registerTime: writeTime(session.registeredAt),
  };
}

function linkedProjectMessage(linked: LinkedProjectView): MessageInitShape<typeof WorkerProjectSchema> {
  const { project, root, remoteUrl, linkedAt, linkedBy } = linked;
  return {
    workerId: writeId("worker", linked.workerId),
    workerName: linked.workerName,
    linkedProject: { project, root, remoteUrl, linkedBy, linkTime: writeTime(linkedAt) },
  };
}
