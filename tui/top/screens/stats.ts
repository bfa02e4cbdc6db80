import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type GetStatsResponse,
  type Stats,
  StatsDimension,
  type StatsFigures,
  StatsService,
} from "@muster/client/v1/stats_service";
import { durationFromMs, timeFromMs } from "../../input/values.ts";
import { histogramLines, trendOf } from "../../output/charts.ts";
import { durationToMs, showCount, showDuration } from "../../output/time.ts";
import { type ListColumn, layHeading, layLine, layRow, layTitles, type Piece } from "../lines.ts";
import { commandLine } from "../shell/command-line.ts";
import type { Screen, ScreenFrame, Shell } from "../shell/screen.ts";
import { quietLine } from "./facts.ts";
import { createPage } from "./page.ts";
import { tabKeys } from "./tab-keys.ts";

const minuteMs = 60_000;
const dimensions = [
  { word: "kind", by: StatsDimension.KIND },
  { word: "worker", by: StatsDimension.WORKER },
  { word: "owner", by: StatsDimension.OWNER },
  { word: "project", by: StatsDimension.PROJECT },
  { word: "queue", by: StatsDimension.QUEUE },
  { word: "schedule", by: StatsDimension.SCHEDULE },
] as const;
const spans = [
  { word: "1h", stepMs: 2 * minuteMs, steps: 30 },
  { word: "24h", stepMs: 60 * minuteMs, steps: 24 },
  { word: "7d", stepMs: 360 * minuteMs, steps: 28 },
  { word: "30d", stepMs: 1_440 * minuteMs, steps: 30 },
] as const;
type Span = (typeof spans)[number];

/** How attempts ended, how long they waited and ran: by what they are of. */
export function createStats(shell: Shell): Screen {
  const client = shell.client(StatsService);
  let dimension: (typeof dimensions)[number] = dimensions[0];
  let span: Span = spans[1];
  let hasHistogram = true;
  // What is read while the choice changes is of the choice before: then it is read again.
  const read = async (signal: AbortSignal): Promise<Shown> => {
    for (;;) {
      const asked = { dimension, span };
      const endMs = shell.serverNow();
      const request = {
        by: asked.dimension.by,
        startTime: timeFromMs(endMs - asked.span.stepMs * asked.span.steps),
        step: durationFromMs(asked.span.stepMs),
        limit: 100,
      };
      const answer = await client.getStats(request, { signal, timeoutMs: 30_000 });
      if (asked.dimension === dimension && asked.span === span) return { answer, ...asked };
    }
  };
  let latest: Shown | undefined;
  const again = (): void => {
    latest = undefined;
    wake();
    shell.changed();
  };
  let wake: () => void = () => {};
  const page = createPage<Shown>(shell, {
    id: "stats",
    title: () => "Statistics",
    everyMs: 5_000,
    read: async (signal) => {
      latest = await read(signal);
      return latest;
    },
    lines: (value, frame) => statsLines(latest ?? value, { dimension, span, hasHistogram }, frame),
    keys: () => [
      ...tabKeys("dimension", dimensions, {
        chosen: () => dimension,
        choose: (tab) => {
          dimension = tab;
          again();
        },
      }),
      {
        id: "stats.span",
        keys: ["w"],
        label: "longer time",
        group: "look",
        danger: "none",
        hint: 1,
        run: () => {
          span = spans[(spans.indexOf(span) + 1) % spans.length] ?? spans[0];
          again();
        },
      },
      {
        id: "stats.histogram",
        keys: ["h"],
        label: "histogram",
        group: "look",
        danger: "none",
        hint: 2,
        run: () => {
          hasHistogram = !hasHistogram;
          shell.changed();
        },
      },
      {
        id: "stats.attribution",
        keys: ["a"],
        label: "who did how much",
        group: "go",
        danger: "none",
        hint: 3,
        run: () => shell.show("attribution"),
      },
    ],
    equals: [{ command: "stats", method: "StatsService.GetStats" }],
    command: () =>
      commandLine(
        "stats",
        ["--by", dimension.word],
        ["--since", span.word],
        ["--step", showDuration(span.stepMs)],
        hasHistogram ? "--histogram" : "",
      ),
    subject: () => undefined,
    besides: async (signal) => {
      // A changed choice is read at once, not at the next turn.
      while (!signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
        if (signal.aborted) return;
        latest = await read(signal).catch(() => undefined);
        shell.changed();
      }
    },
  });
  return page;
}

interface Shown {
  readonly answer: GetStatsResponse;
  readonly dimension: (typeof dimensions)[number];
  readonly span: Span;
}

function statsLines(
  { answer, ...of }: Shown,
  chosen: Omit<Shown, "answer"> & { readonly hasHistogram: boolean },
  frame: ScreenFrame,
): string[] {
  const tabs = dimensions.map(
    ({ word }): Piece =>
      word === chosen.dimension.word
        ? { text: frame.glyphs === "ascii" ? ` [${word}]` : ` ${word}·`, style: "bold" }
        : { text: ` ${word}`, style: "dim" },
  );
  const head = layLine([...tabs, { text: `   last ${chosen.span.word}`, style: "dim" }], frame);
  if (of.dimension !== chosen.dimension || of.span !== chosen.span) {
    return [head, quietLine(frame.glyphs === "ascii" ? "Loading..." : "Loading…", frame)];
  }
  const total = answer.total?.figures;
  if (total === undefined || total.attempts === 0n)
    return [head, quietLine("Nothing ended in that time.", frame)];
  const trend = { stepMs: of.span.stepMs, startMs: msOf(answer.startTime), endMs: msOf(answer.endTime) };
  const columns = columnsOf(frame);
  const rows = [...answer.stats, ...(answer.total === undefined ? [] : [answer.total])].map((one, at) =>
    frame.isLinear
      ? layLine([{ text: linearText(one, at === answer.stats.length) }], frame)
      : layRow(cellsOf(one, at === answer.stats.length, trend, frame), columns, frame),
  );
  const histograms = (
    [
      ["Waited", answer.total?.waitHistogram ?? []],
      ["Ran", answer.total?.runHistogram ?? []],
    ] as const
  ).flatMap(([word, buckets]) =>
    buckets.length === 0 || !chosen.hasHistogram || frame.isLinear
      ? []
      : [
          layHeading([{ text: word, style: "bold" }, { text: " all together" }], frame),
          ...histogramLines(buckets, frame.glyphs, Math.max(8, Math.min(50, frame.columns - 40))).map(
            (line) => layLine([{ text: ` ${line}` }], frame),
          ),
        ],
  );
  return [head, ...(frame.isLinear ? [] : [layTitles(columns, frame)]), ...rows, ...histograms];
}

function columnsOf({ layout }: ScreenFrame): ListColumn[] {
  const isWide = layout === "wide";
  const right = (title: string, width: number): ListColumn => ({ title, width, align: "right" });
  return [
    { title: "OF", width: isWide ? 18 : layout === "normal" ? 18 : 12 },
    right("ENDED", 8),
    right("OK %", 5),
    ...(isWide ? [right("FAILED", 7), right("DEAD", 5)] : []),
    ...(layout === "compact" ? [] : [right("WAIT P95", 8)]),
    ...(isWide ? [right("RUN P50", 8)] : []),
    right("RUN P95", 8),
    ...(isWide ? [right("RUN P99", 8)] : []),
    { title: "ENDED BY STEP", width: 0 },
  ];
}

function cellsOf(
  { value, name, figures, series }: Stats,
  isTotal: boolean,
  trend: { readonly startMs: number; readonly endMs: number; readonly stepMs: number },
  frame: ScreenFrame,
): Piece[] {
  const isWide = frame.layout === "wide";
  const failed = figures === undefined ? 0n : figures.failed + figures.timedOut + figures.lost;
  const steps = series.map((one) => ({
    atMs: msOf(one.startTime),
    count: Number(one.figures?.attempts ?? 0n),
  }));
  return [
    { text: isTotal ? "all" : name || value || "-", style: isTotal ? "bold" : "plain" },
    { text: showCount(figures?.attempts ?? 0n) },
    { text: rateText(figures) },
    ...(isWide
      ? [
          { text: showCount(failed), style: failed > 0n ? ("yellow" as const) : ("dim" as const) },
          {
            text: showCount(figures?.dead ?? 0n),
            style: figures?.dead ? ("red" as const) : ("dim" as const),
          },
        ]
      : []),
    ...(frame.layout === "compact" ? [] : [{ text: took(figures?.waitP95) }]),
    ...(isWide ? [{ text: took(figures?.runP50) }] : []),
    { text: took(figures?.runP95) },
    ...(isWide ? [{ text: took(figures?.runP99) }] : []),
    { text: trendOf(steps, trend, frame.glyphs), style: "cyan" },
  ];
}

function linearText({ value, name, figures }: Stats, isTotal: boolean): string {
  const of = isTotal ? "All" : name || value || "nobody";
  const [ended, ok] = [showCount(figures?.attempts ?? 0n), rateText(figures)];
  return `${of}: ${ended} ended, ${ok} % succeeded, waited ${took(figures?.waitP95)} and ran ${took(figures?.runP95)} at the 95th percentile`;
}

function rateText(figures: StatsFigures | undefined): string {
  return figures?.successRate === undefined ? "-" : (Math.floor(figures.successRate * 1_000) / 10).toFixed(1);
}

function took(duration: StatsFigures["runP50"]): string {
  return duration === undefined ? "-" : showDuration(durationToMs(duration));
}

function msOf(time: GetStatsResponse["startTime"]): number {
  return time === undefined ? 0 : timestampMs(time);
}
