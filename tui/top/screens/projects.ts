import { type Project, ProjectService } from "@muster/client/v1/project_service";
import { SessionService } from "@muster/client/v1/session_service";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Screen, Shell } from "../shell/screen.ts";
import { pagedSources, pageSize } from "../sources/paged.ts";
import { createAside } from "../store/aside.ts";
import { createListScreen, type ListScreen } from "./list-screen.ts";
import { createPage } from "./page.ts";
import { projectKeys } from "./project-keys.ts";
import { type ProjectRecord, projectColumns, projectLines } from "./project-view.ts";

/** The projects: what is open against their caps, and who works on them. */
export function createProjects(shell: Shell): ListScreen<Project> {
  const client = shell.client(ProjectService);
  const aside = createAside<ProjectRecord>({
    read: (name, call) => readRecord(shell, name, call),
    now: shell.now,
    changed: shell.changed,
  });
  return createListScreen<Project>(shell, {
    id: "projects",
    title: () => "Projects",
    idOf: ({ name }) => name,
    isChanged: (before, after) => before.openPrs !== after.openPrs,
    columns: projectColumns,
    source: pagedSources<Project>(async (_query, pageToken, signal) => {
      const answer = await client.listProjects({ pageSize, pageToken }, { signal, timeoutMs: 30_000 });
      return { rows: answer.projects, nextPageToken: answer.nextPageToken };
    }),
    orders: [
      { id: "name", label: "by name" },
      {
        id: "open",
        label: "most open pull requests first",
        compare: (one, other) => other.openPrs - one.openPrs,
      },
    ],
    none: "There are no projects: c creates one.",
    openRow: ({ name }) => shell.push(createProjectPage(shell, name)),
    preview: (project, frame) => projectLines(project, aside.of(project.name).value, frame),
    previewRows: 10,
    keys: (list) => {
      const record = (): ProjectRecord | undefined => {
        const project = list.current();
        return project === undefined ? undefined : aside.of(project.name).value;
      };
      return projectKeys(shell, list.current, () => record()?.pullRequests ?? []);
    },
    equals: [{ command: "project list", method: "ProjectService.ListProjects" }],
    command: () => commandLine("project list"),
    copies: ({ name, repository }) => [
      ["repository", repository],
      ["the command that shows it", commandLine("project get", shellWord(name))],
    ],
    besides: aside.follow,
  });
}

/** One project with its sessions, working copies and pull requests. */
export function createProjectPage(shell: Shell, name: string): Screen {
  const client = shell.client(ProjectService);
  return createPage<{ readonly project: Project; readonly record: ProjectRecord }>(shell, {
    id: "project",
    title: () => name,
    read: async (signal) => {
      const call = { signal, timeoutMs: 30_000 };
      const [{ project }, record] = await Promise.all([
        client.getProject({ name }, call),
        readRecord(shell, name, call),
      ]);
      if (project === undefined) throw new Error("the coordinator answered without the project");
      return { project, record };
    },
    lines: ({ project, record }, frame) => projectLines(project, record, frame),
    keys: (current) =>
      projectKeys(
        shell,
        () => current()?.project,
        () => current()?.record.pullRequests ?? [],
      ),
    equals: [
      { command: "project get", method: "ProjectService.GetProject" },
      { command: "session list", method: "SessionService.ListSessions" },
      { command: "project links", method: "SessionService.ListLinkedProjects" },
      { command: "project prs", method: "ProjectService.ListPullRequests" },
    ],
    command: () => commandLine("project get", shellWord(name)),
    subject: () => name,
  });
}

async function readRecord(
  shell: Shell,
  project: string,
  call: { signal: AbortSignal; timeoutMs: number },
): Promise<ProjectRecord> {
  const sessions = shell.client(SessionService);
  const [published, linked, pulls] = await Promise.all([
    sessions.listSessions({ project, pageSize: 50 }, call),
    sessions.listLinkedProjects({ project, pageSize: 50 }, call),
    shell.client(ProjectService).listPullRequests({ project, pageSize: 20 }, call),
  ]);
  return { sessions: published.sessions, links: linked.linkedProjects, pullRequests: pulls.pullRequests };
}
