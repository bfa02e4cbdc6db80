import { JobState } from "@muster/client/v1/job";
import type { Status } from "@muster/client/v1/status_service";
import { WorkerState } from "@muster/client/v1/worker";
import { jobLooks, type Look, workerLooks } from "../output/states.ts";
import { durationToMs, showClock, showCount, showCounted, showDuration } from "../output/time.ts";
import { flowSpanMs, flowValues, sparkline } from "./bars.ts";
import { type Frame, layEnds, layHeading, layLine, type Piece } from "./lines.ts";
import { runningLines, workerLines } from "./lists.ts";
import type { FlowBucket, TopState } from "./store.ts";

/** The smallest screen that the view fits into. */
export const smallest = { columns: 60, rows: 16 };

/**
 * The screen of `muster top`: exactly `rows` lines, none wider than `columns`. From 110×30 on with more columns,
 * from 80×24 on with headings everywhere, below that compact.
 */
export function overview(state: TopState, address: string, frame: Frame): string[] {
  const { columns, rows } = frame;
  if (columns < smallest.columns || rows < smallest.rows) return tooSmall(frame);
  // Old figures look old.
  const isOld = state.nowMs - state.receivedMs > 10_000;
  const body: Frame = isOld ? { ...frame, paint: (_style, text) => frame.paint("dim", text) } : frame;
  const lines = [headerLine(state, address, frame), ...bodyLines(state, body)];
  const filled = [...lines, ...Array.from({ length: rows }, () => "")].slice(0, rows - 1);
  return [...filled, footerLine(state, address, frame)];
}

/** Whether the screen is below 80×24. */
export function isCompact({ columns, rows }: Frame): boolean {
  return columns < 80 || rows < 24;
}

function bodyLines(state: TopState, frame: Frame): string[] {
  const { status } = state;
  if (status === undefined) {
    return ["", layLine([{ text: " Waiting for the first figures..." }], frame)];
  }
  const top = [
    ...flowLines(state, status, frame),
    ...jobLines(status, frame),
    ...projectLines(status, frame),
  ];
  const headings = isCompact(frame) ? 2 : 4;
  const room = Math.max(0, frame.rows - 2 - top.length - headings);
  const wantedByWorkers = Math.max(1, status.workerList.length);
  const wantedByJobs = Math.max(1, status.running.length);
  const forWorkers = Math.min(wantedByWorkers, Math.max(Math.floor(room * 0.4), room - wantedByJobs));
  return [
    ...top,
    layHeading(workerTitle(status, frame), frame),
    ...workerLines(status, state.nowMs, forWorkers, frame),
    layHeading(runningTitle(status), frame),
    ...runningLines(status, forWorkers < room ? room - forWorkers : 0, frame),
  ];
}

function headerLine(state: TopState, address: string, frame: Frame): string {
  const { status } = state;
  const left: Piece[] = [{ text: " muster", style: "bold" }, { text: `  ${status?.org || "-"}` }];
  if (!isCompact(frame)) left.push({ text: `  ${address}`, style: "dim" });
  const right: Piece[] = [livePiece(state, frame)];
  if (status !== undefined && !isCompact(frame)) {
    right.push({ text: `  ${showCounted(status.coordinators.length, "coordinator")}` });
  }
  if (status?.databaseTime !== undefined && frame.columns >= 110) {
    right.push({ text: `  db ${showDuration(durationToMs(status.databaseTime))}` });
  }
  right.push({ text: `  ${showClock(state.nowMs)} ` });
  return layEnds(left, right, frame);
}

function livePiece({ connection, nowMs, receivedMs }: TopState, { glyphs }: Frame): Piece {
  const half = glyphs === "ascii" ? "?" : "◐";
  const ageMs = nowMs - receivedMs;
  if (connection.kind === "connecting") return { text: `${half} connecting`, style: "bold-yellow" };
  if (connection.kind === "lost") return { text: `${half} reconnecting`, style: "bold-yellow" };
  if (ageMs > 3_000) return { text: `${half} silent ${showDuration(ageMs)}`, style: "bold-yellow" };
  return { text: glyphs === "ascii" ? "* live" : "● live", style: "green" };
}

function footerLine(
  { connection, nowMs, receivedMs, status }: TopState,
  address: string,
  frame: Frame,
): string {
  if (connection.kind !== "lost") return layLine([{ text: " q quit", style: "dim" }], frame);
  const half = frame.glyphs === "ascii" ? "?" : "◐";
  const next = showDuration(Math.max(0, Math.ceil((connection.nextTryMs - nowMs) / 1000) * 1000));
  const age = status === undefined ? "" : `figures are ${showDuration(nowMs - receivedMs)} old, `;
  const text = ` ${half} Reconnecting to ${address}: ${age}try ${connection.attempt}, next in ${next}: ${connection.cause}`;
  return layEnds([{ text, style: "bold-yellow" }], [{ text: " q quit ", style: "dim" }], frame);
}

function flowLines(state: TopState, status: Status, frame: Frame): string[] {
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

function jobLines(status: Status, frame: Frame): string[] {
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

function projectLines(status: Status, frame: Frame): string[] {
  if (frame.columns < 110 || frame.rows < 30 || status.projects.length === 0) return [];
  const pieces = status.projects.flatMap(({ project, openPrs, maxOpenPrs }): Piece[] => {
    const isFull = maxOpenPrs !== undefined && openPrs >= maxOpenPrs;
    const text = `${project} ${openPrs}${maxOpenPrs === undefined ? "" : `/${maxOpenPrs}`}   `;
    return [{ text, style: isFull ? "yellow" : "plain" }];
  });
  return [layLine([{ text: " open pull requests: ", style: "dim" }, ...pieces], frame)];
}

function workerTitle(status: Status, frame: Frame): Piece[] {
  const { workers } = status;
  const counts: [WorkerState, number][] = [
    [WorkerState.BUSY, workers?.busy ?? 0],
    [WorkerState.IDLE, workers?.idle ?? 0],
    [WorkerState.DRAINING, workers?.draining ?? 0],
    [WorkerState.QUARANTINED, workers?.quarantined ?? 0],
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

function lookPiece(look: Look, frame: Frame): Piece {
  return { text: `${glyphOf(look, frame)} ${look.word}`, style: look.style };
}

function glyphOf(look: Look, { glyphs }: Frame): string {
  return glyphs === "ascii" ? look.ascii : look.glyph;
}

function tooSmall(frame: Frame): string[] {
  const { columns, rows } = frame;
  const by = frame.glyphs === "ascii" ? "x" : "×";
  const dot = frame.glyphs === "ascii" ? "-" : "·";
  const text = `Terminal too small: ${columns}${by}${rows}, need ${smallest.columns}${by}${smallest.rows} ${dot} q quits`;
  const lines = [layLine([{ text }], frame), ...Array.from({ length: Math.max(0, rows - 1) }, () => "")];
  return lines.slice(0, Math.max(1, rows));
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
