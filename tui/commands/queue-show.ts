import type { Queue } from "@muster/client/v1/queue_service";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layFacts, layTable } from "../output/table.ts";
import { durationToMs, showCount, showDuration, showTimeAndAge } from "../output/time.ts";

/** A table of queues, kinds or pools. */
export function queueTable(queues: readonly Queue[], noun: string, output: Output, nowMs: number): string[] {
  const hasCounts = queues.some((one) => one.counts !== undefined);
  const counted = [
    { title: "READY", align: "right" },
    { title: "WAITING", align: "right", drop: 2 },
    { title: "OLDEST", align: "right", drop: 3 },
  ] as const;
  const columns = [
    { title: noun.toUpperCase() },
    { title: "STATE" },
    ...(hasCounts ? counted : []),
    { title: "LEASED", align: "right" },
    { title: "LIMIT", align: "right" },
    { title: "RATE", align: "right", drop: 1 },
    { title: "WHY" },
  ] as const;
  const rows = queues.map((one): Cell[] => {
    const [name = "", state = "", ...gate] = gateCells(one, nowMs);
    return [name, state, ...(hasCounts ? countCells(one, output, nowMs) : []), ...gate];
  });
  return layTable(columns, rows, output.layout);
}

/** Of any of them: its name, its state, what is leased, the limit, the rate, and why it is paused. */
export function gateCells(queue: Queue, nowMs: number): Cell[] {
  return [
    queue.name,
    stateCell(queue),
    leasedOf(queue),
    showLimit(queue),
    showRate(queue) ?? "-",
    queue.paused ? whyPaused(queue, nowMs) : "",
  ];
}

/** Everything about one, a line each. */
export function queueFacts(queue: Queue, noun: string, output: Output, nowMs: number): string[] {
  const { counts } = queue;
  const of = (count: bigint | undefined) => (count === undefined ? undefined : showCount(count));
  return layFacts(
    [
      [noun, queue.name],
      ["state", stateCell(queue)],
      ["why", queue.pauseReason],
      ["paused", output.timeAndAge(queue.pauseTime, nowMs)],
      [
        "resumes",
        queue.paused ? output.timeAndAge(queue.resumeTime, nowMs) || "when it is resumed" : undefined,
      ],
      ["leased", leasedOf(queue)],
      ["limit", showLimit(queue)],
      ["rate", showRate(queue) ?? "-"],
      ["ready", of(counts?.ready)],
      ["oldest ready", output.timeAndAge(queue.oldestReadyTime, nowMs)],
      ["blocked", of(counts?.blocked)],
      ["scheduled", of(counts?.scheduled)],
      ["parked", of(counts?.parked)],
      ["offered", of(counts?.offered)],
      ["running", of(counts?.running)],
      [
        "submitted",
        counts && `${showCount(counts.submitted)} (${showCount(counts.submittedLastMinute)} in 60s)`,
      ],
      [
        "ended",
        counts &&
          `${showCount(counts.succeeded + counts.cancelled + counts.dead)} (${showCount(counts.endedLastMinute)} in 60s)`,
      ],
      ["succeeded", of(counts?.succeeded)],
      ["cancelled", of(counts?.cancelled)],
      ["dead", of(counts?.dead)],
    ],
    output.layout,
  );
}

/** The state in words, safe: `paused until 2026-11-22T13:20:00.000Z (in 2h00m): bad deploy`. */
export function showPause(queue: Queue, nowMs: number): string {
  if (!queue.paused) return "open";
  const until =
    queue.resumeTime === undefined
      ? "until it is resumed"
      : `until ${showTimeAndAge(queue.resumeTime, nowMs)}`;
  return `paused ${until}${queue.pauseReason === "" ? "" : `: ${sanitize(queue.pauseReason)}`}`;
}

function stateCell({ paused }: Queue): Cell {
  return paused ? { text: "PAUSED", style: "bold-yellow" } : { text: "OPEN", style: "plain" };
}

function whyPaused(queue: Queue, nowMs: number): string {
  const until = queue.resumeTime === undefined ? "" : `resumes ${showTimeAndAge(queue.resumeTime, nowMs)}`;
  return [queue.pauseReason, until].filter((part) => part !== "").join("; ");
}

function countCells({ counts, oldestReadyTime }: Queue, output: Output, nowMs: number): Cell[] {
  const waiting = counts && counts.blocked + counts.scheduled + counts.parked;
  return [
    counts === undefined ? "-" : showCount(counts.ready),
    waiting === undefined ? "-" : showCount(waiting),
    output.age(oldestReadyTime, nowMs),
  ];
}

// Kinds and pools are counted where there is a limit or a pause.
function leasedOf(queue: Queue): string {
  const isCounted =
    queue.counts !== undefined ||
    queue.paused ||
    queue.limits?.running !== undefined ||
    queue.limits?.startRate !== undefined;
  return isCounted ? showCount(queue.leased) : "-";
}

function showLimit({ limits }: Queue): string {
  return limits?.running === undefined ? "-" : showCount(limits.running);
}

function showRate({ limits }: Queue): string | undefined {
  const rate = limits?.startRate;
  if (rate === undefined) return undefined;
  return `${showCount(rate.jobs)}/${rate.per === undefined ? "?" : showDuration(durationToMs(rate.per))}`;
}
