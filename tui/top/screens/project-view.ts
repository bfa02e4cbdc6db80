import { type Project, type PullRequest, PullRequestState } from "@muster/client/v1/project_service";
import type { Session } from "@muster/client/v1/session";
import type { WorkerProject } from "@muster/client/v1/session_service";
import { showCounted } from "../../output/time.ts";
import { progressBar } from "../bars.ts";
import { layHeading, layLine, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { type Fact, factLines, quietLine } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";
import { sessionPiece } from "./session-view.ts";

/** What is known about a project besides itself. */
export interface ProjectRecord {
  readonly sessions: readonly Session[];
  readonly links: readonly WorkerProject[];
  readonly pullRequests: readonly PullRequest[];
}

/** The columns of the list of projects. */
export const projectColumns: readonly ColumnSpec<Project>[] = [
  { id: "name", title: "NAME", width: 24, cell: ({ name }) => ({ text: name }) },
  { id: "open", title: "OPEN PRS", width: 10, align: "right", cell: (project) => capPiece(project) },
  {
    id: "leased",
    title: "AT WORK",
    width: 7,
    align: "right",
    cell: ({ leased, maxOpenPrs }) => ({ text: maxOpenPrs === undefined ? "-" : String(leased) }),
  },
  {
    id: "room",
    title: "ROOM",
    width: 12,
    rank: 1,
    cell: (project, { glyphs }) => ({
      text:
        project.maxOpenPrs === undefined
          ? ""
          : progressBar((project.openPrs + project.leased) / project.maxOpenPrs, 12, glyphs),
      style: "dim",
    }),
  },
  {
    id: "repository",
    title: "REPOSITORY",
    width: 0,
    cell: ({ repository }) => ({ text: repository, style: "dim" }),
  },
];

/** A project with what belongs to it. */
export function projectLines(
  project: Project,
  record: ProjectRecord | undefined,
  frame: ScreenFrame,
): string[] {
  const { maxOpenPrs, openPrs, leased } = project;
  const facts: Fact[] = [
    [
      "open PRs",
      maxOpenPrs === undefined
        ? `${openPrs}, no cap`
        : `${openPrs} of ${maxOpenPrs}${isFull(project) ? ": at its cap, its jobs wait" : ""}`,
    ],
    ["at work", maxOpenPrs === undefined ? "" : `${showCounted(leased, "lease")} that may open one`],
    ["repository", project.repository],
  ];
  return [
    layHeading([{ text: project.name, style: "bold" }], frame),
    ...factLines(facts, frame),
    ...(record === undefined ? [] : recordLines(record, frame)),
  ];
}

/** No pull request may be begun now. */
export function isFull({ maxOpenPrs, openPrs, leased }: Project): boolean {
  return maxOpenPrs !== undefined && openPrs + leased >= maxOpenPrs;
}

/** A pull request's state as the command line writes it. */
export function pullRequestWord(state: PullRequestState): string {
  return (PullRequestState[state] ?? "unknown").toLowerCase();
}

function recordLines({ sessions, links, pullRequests }: ProjectRecord, frame: ScreenFrame): string[] {
  const heading = (text: string, count: number): string =>
    layHeading([{ text, style: "bold" }, { text: ` ${count}` }], frame);
  return [
    heading("Sessions", sessions.length),
    ...(sessions.length === 0 ? [quietLine("No worker publishes one.", frame)] : []),
    ...sessions.map((session) =>
      layLine(
        [
          { text: " " },
          sessionPiece(session, frame),
          { text: `  ${session.label || session.sessionId}  ${session.workerName}` },
          { text: session.primary ? "  primary" : "", style: "bold" },
        ],
        frame,
      ),
    ),
    heading("Linked on", links.length),
    ...links.map(({ workerName, linkedProject }) =>
      layLine([{ text: ` ${workerName}` }, { text: `  ${linkedProject?.root ?? ""}`, style: "dim" }], frame),
    ),
    heading("Pull requests", pullRequests.length),
    ...pullRequests.map(({ url, state, createTime, counted }) =>
      layLine(
        [
          {
            text: ` ${pullRequestWord(state).padEnd(6)}  ${showMoment(createTime, frame).padStart(6)}  ${url}`,
          },
          { text: counted ? "" : "  not counted", style: "dim" },
        ],
        frame,
      ),
    ),
  ];
}

function capPiece(project: Project): Piece {
  const { openPrs, maxOpenPrs } = project;
  return {
    text: maxOpenPrs === undefined ? String(openPrs) : `${openPrs}/${maxOpenPrs}`,
    style: isFull(project) ? "yellow" : "plain",
  };
}
