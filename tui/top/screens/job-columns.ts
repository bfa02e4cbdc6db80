import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Job, JobState } from "@muster/client/v1/job";
import { showPriority } from "../../input/values.ts";
import { jobLooks, lookOfJob } from "../../output/states.ts";
import { showAge, showCount, showDuration } from "../../output/time.ts";
import { progressBar } from "../bars.ts";
import { layLine, type Piece } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import type { ListState } from "../store/list.ts";
import type { ColumnSpec } from "./list-view.ts";

/** The columns of lists of jobs. */
export const jobColumns: readonly ColumnSpec<Job>[] = [
  { id: "id", title: "ID", width: ({ columns }) => (columns >= 130 ? 30 : 9), cell: idCell },
  { id: "state", title: "STATE", width: ({ layout }) => (layout === "compact" ? 1 : 11), cell: stateCell },
  {
    id: "priority",
    title: "PRI",
    width: 4,
    rank: 2,
    cell: ({ spec }) => ({ text: priorityWord(spec?.priority) }),
  },
  { id: "kind", title: "KIND / TITLE", width: ({ columns }) => (columns >= 96 ? 26 : 18), cell: kindCell },
  { id: "worker", title: "WORKER", width: 10, rank: 4, cell: ({ workerName }) => ({ text: workerName }) },
  {
    id: "attempt",
    title: "ATT",
    width: 5,
    align: "right",
    rank: 3,
    cell: ({ attempt, spec }) => ({ text: `${attempt}/${spec?.retry?.maxAttempts ?? "-"}` }),
  },
  {
    id: "age",
    title: "AGE",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    cell: ({ createTime }, frame) => ({ text: showMoment(createTime, frame) }),
  },
  {
    id: "queue",
    title: "QUEUE",
    width: 10,
    rank: 0,
    cell: ({ spec }) => ({ text: spec?.queue ?? "", style: "dim" }),
  },
  {
    id: "project",
    title: "PROJECT",
    width: 12,
    rank: 1,
    cell: ({ spec }) => ({ text: spec?.project ?? "", style: "dim" }),
  },
  { id: "progress", title: "PROGRESS", width: 0, cell: aboutCell },
];

/** The states that have a tab, in the order of the tabs. */
export const tabStates: readonly JobState[] = [
  JobState.READY,
  JobState.OFFERED,
  JobState.RUNNING,
  JobState.SCHEDULED,
  JobState.BLOCKED,
  JobState.PARKED,
  JobState.DEAD,
  JobState.CANCELLED,
  JobState.SUCCEEDED,
];

/** The tabs: every state with the server's count; the one that the filter names is set off. */
export function jobTabs(list: ListState<Job>, filter: string, frame: ScreenFrame): string {
  const chosen = stateOf(filter);
  const isAscii = frame.glyphs === "ascii";
  const all = totalOf(list);
  const pieces: Piece[] = [
    {
      text: ` all ${all === undefined ? "" : showCount(all)}${list.atLeast ? "+" : ""}`,
      style: chosen === undefined ? "bold" : "dim",
    },
  ];
  for (const state of tabStates) {
    const count = list.counts?.get(state) ?? 0n;
    const word = wordOf(state);
    if (count === 0n && chosen !== word) continue;
    const look = jobLooks[state];
    const name = frame.layout === "wide" || chosen === word ? ` ${word}` : "";
    pieces.push(
      { text: "  " },
      { text: isAscii ? look.ascii : look.glyph, style: look.style },
      { text: `${name} ${showCount(count)}`, style: chosen === word ? "bold" : "dim" },
    );
  }
  return layLine(pieces, frame);
}

/** How many jobs the filter matches in all states, as the server counts. */
export function totalOf({ counts }: ListState<Job>): bigint | undefined {
  return counts === undefined ? undefined : [...counts.values()].reduce((sum, count) => sum + count, 0n);
}

/** The one state that a filter asks for; undefined when it asks for several or none. */
export function stateOf(filter: string): string | undefined {
  return /(?:^|\s)state:([a-z]+)(?=\s|$)/.exec(filter)?.[1];
}

/** The filter with another state, or with none. */
export function withState(filter: string, state: string | undefined): string {
  const rest = filter
    .replace(/(^|\s)-?state:\S+/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  return [...(state === undefined ? [] : [`state:${state}`]), rest].filter((part) => part !== "").join(" ");
}

/** A state as filters write it. */
export function wordOf(state: JobState): string {
  return jobLooks[state].word.toLowerCase();
}

/** A priority in at most four letters. */
export function priorityWord(priority: number | undefined): string {
  const word = showPriority(priority);
  return { low: "low", normal: "norm", high: "high", critical: "crit" }[word] ?? String(priority ?? "");
}

function idCell({ jobId }: Job, { columns, glyphs }: ScreenFrame): Piece {
  const dots = glyphs === "ascii" ? "~" : "…";
  return { text: columns >= 130 ? jobId : dots + jobId.slice(-8), style: "dim" };
}

function stateCell(job: Job, { layout, glyphs }: ScreenFrame): Piece {
  const look = lookOfJob(job);
  const glyph = glyphs === "ascii" ? look.ascii : look.glyph;
  return { text: layout === "compact" ? glyph : `${glyph} ${look.word}`, style: look.style };
}

function kindCell({ spec }: Job): Piece {
  return { text: spec?.title ? `${spec.kind} ${spec.title}` : (spec?.kind ?? "") };
}

// What matters of a job differs with its state.
function aboutCell(job: Job, frame: ScreenFrame): Piece {
  if (job.cancelRequested && job.state === JobState.RUNNING) return { text: "stopping", style: "yellow" };
  switch (job.state) {
    case JobState.RUNNING:
      return { text: progressText(job, frame) };
    case JobState.SCHEDULED:
    case JobState.PARKED: {
      const wakes =
        job.wakeTime === undefined ? "" : `in ${untilText(timestampMs(job.wakeTime) - frame.nowMs)}`;
      const why = job.state === JobState.PARKED ? job.reason : (job.error?.message ?? "");
      return { text: [wakes, why].filter((part) => part !== "").join("  "), style: "dim" };
    }
    case JobState.BLOCKED:
      return { text: `waits for ${job.waitingOn}`, style: "dim" };
    case JobState.DEAD:
      return {
        text: job.error === undefined ? job.reason : `${job.error.code}: ${job.error.message}`,
        style: "red",
      };
    case JobState.CANCELLED:
      return { text: job.reason, style: "dim" };
    case JobState.SUCCEEDED:
      return { text: job.prUrl, style: "dim" };
    case JobState.READY:
    case JobState.OFFERED:
    case JobState.UNSPECIFIED:
      return { text: job.state === JobState.READY ? skillsText(job) : "", style: "dim" };
  }
}

function skillsText({ spec }: Job): string {
  const skills = spec?.requiredSkills ?? [];
  return skills.length === 0 ? "" : `needs ${skills.join(" ")}`;
}

function untilText(ms: number): string {
  return ms <= 0 ? "a moment" : showDuration(Math.ceil(ms / 1000) * 1000);
}

/** How far a job is: a bar, per cent, its message. */
export function progressText({ progress }: Job, { layout, glyphs }: ScreenFrame): string {
  if (progress === undefined) return "";
  const { fraction } = progress;
  const cells = layout === "compact" ? 6 : 10;
  const bar =
    fraction === undefined
      ? ""
      : `${progressBar(fraction, cells, glyphs)} ${String(Math.round(fraction * 100)).padStart(3)}%`;
  return [bar, progress.message].filter((part) => part !== "").join(" ");
}

/** How long ago something was, by the server's clock. */
export function agoText(time: Parameters<typeof showAge>[0], { nowMs }: ScreenFrame): string {
  return time === undefined ? "-" : `${showAge(time, nowMs)} ago`;
}
