import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  GetStatsResponseSchema,
  type Stats,
  StatsDimension,
  type StatsFigures,
  StatsService,
} from "@muster/client/v1/stats_service";
import type { Call } from "../call.ts";
import type { Cli } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { durationOption, listOption, wholeOption } from "../input/options.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { didYouMean } from "../input/suggest.ts";
import { durationFromMs, timeFromMs } from "../input/values.ts";
import { histogramLines, trendOf } from "../output/charts.ts";
import type { Output } from "../output/output.ts";
import { sanitize } from "../output/sanitize.ts";
import { type Cell, layTable } from "../output/table.ts";
import { durationToMs, showCount, showCounted, showDuration, showTime } from "../output/time.ts";
import { registerAttribution } from "./stats-attribution.ts";

interface StatsOptions {
  readonly by?: string;
  readonly value?: readonly string[];
  readonly project?: string;
  readonly since?: number;
  readonly until?: number;
  readonly step?: number;
  readonly limit?: number;
  readonly histogram?: boolean;
}

/** Registers `muster stats`. */
export function registerStats(cli: Cli): void {
  const { now } = cli.surroundings;
  const stats = cli.program
    .command("stats")
    .description("See how attempts ended, how long they waited and ran, and who did them.")
    .examples(
      "muster stats",
      "muster stats --by worker --since 7d",
      "muster stats --by kind --value render.frame --histogram",
      "muster stats --by queue --since 24h --step 1h --json",
      "muster stats attribution --since 30d",
    )
    .option("--by <dimension>", `count by this: ${[...dimensions.keys()].join(", ")}`)
    .option("--value <name>", "only of this kind, queue …; of workers the id; repeat for more", listOption)
    .option("--project <name>", "with --by owner: only what was done for this project")
    .option("--since <time>", "from then on: 24h, 14:02, 2026-11-22 (24h)", pastTimeOption(now))
    .option("--until <time>", "until then (now)", pastTimeOption(now))
    .option(
      "--step <duration>",
      "a series of steps so long, 1m or more (so that there are 30)",
      durationOption,
    )
    .option(
      "-n, --limit <number>",
      "values to show, those with most attempts first (50)",
      wholeOption(1, 1_000),
    )
    .option("--histogram", "also how long they waited and ran, as bars")
    .notes(
      "Percentiles are within 4.5 %. Waiting is from ready to granted, running from granted to ended.\n" +
        "OK % says how many of 100 succeeded of those that were to end: cancelled, released and parked\n" +
        "ones are not counted there.",
    )
    .action(cli.action((call, options: StatsOptions) => printStats(call, options)));
  registerAttribution(stats, cli);
}

async function printStats(call: Call, options: StatsOptions): Promise<number> {
  const { output, surroundings } = call;
  const nowMs = surroundings.now();
  const [sinceMs, untilMs] = [options.since ?? (options.until ?? nowMs) - dayMs, options.until];
  const stepMs = options.step ?? standardStepMs((untilMs ?? nowMs) - sinceMs);
  const response = await call.client(StatsService).getStats(
    {
      by: readDimension(options.by),
      values: [...(options.value ?? [])],
      project: options.project ?? "",
      // What is not said is the server's to choose: the same 24 hours, by its clock.
      ...(options.since === undefined ? {} : { startTime: timeFromMs(sinceMs) }),
      ...(untilMs === undefined ? {} : { endTime: timeFromMs(untilMs) }),
      step: durationFromMs(stepMs),
      limit: options.limit ?? 0,
    },
    call.once(),
  );
  output.print({
    schema: GetStatsResponseSchema,
    message: response,
    text: () => {
      const { stats, total, startTime, endTime } = response;
      const [startMs, endMs] = [startTime, endTime].map((time) =>
        time === undefined ? 0 : timestampMs(time),
      );
      const span = { startMs: startMs ?? 0, endMs: endMs ?? 0, stepMs };
      const rows = options.by === undefined ? [] : stats;
      const all = total === undefined ? [] : [total];
      return [
        ...statsTable([...rows, ...all], span, output),
        ...(options.histogram === true ? histograms(rows.length > 0 ? rows : all, output) : []),
      ];
    },
    names: () => response.stats.map(({ value }) => value),
  });
  if (output.format === "text") {
    const omitted =
      response.omitted === 0 ? "" : `; ${showCounted(response.omitted, "value")} left out: --limit`;
    const from = showTime(response.startTime);
    output.note(`From ${from} to ${showTime(response.endTime)}, a step is ${showDuration(stepMs)}${omitted}`);
  }
  return exitCodes.done;
}

const dayMs = 86_400_000;

const dimensions = new Map([
  ["kind", StatsDimension.KIND],
  ["queue", StatsDimension.QUEUE],
  ["project", StatsDimension.PROJECT],
  ["worker", StatsDimension.WORKER],
  ["owner", StatsDimension.OWNER],
  ["schedule", StatsDimension.SCHEDULE],
]);

function readDimension(word: string | undefined): StatsDimension {
  if (word === undefined) return StatsDimension.UNSPECIFIED;
  const dimension = dimensions.get(word.toLowerCase().replace(/s$/, ""));
  if (dimension !== undefined) return dimension;
  const known = [...dimensions.keys()];
  throw usageError(
    `--by has no value ${JSON.stringify(word)}`,
    didYouMean(word, known) ?? `Use one of ${known.join(", ")}.`,
  );
}

// So that about 30 fit: the shortest of the usual ones.
function standardStepMs(spanMs: number): number {
  const minute = 60_000;
  const usual = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 10_080].map(
    (minutes) => minutes * minute,
  );
  return usual.find((step) => spanMs / step <= 31) ?? Math.ceil(spanMs / 30 / minute) * minute;
}

function statsTable(
  rows: readonly Stats[],
  span: { readonly startMs: number; readonly endMs: number; readonly stepMs: number },
  output: Output,
): string[] {
  const columns = [
    { title: "OF" },
    { title: "ENDED", align: "right" },
    { title: "OK %", align: "right" },
    { title: "FAILED", align: "right", drop: 7 },
    { title: "DEAD", align: "right", drop: 6 },
    { title: "WAIT P50", align: "right", drop: 4 },
    { title: "P95", align: "right", drop: 5 },
    { title: "P99", align: "right", drop: 2 },
    { title: "RUN P50", align: "right" },
    { title: "P95", align: "right", drop: 8 },
    { title: "P99", align: "right", drop: 3 },
    { title: "TIME", align: "right", drop: 1 },
    { title: "ENDED BY STEP" },
  ] as const;
  const cells = rows.map(({ value, name, figures, series }, at): Cell[] => {
    const isTotal = at === rows.length - 1;
    const ended = series.map((one) => ({
      atMs: one.startTime === undefined ? 0 : timestampMs(one.startTime),
      count: Number(one.figures?.attempts ?? 0n),
    }));
    return [
      isTotal ? { text: "all", style: "bold" } : name || value || "-",
      ...(figures === undefined ? [] : figureCells(figures)),
      trendOf(ended, span, output.glyphs),
    ];
  });
  return layTable(columns, cells, output.layout);
}

function figureCells(figures: StatsFigures): Cell[] {
  const took = (duration: StatsFigures["runP50"]) =>
    duration === undefined ? "-" : showDuration(durationToMs(duration));
  const failed = figures.failed + figures.timedOut + figures.lost;
  return [
    showCount(figures.attempts),
    figures.successRate === undefined ? "-" : (Math.floor(figures.successRate * 1_000) / 10).toFixed(1),
    failed > 0n ? { text: showCount(failed), style: "yellow" } : "0",
    figures.dead > 0n ? { text: showCount(figures.dead), style: "red" } : "0",
    ...[took(figures.waitP50), took(figures.waitP95), took(figures.waitP99)],
    ...[took(figures.runP50), took(figures.runP95), took(figures.runP99)],
    took(figures.runTime),
  ];
}

function histograms(rows: readonly Stats[], output: Output): string[] {
  return rows.flatMap(({ value, name, waitHistogram, runHistogram }) =>
    [["waited", waitHistogram] as const, ["ran", runHistogram] as const].flatMap(([word, buckets]) =>
      buckets.length === 0
        ? []
        : [
            "",
            output.paint("bold", `${sanitize(name || value || "all")}: ${word}`),
            ...histogramLines(buckets, output.glyphs),
          ],
    ),
  );
}
