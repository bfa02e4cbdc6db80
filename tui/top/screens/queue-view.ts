import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Queue, QueueType } from "@muster/client/v1/queue_service";
import { durationToMs, showCount, showDuration } from "../../output/time.ts";
import { layHeading, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { type Fact, factLines, whenText } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";

/** What a name of a gate is the name of, as commands and filters write it. */
export type QueueNoun = "queue" | "kind" | "pool";

/** The nouns with their types, in the order of the tabs. */
export const queueNouns: readonly (readonly [QueueNoun, QueueType])[] = [
  ["queue", QueueType.QUEUE],
  ["kind", QueueType.KIND],
  ["pool", QueueType.POOL],
];

/** The noun of a type. */
export function nounOf(type: QueueType): QueueNoun {
  return queueNouns.find(([, known]) => known === type)?.[0] ?? "queue";
}

const count = (pick: (counts: NonNullable<Queue["counts"]>) => bigint) => (queue: Queue) => ({
  text: queue.counts === undefined ? "-" : showCount(pick(queue.counts)),
});

/** The columns of the lists of queues, kinds and pools. */
export const queueColumns: readonly ColumnSpec<Queue>[] = [
  { id: "name", title: "NAME", width: 18, cell: ({ name }) => ({ text: name }) },
  {
    id: "state",
    title: "STATE",
    width: ({ layout }) => (layout === "compact" ? 1 : 8),
    cell: (queue, frame) => pausePiece(queue, frame),
  },
  { id: "ready", title: "READY", width: 7, align: "right", cell: count(({ ready }) => ready) },
  { id: "running", title: "RUN", width: 6, align: "right", cell: (queue) => ({ text: leasedText(queue) }) },
  {
    id: "waiting",
    title: "WAIT",
    width: 6,
    align: "right",
    rank: 1,
    cell: count(({ blocked, scheduled, parked }) => blocked + scheduled + parked),
  },
  {
    id: "oldest",
    title: "OLDEST",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    cell: ({ oldestReadyTime }, frame) => ({ text: showMoment(oldestReadyTime, frame) }),
  },
  {
    id: "in",
    title: "IN/MIN",
    width: 6,
    align: "right",
    rank: 3,
    cell: count(({ submittedLastMinute }) => submittedLastMinute),
  },
  {
    id: "out",
    title: "OUT/MIN",
    width: 7,
    align: "right",
    rank: 3,
    cell: count(({ endedLastMinute }) => endedLastMinute),
  },
  {
    id: "empty",
    title: "EMPTY",
    width: 7,
    align: "right",
    rank: 2,
    cell: (queue) => ({ text: emptyText(queue), style: "dim" }),
  },
  { id: "limit", title: "LIMIT", width: 0, cell: (queue, frame) => limitPiece(queue, frame) },
];

/** One of them beside the list, or on a screen of its own. */
export function queueLines(queue: Queue, frame: ScreenFrame): string[] {
  const { counts } = queue;
  const waiting =
    counts === undefined
      ? ""
      : `${showCount(counts.ready)} ready, ${showCount(counts.scheduled)} scheduled, ${showCount(counts.blocked)} blocked, ${showCount(counts.parked)} parked`;
  const flow =
    counts === undefined
      ? ""
      : `${showCount(counts.submittedLastMinute)} came and ${showCount(counts.endedLastMinute)} ended in the last minute; empty: ${emptyText(queue)}`;
  const ended =
    counts === undefined
      ? ""
      : `${showCount(counts.submitted)} submitted, ${showCount(counts.succeeded)} succeeded, ${showCount(counts.cancelled)} cancelled, ${showCount(counts.dead)} dead`;
  const facts: Fact[] = [
    ["state", [pausePiece(queue, { ...frame, layout: "wide" })]],
    ["paused", queue.paused ? `${whenText(queue.pauseTime, frame)}${resumesText(queue, frame)}` : ""],
    ["because", queue.pauseReason],
    ["leased", leasedText(queue)],
    [
      "running",
      queue.limits?.running === undefined ? "no limit" : `at most ${showCount(queue.limits.running)}`,
    ],
    ["starts", rateText(queue) || "no limit"],
    ["waiting", waiting],
    ["oldest", queue.oldestReadyTime === undefined ? "" : whenText(queue.oldestReadyTime, frame)],
    ["flow", flow],
    ["in all", ended],
  ];
  const title = `${nounOf(queue.type)} ${queue.name}`;
  return [layHeading([{ text: title, style: "bold" }], frame), ...factLines(facts, frame)];
}

/** Starts in a time, as the form and the command line write them; empty: no limit. */
export function rateText({ limits }: Queue): string {
  const rate = limits?.startRate;
  return rate?.per === undefined ? "" : `${rate.jobs}/${periodText(durationToMs(rate.per))}`;
}

function pausePiece({ paused }: Queue, { glyphs, layout }: ScreenFrame): Piece {
  const [held, open] = glyphs === "ascii" ? ["=", "."] : ["‖", "○"];
  const glyph = paused ? held : open;
  const word = paused ? "PAUSED" : "OPEN";
  return {
    text: layout === "compact" ? (glyph ?? "") : `${glyph} ${word}`,
    style: paused ? "bold-yellow" : "green",
  };
}

function resumesText({ resumeTime }: Queue, { nowMs }: ScreenFrame): string {
  if (resumeTime === undefined) return ", until it is resumed";
  return `, resumes in ${showDuration(Math.max(0, Math.ceil((timestampMs(resumeTime) - nowMs) / 1000) * 1000))}`;
}

// Kinds and pools are counted where there is a limit or a pause.
function leasedText(queue: Queue): string {
  const { limits, counts, paused, leased } = queue;
  const isCounted =
    counts !== undefined || paused || limits?.running !== undefined || limits?.startRate !== undefined;
  return isCounted ? showCount(counts === undefined ? leased : counts.running + counts.offered) : "-";
}

function limitPiece(queue: Queue, frame: ScreenFrame): Piece {
  const running = queue.limits?.running;
  const isFull = running !== undefined && queue.leased >= running;
  const parts = [
    running === undefined ? "" : `${queue.leased}/${running} running`,
    rateText(queue),
    queue.paused
      ? [queue.pauseReason, resumesText(queue, frame).slice(2)].filter((part) => part !== "").join(", ")
      : "",
  ];
  return {
    text: parts.filter((part) => part !== "").join("  "),
    style: isFull || queue.paused ? "yellow" : "dim",
  };
}

// How long until nothing is ready, were the last minute to go on.
function emptyText({ counts, paused }: Queue): string {
  if (counts === undefined) return "-";
  if (counts.ready === 0n) return "now";
  const surplus = counts.endedLastMinute - counts.submittedLastMinute;
  if (paused || surplus <= 0n) return "never";
  return showDuration(Number((counts.ready * 60_000n) / surplus / 1000n) * 1000);
}

// As short as people write it: `1m`, not `1m00s`.
function periodText(ms: number): string {
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  return ms % 60_000 === 0 ? `${ms / 60_000}m` : `${ms / 1_000}s`;
}
