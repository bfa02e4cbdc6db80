import type { Session } from "@muster/client/v1/session";
import { type GetSessionResponse, SessionService } from "@muster/client/v1/session_service";
import { showCounted } from "../../output/time.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { FilterTerm } from "../shell/filter-terms.ts";
import type { Screen, Shell } from "../shell/screen.ts";
import { knownTerms, readTerms, writeTerm } from "../shell/term-values.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { createAside } from "../store/aside.ts";
import { ask, doNow } from "./ask.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import { createPage } from "./page.ts";
import { sessionColumns, sessionLines } from "./session-view.ts";
import { createWorkerPage } from "./workers.ts";

const terms: readonly FilterTerm[] = [
  { name: "project", about: "its project" },
  { name: "worker", about: "who publishes it: name or id" },
  { name: "archived", about: "archived ones, too", values: ["yes"] },
];

/** The agent sessions that workers publish. */
export function createSessions(shell: Shell): ListScreen<Session> {
  const client = shell.client(SessionService);
  const aside = createAside<GetSessionResponse>({
    read: (sessionId, call) => client.getSession({ sessionId }, call),
    now: shell.now,
    changed: shell.changed,
  });
  return createListScreen<Session>(shell, {
    id: "sessions",
    title: () => "Sessions",
    idOf: ({ sessionId }) => sessionId,
    isChanged: (before, after) => before.state !== after.state || before.usable !== after.usable,
    columns: sessionColumns,
    source: pagedSources<Session>(async ({ filter }, pageToken, signal) => {
      const given = readTerms(filter, terms);
      const request = {
        project: given.get("project") ?? "",
        worker: given.get("worker") ?? "",
        archived: given.has("archived"),
        pageSize,
        pageToken,
      };
      const answer = await client.listSessions(request, { signal, timeoutMs: 30_000 });
      return { rows: answer.sessions, nextPageToken: answer.nextPageToken };
    }),
    terms,
    none: "No sessions match: workers publish them.",
    openRow: ({ sessionId }) => shell.push(createSessionPage(shell, sessionId)),
    preview: (session, frame) => sessionLines(session, aside.of(session.sessionId).value?.waitingJobs, frame),
    previewRows: 9,
    keys: (list) => sessionKeys(shell, list.current),
    equals: [{ command: "session list", method: "SessionService.ListSessions" }],
    command: ({ filter }) => {
      const given = knownTerms(filter, terms);
      return commandLine(
        "session list",
        ["--project", given.get("project") ?? ""],
        ["--worker", given.get("worker") ?? ""],
        given.has("archived") ? "--archived" : "",
      );
    },
    copies: ({ label, agentSessionId }) => [
      ["label", label],
      ["the agent's own id", agentSessionId],
    ],
    besides: aside.follow,
  });
}

/** One session on a screen of its own. */
export function createSessionPage(shell: Shell, sessionId: string): Screen {
  const client = shell.client(SessionService);
  return createPage<GetSessionResponse>(shell, {
    id: "session",
    title: () => sessionId,
    read: (signal) => client.getSession({ sessionId }, { signal, timeoutMs: 30_000 }),
    lines: ({ session, waitingJobs }, frame) =>
      session === undefined ? [] : sessionLines(session, waitingJobs, frame),
    keys: (current) => sessionKeys(shell, () => current()?.session),
    equals: [{ command: "session get", method: "SessionService.GetSession" }],
    command: () => commandLine("session get", shellWord(sessionId)),
    subject: () => sessionId,
  });
}

/** Lets jobs be routed to an archived session again. */
export async function unarchiveById(shell: Shell, sessionId: string): Promise<void> {
  await doNow(shell, {
    run: ({ options }) => shell.client(SessionService).unarchiveSession({ sessionId }, options),
    done: () => `${sessionId} can be used again`,
  });
}

function sessionKeys(shell: Shell, current: () => Session | undefined): KeyBinding[] {
  const withSession = (run: (session: Session) => void) => (): void => {
    const session = current();
    if (session !== undefined) run(session);
  };
  return [
    {
      id: "session.primary",
      keys: ["p"],
      label: "make primary",
      group: "act",
      danger: "mild",
      equal: { command: "session set-primary", method: "SessionService.SetPrimarySession" },
      hint: 2,
      when: needsRow(shell, current, "operate", ({ primary }) =>
        primary ? "it is the primary one" : undefined,
      ),
      run: withSession((session) => void makePrimary(shell, session.sessionId)),
    },
    {
      id: "session.archive",
      keys: ["a"],
      label: () => (current()?.archived === true ? "unarchive" : "archive"),
      group: "act",
      danger: "moderate",
      equal: { command: "session archive", method: "SessionService.ArchiveSession" },
      inverse: { command: "session unarchive", method: "SessionService.UnarchiveSession" },
      hint: 3,
      when: needsRow(shell, current, "operate"),
      run: withSession((session) =>
        session.archived ? void unarchiveById(shell, session.sessionId) : askArchive(shell, session),
      ),
    },
    {
      id: "session.remove",
      keys: ["x"],
      label: "remove",
      group: "act",
      danger: "severe",
      equal: { command: "session remove", method: "SessionService.RemoveSession" },
      hint: 4,
      when: needsRow(shell, current, "operate"),
      run: withSession((session) => askRemove(shell, session)),
    },
    relatedKey(shell, current, ({ sessionId, project, workerId, workerName }) => [
      wayTo(shell, "its jobs", "jobs", writeTerm("session", sessionId)),
      wayTo(shell, "jobs of its project", "jobs", writeTerm("project", project)),
      wayTo(shell, "sessions of its project", "sessions", writeTerm("project", project)),
      {
        label: `worker ${workerName}`,
        about: workerId,
        run: () => shell.push(createWorkerPage(shell, workerId, workerName)),
      },
    ]),
  ];
}

async function makePrimary(shell: Shell, sessionId: string): Promise<void> {
  await doNow(shell, {
    run: ({ options }) => shell.client(SessionService).setPrimarySession({ sessionId }, options),
    done: ({ session }) => `${sessionId} is the primary session of ${session?.project ?? "its project"}`,
  });
}

function askArchive(shell: Shell, { sessionId, label }: Session): void {
  const client = shell.client(SessionService);
  ask(
    shell,
    {
      title: `Archive ${label || sessionId}?`,
      lines: ["No job is routed to it any more, until it is unarchived."],
      verb: "Archive it",
      check: async (signal) => {
        const { waitingJobs } = await client.getSession({ sessionId }, { signal, timeoutMs: 30_000 });
        return { count: 1, lines: [`${showCounted(waitingJobs, "job")} that name it wait.`] };
      },
      command: (reason) => commandLine("session archive", shellWord(sessionId), ["--reason", reason]),
    },
    {
      run: ({ options }, reason) => client.archiveSession({ sessionId, reason }, options),
      done: () => `archived ${sessionId}`,
      undo: () => ({ label: "unarchive it", run: () => void unarchiveById(shell, sessionId) }),
    },
  );
}

function askRemove(shell: Shell, { sessionId, label, workerName }: Session): void {
  ask(
    shell,
    {
      title: `Remove ${label || sessionId}?`,
      lines: [`It is refused while ${workerName} publishes it: archive it then.`],
      verb: "Remove it",
      typed: sessionId,
      command: (reason) =>
        commandLine("session remove", shellWord(sessionId), ["--reason", reason], ["--confirm", sessionId]),
    },
    {
      run: ({ options }, reason) =>
        shell.client(SessionService).removeSession({ sessionId, reason }, options),
      done: () => `removed ${sessionId}`,
    },
  );
}
