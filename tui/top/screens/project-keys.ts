import {
  type Project,
  ProjectService,
  type PullRequest,
  PullRequestState,
} from "@muster/client/v1/project_service";
import { readWhole } from "../../input/values.ts";
import { showCounted } from "../../output/time.ts";
import type { FormValues } from "../overlays/form.ts";
import { type Choice, paletteOverlay } from "../overlays/palette.ts";
import type { KeyBinding } from "../shell/bindings.ts";
import { commandLine, shellWord } from "../shell/command-line.ts";
import type { Shell } from "../shell/screen.ts";
import { writeTerm } from "../shell/term-values.ts";
import { ask, askForm, doNow } from "./ask.ts";
import { needsRow, relatedKey, wayTo } from "./go.ts";
import { pullRequestWord } from "./project-view.ts";
import { wrongUnless } from "./queue-keys.ts";

/** What can be done to a project. */
export function projectKeys(
  shell: Shell,
  current: () => Project | undefined,
  pullRequests: () => readonly PullRequest[],
): KeyBinding[] {
  const withProject = (run: (project: Project) => void) => (): void => {
    const project = current();
    if (project !== undefined) run(project);
  };
  return [
    {
      id: "project.cap",
      keys: ["e"],
      label: "set cap",
      group: "act",
      danger: "mild",
      equal: { command: "project set-cap", method: "ProjectService.PutProject" },
      hint: 3,
      when: needsRow(shell, current, "operate"),
      run: withProject((project) => openCap(shell, project)),
    },
    {
      id: "project.create",
      keys: ["c"],
      label: "create",
      group: "act",
      danger: "mild",
      equal: { command: "project create", method: "ProjectService.PutProject" },
      hint: 4,
      when: () => shell.barrier("operate"),
      run: () => openProjectCreate(shell),
    },
    {
      id: "project.pull-request",
      keys: ["p"],
      label: "pull request is...",
      group: "act",
      danger: "mild",
      equal: { command: "project pr close", method: "ProjectService.SetPullRequestState" },
      when: needsRow(shell, current, "operate", () =>
        pullRequests().length === 0 ? "no pull request is known" : undefined,
      ),
      run: () => choosePullRequest(shell, pullRequests()),
    },
    {
      id: "project.delete",
      keys: ["x"],
      label: "delete",
      group: "act",
      danger: "severe",
      equal: { command: "project delete", method: "ProjectService.DeleteProject" },
      hint: 6,
      when: needsRow(shell, current, "operate"),
      run: withProject((project) => askDelete(shell, project)),
    },
    relatedKey(shell, current, ({ name }) => [
      wayTo(shell, "its jobs", "jobs", writeTerm("project", name)),
      wayTo(shell, "its waiting jobs", "jobs", `state:ready,blocked,scheduled ${writeTerm("project", name)}`),
      wayTo(shell, "its sessions", "sessions", writeTerm("project", name)),
      wayTo(shell, "workers that have it", "workers", writeTerm("project", name)),
    ]),
  ];
}

/** Opens the form for the cap of a project. */
export function openCap(shell: Shell, project: Project): void {
  const { name, repository, maxOpenPrs } = project;
  const put = (cap: number | undefined) => ({
    run: ({ options }: { options: { signal: AbortSignal; timeoutMs: number } }) =>
      shell
        .client(ProjectService)
        .putProject(
          { project: { name, repository, ...(cap === undefined ? {} : { maxOpenPrs: cap }) } },
          options,
        ),
    done: () =>
      cap === undefined ? `${name} has no cap` : `${name} may have ${showCounted(cap, "open pull request")}`,
  });
  askForm(shell, {
    title: `Cap of project ${name}`,
    verb: "save",
    fields: [capField(maxOpenPrs === undefined ? "" : String(maxOpenPrs))],
    command: (values) =>
      commandLine("project set-cap", shellWord(name), text(values, "maxOpenPrs") || "--none"),
    act: (values) => ({
      ...put(capOf(values)),
      undo: () => ({ label: "the cap of before", run: () => void doNow(shell, put(maxOpenPrs)) }),
    }),
  });
}

/** Opens the form that creates a project. */
export function openProjectCreate(shell: Shell, name = ""): void {
  askForm(shell, {
    title: "Create a project",
    verb: "create",
    fields: [
      {
        name: "name",
        label: "Name",
        value: name,
        about: "1 to 200 characters of a-z A-Z 0-9 . _ - /, like acme/web",
        check: (given) => (given.trim() === "" ? "needs a name" : undefined),
      },
      capField(""),
      {
        name: "repository",
        label: "Repository",
        value: "",
        about: "owner/name at GitHub; empty: the project's name when it has that form",
      },
    ],
    command: (values) =>
      commandLine(
        "project create",
        shellWord(text(values, "name")),
        ["--max-open-prs", text(values, "maxOpenPrs")],
        ["--repository", text(values, "repository")],
      ),
    act: (values) => {
      const cap = capOf(values);
      const project = {
        name: text(values, "name"),
        repository: text(values, "repository"),
        ...(cap === undefined ? {} : { maxOpenPrs: cap }),
      };
      return {
        run: ({ options }) => shell.client(ProjectService).putProject({ project }, options),
        done: () => `created ${project.name}`,
      };
    },
  });
}

function capField(value: string) {
  return {
    name: "maxOpenPrs",
    label: "Open PRs",
    value,
    about: "pull requests that may be open or worked on, 1 to 10000; empty: no cap",
    check: (given: string) => wrongUnless(given, (one) => readWhole(one, 1, 10_000)),
  };
}

function askDelete(shell: Shell, { name }: Project): void {
  ask(
    shell,
    {
      title: `Delete project ${name}?`,
      lines: ["Its jobs stay, and go on without a cap; those that need one of its sessions wait."],
      verb: "Delete it",
      typed: name,
      command: (reason) =>
        commandLine("project delete", shellWord(name), ["--reason", reason], ["--confirm", name]),
    },
    {
      run: ({ options }, reason) => shell.client(ProjectService).deleteProject({ name, reason }, options),
      done: ({ waitingJobs }) =>
        `deleted ${name}${waitingJobs === 0 ? "" : `; ${showCounted(waitingJobs, "job")} of it have not ended`}`,
    },
  );
}

function choosePullRequest(shell: Shell, pullRequests: readonly PullRequest[]): void {
  const verbs = [
    ["merged", PullRequestState.MERGED],
    ["closed", PullRequestState.CLOSED],
    ["open", PullRequestState.OPEN],
  ] as const;
  const choices = pullRequests.flatMap((one) =>
    verbs
      .filter(([, state]) => state !== one.state)
      .map(
        ([word, state]): Choice => ({
          label: `${one.url} is ${word}`,
          about: `now ${pullRequestWord(one.state)}`,
          run: () => void setState(shell, one, state, word),
        }),
      ),
  );
  shell.open((close) =>
    paletteOverlay({ id: "pull-requests", title: "Say where a pull request stands", choices }, close),
  );
}

async function setState(
  shell: Shell,
  before: PullRequest,
  state: PullRequestState,
  word: string,
): Promise<void> {
  const { url } = before;
  await doNow(shell, {
    run: ({ options }) => shell.client(ProjectService).setPullRequestState({ url, state }, options),
    done: () => `${url} is ${word}`,
    undo: () => ({
      label: `${pullRequestWord(before.state)} again`,
      run: () => void setState(shell, { ...before, state }, before.state, pullRequestWord(before.state)),
    }),
  });
}

function capOf(values: FormValues): number | undefined {
  const given = text(values, "maxOpenPrs");
  return given === "" ? undefined : Number(given);
}

function text(values: FormValues, name: string): string {
  return (values[name] ?? "").trim();
}
