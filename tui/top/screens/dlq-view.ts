import type { Job } from "@muster/client/v1/job";
import type { DeadLetterGroup } from "@muster/client/v1/job_service";
import { showCount, showCounted } from "../../output/time.ts";
import { sparkline } from "../bars.ts";
import { layEnds, layHeading, layLine } from "../lines.ts";
import { showMoment } from "../shell/moments.ts";
import type { ScreenFrame } from "../shell/screen.ts";
import { type Fact, factLines, quietLine, textLines, whenText } from "./facts.ts";
import type { ColumnSpec } from "./list-view.ts";

/** A retry that goes on at a rate. */
export interface PacedRetry {
  readonly fingerprint: string;
  readonly rate: string;
  readonly done: number;
  readonly total: number;
}

/** The columns of the list of dead letters by equal errors. */
export const dlqColumns: readonly ColumnSpec<DeadLetterGroup>[] = [
  {
    id: "count",
    title: "COUNT",
    width: 7,
    align: "right",
    cell: ({ count }) => ({ text: showCount(count), style: "magenta" }),
  },
  { id: "kind", title: "KIND", width: 16, cell: ({ kind }) => ({ text: kind }) },
  {
    id: "trend",
    title: "LAST 24 H",
    width: ({ layout }) => (layout === "wide" ? 24 : 12),
    rank: 1,
    cell: ({ hourly }, { glyphs, layout }) => ({
      text: sparkline(layout === "wide" ? hourly : byTwo(hourly), glyphs),
      style: "cyan",
    }),
  },
  {
    id: "first",
    title: "FIRST",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    rank: 2,
    cell: ({ firstTime }, frame) => ({ text: showMoment(firstTime, frame), style: "dim" }),
  },
  {
    id: "last",
    title: "LAST",
    width: ({ time }) => (time === "relative" ? 6 : time === "clock" ? 8 : 20),
    align: "right",
    cell: ({ lastTime }, frame) => ({ text: showMoment(lastTime, frame) }),
  },
  { id: "error", title: "ERROR", width: 0, cell: (group) => ({ text: errorText(group) }) },
];

/** How many dead letters there are, above the list; and what is being retried. */
export function dlqHead(
  groups: Iterable<DeadLetterGroup>,
  paced: PacedRetry | undefined,
  frame: ScreenFrame,
): string[] {
  const all = [...groups];
  const dead = all.reduce((sum, { count }) => sum + count, 0n);
  const lines = [
    layEnds(
      [{ text: ` ${showCount(dead)} dead in ${showCounted(all.length, "group")}`, style: "bold" }],
      [{ text: "largest first ", style: "dim" }],
      frame,
    ),
  ];
  if (paced !== undefined) {
    const text = ` retrying ${paced.fingerprint} at ${paced.rate}: ${showCount(paced.done)} of ${showCount(paced.total)}, X stops it`;
    lines.push(layLine([{ text, style: "yellow" }], frame));
  }
  return lines;
}

/** A group with the latest of it. */
export function dlqLines(group: DeadLetterGroup, sample: Job | undefined, frame: ScreenFrame): string[] {
  const facts: Fact[] = [
    ["group", group.fingerprint],
    ["kind", group.kind],
    [
      "dead",
      `${showCount(group.count)}, first ${whenText(group.firstTime, frame)}, last ${whenText(group.lastTime, frame)}`,
    ],
  ];
  const { error } = sample ?? group;
  const told: Fact[] =
    sample === undefined
      ? []
      : [
          ["attempts", String(sample.attempt)],
          ["queue", sample.spec?.queue ?? ""],
          ["project", sample.spec?.project ?? ""],
          ["reason", sample.reason],
        ];
  return [
    ...factLines(facts, frame),
    layHeading([{ text: "Sample", style: "bold" }, { text: ` ${group.sampleJobId}` }], frame),
    ...factLines(told, frame),
    ...(error === undefined
      ? [quietLine("It has no error.", frame)]
      : [...textLines(error.code, frame, "red"), ...textLines(error.message, frame)]),
  ];
}

/** The error of a group in one line. */
function errorText({ error }: DeadLetterGroup): string {
  return error === undefined ? "" : `${error.code}: ${error.message}`;
}

function byTwo(hourly: readonly number[]): number[] {
  return Array.from(
    { length: Math.ceil(hourly.length / 2) },
    (_, at) => (hourly[2 * at] ?? 0) + (hourly[2 * at + 1] ?? 0),
  );
}
