import type { AttentionItem } from "@muster/client/v1/explain_service";
import { JobState } from "@muster/client/v1/job";
import type { Status } from "@muster/client/v1/status_service";
import { WorkerState } from "@muster/client/v1/worker";
import { jobLooks, type Look, workerLooks } from "../../output/states.ts";
import { durationToMs, showCount, showCounted, showDuration } from "../../output/time.ts";
import { flowSpanMs, flowValues, sparkline } from "../bars.ts";
import { layEnds, layHeading, layLine, type Piece } from "../lines.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { ListState } from "../store/list.ts";
import type { FlowBucket, StatusState } from "../store/status.ts";
import { attentionRow } from "./attention-row.ts";
import { runningLines, workerLines } from "./overview-lists.ts";

/** What the overview shows. */
export interface OverviewState {
  readonly status: StatusState;
  readonly attention: ListState<AttentionItem>;
}

/** What needs a person first, then the flow, the jobs, the workers and the control plane, then who runs what. */
export function overviewLines({ status: state, attention }: OverviewState, frame: ScreenFrame): string[] {
  const { status } = state;
  if (status === undefined) {
    return ["", layLine([{ text: " Waiting for the first figures..." }], frame)];
  }
  const top = [
    ...attentionLines(attention, frame),
    ...flowLines(state, status, frame),
    ...jobLines(status, frame),
    ...planeLines(status, frame),
    ...projectLines(status, frame),
  ];
  const titles = isCompact(frame) ? 0 : 1;
  const room = Math.max(0, frame.rows - top.length - 2 - 2 * titles);
  const wantedByWorkers = Math.max(1, status.workerList.length);
  const wantedByJobs = Math.max(1, status.running.length);
  const forWorkers = Math.min(wantedByWorkers, Math.max(Math.floor(room * 0.4), room - wantedByJobs));
  return [
    ...top,
    layHeading(workerTitle(status, frame), frame),
    ...workerLines(status, frame.nowMs, forWorkers, frame),
    layHeading(runningTitle(status), frame),
    ...runningLines(status, forWorkers < room ? room - forWorkers : 0, frame),
  ].slice(0, frame.rows);
}

/** Rows of the list of what needs a person: more is a key away. */
export function attentionRows(frame: ScreenFrame): number {
  if (frame.layout === "compact") return 2;
  return frame.layout === "normal" ? 4 : 6;
}

function attentionLines(attention: ListState<AttentionItem>, frame: ScreenFrame): string[] {
  const count = attention.order.length;
  const title: Piece[] = [{ text: "Needs attention", style: "bold" }];
  if (count > 0) title.push({ text: ` ${showCount(count)}`, style: "bold-yellow" });
  if (count === 0) {
    if (isCompact(frame)) return [];
    const text = attention.isLoaded ? " Nothing needs attention." : " Asking what needs attention...";
    return [layHeading(title, frame), layLine([{ text, style: "dim" }], frame)];
  }
  const window = attention.order.slice(attention.top, attention.top + attentionRows(frame));
  const rows = window.flatMap((id) => {
    const item = attention.rows.get(id);
    return item === undefined ? [] : [attentionRow(item, id === attention.cursor, frame)];
  });
  return isCompact(frame) ? rows : [layHeading(title, frame), ...rows];
}

function planeLines(status: Status, frame: ScreenFrame): string[] {
  if (isCompact(frame)) return [];
  const { coordinators, databaseTime } = status;
  const links = coordinators.reduce((sum, one) => sum + one.links, 0);
  const versions = new Set(coordinators.map(({ version }) => version));
  const facts = [
    showCounted(coordinators.length, "coordinator"),
    showCounted(links, "link"),
    ...(databaseTime === undefined ? [] : [`db ${showDuration(durationToMs(databaseTime))}`]),
    ...(versions.size === 0 ? [] : [`version ${[...versions].join(", ")}`]),
  ];
  return [
    layLine(
      [{ text: ` control plane: ${facts.join("   ")}`, style: versions.size > 1 ? "yellow" : "dim" }],
      frame,
    ),
  ];
}

function isCompact({ layout }: ScreenFrame): boolean {
  return layout === "compact";
}

function flowLines(state: StatusState, status: Status, frame: ScreenFrame): string[] {
  const flow = status.flow;
  const rate = (count: bigint | undefined): string => `${showCount(count ?? 0n)}/min`;
  const bars = Math.min(90, frame.columns - 12 - 14);
  const line = (name: string, pick: (bucket: FlowBucket) => number, figure: string): string =>
    layEnds(
      [
        { text: ` ${name.padEnd(10)} `, style: "dim" },
        { text: sparkline(flowValues(state.flow, bars, pick), frame.glyphs), style: "cyan" },
      ],
      [{ text: `${figure} ` }],
      frame,
    );
  const succeeded = line("succeeded", (bucket) => bucket.succeeded, rate(flow?.succeededLastMinute));
  const submitted = line("submitted", (bucket) => bucket.submitted, rate(flow?.submittedLastMinute));
  if (isCompact(frame)) return [submitted, succeeded];
  const span = showDuration(flowSpanMs(bars));
  return [layHeading([{ text: `Flow, last ${span}`, style: "bold" }], frame), submitted, succeeded];
}

function jobLines(status: Status, frame: ScreenFrame): string[] {
  const counts = new Map(status.jobs.map(({ state, count }) => [state, count]));
  const always = frame.columns < 110 ? fewStates : shownStates;
  const shown = shownStates.filter((state) => always.includes(state) || (counts.get(state) ?? 0n) > 0n);
  const pieces = shown.flatMap((state) => [
    lookPiece(jobLooks[state], frame),
    { text: ` ${showCount(counts.get(state) ?? 0n)}   ` },
  ]);
  const counted = layLine([{ text: " " }, ...pieces], frame);
  if (isCompact(frame)) return [counted];
  const { submitted = 0n, succeeded = 0n, cancelled = 0n, dead = 0n } = status.flow ?? {};
  const inAll = ` in all: ${showCount(submitted)} submitted, ${showCount(succeeded)} succeeded, ${showCount(cancelled)} cancelled, ${showCount(dead)} dead`;
  return [
    layHeading([{ text: "Jobs", style: "bold" }], frame),
    counted,
    layLine([{ text: inAll, style: "dim" }], frame),
  ];
}

function projectLines(status: Status, frame: ScreenFrame): string[] {
  if (frame.layout !== "wide" || status.projects.length === 0) return [];
  const pieces = status.projects.flatMap(({ project, openPrs, maxOpenPrs }): Piece[] => {
    const isFull = maxOpenPrs !== undefined && openPrs >= maxOpenPrs;
    const text = `${project} ${openPrs}${maxOpenPrs === undefined ? "" : `/${maxOpenPrs}`}   `;
    return [{ text, style: isFull ? "yellow" : "plain" }];
  });
  return [layLine([{ text: " open pull requests: ", style: "dim" }, ...pieces], frame)];
}

function workerTitle(status: Status, frame: ScreenFrame): Piece[] {
  const { workers } = status;
  const counts: [WorkerState, number][] = [
    [WorkerState.BUSY, workers?.busy ?? 0],
    [WorkerState.IDLE, workers?.idle ?? 0],
    [WorkerState.DRAINING, workers?.draining ?? 0],
    [WorkerState.QUARANTINED, workers?.quarantined ?? 0],
    [WorkerState.PENDING, workers?.pending ?? 0],
    [WorkerState.STALE, workers?.stale ?? 0],
    [WorkerState.OFFLINE, workers?.offline ?? 0],
  ];
  const capacity = `  slots ${showCount(workers?.slotsUsed ?? 0n)}/${showCount(workers?.slots ?? 0n)}`;
  const points = `  points ${showCount(workers?.pointsUsed ?? 0n)}/${showCount(workers?.points ?? 0n)}`;
  return [
    { text: "Workers", style: "bold" },
    ...counts
      .filter(([, count]) => count > 0)
      .flatMap(([state, count]): Piece[] => [
        { text: "  " },
        { text: glyphOf(workerLooks[state], frame), style: workerLooks[state].style },
        {
          text: ` ${showCount(count)}${isCompact(frame) ? "" : ` ${workerLooks[state].word.toLowerCase()}`}`,
        },
      ]),
    { text: capacity },
    ...(isCompact(frame) ? [] : [{ text: points }]),
  ];
}

function runningTitle(status: Status): Piece[] {
  const count = status.jobs.find(({ state }) => state === JobState.RUNNING)?.count ?? 0n;
  return [{ text: "Running", style: "bold" }, { text: ` ${showCount(count)}` }];
}

function lookPiece(look: Look, frame: ScreenFrame): Piece {
  return { text: `${glyphOf(look, frame)} ${look.word}`, style: look.style };
}

function glyphOf(look: Look, { glyphs }: ScreenFrame): string {
  return glyphs === "ascii" ? look.ascii : look.glyph;
}

const shownStates = [
  JobState.READY,
  JobState.OFFERED,
  JobState.RUNNING,
  JobState.SCHEDULED,
  JobState.PARKED,
  JobState.BLOCKED,
  JobState.DEAD,
];

const fewStates = [JobState.READY, JobState.RUNNING, JobState.DEAD];
