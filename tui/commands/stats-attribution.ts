import { create } from "@bufbuild/protobuf";
import {
  type Attribution,
  AttributionBy,
  ListAttributionResponseSchema,
  StatsService,
} from "@muster/client/v1/stats_service";
import type { Cli, MusterCommand } from "../command.ts";
import { usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { pastTimeOption } from "../input/past-time.ts";
import { didYouMean } from "../input/suggest.ts";
import { timeFromMs } from "../input/values.ts";
import { csvLine } from "../output/csv.ts";
import { layTable } from "../output/table.ts";
import { durationToMs, showCount, showDuration } from "../output/time.ts";
import { collectPages, notePage, type PageOptions, withPages } from "./pages.ts";

interface AttributionOptions extends PageOptions {
  readonly by?: string;
  readonly project?: string;
  readonly since?: number;
  readonly until?: number;
  readonly csv?: boolean;
}

/** Registers `muster stats attribution`. */
export function registerAttribution(stats: MusterCommand, cli: Cli): void {
  const { now } = cli.surroundings;
  withPages(stats.command("attribution"))
    .description("List who did how much for which project.")
    .examples(
      "muster stats attribution --since 30d",
      "muster stats attribution --by author --project acme/web",
      "muster stats attribution --all --csv > november.csv",
      "muster stats attribution --all -o jsonl",
    )
    .option(
      "--by <whom>",
      "owner: of the worker that did it; author: of the pull request that came of it (owner)",
    )
    .option("--project <name>", "only for this project")
    .option("--since <time>", "from then on: 30d, 2026-11-01 (30d)", pastTimeOption(now))
    .option("--until <time>", "until then (now)", pastTimeOption(now))
    .option("--csv", "comma-separated values, times in seconds")
    .action(
      cli.action(async (call, options: AttributionOptions) => {
        const { since, until } = options;
        const asked = {
          by: readBy(options.by),
          project: options.project ?? "",
          ...(since === undefined ? {} : { startTime: timeFromMs(since) }),
          ...(until === undefined ? {} : { endTime: timeFromMs(until) }),
        };
        const page = await collectPages(options, async (pageSize, pageToken) => {
          const request = { ...asked, pageSize, pageToken };
          const response = await call.client(StatsService).listAttribution(request, call.once());
          return { rows: response.attributions, nextPageToken: response.nextPageToken };
        });
        if (options.csv === true) {
          for (const line of attributionCsv(page.rows)) call.output.data(line);
          notePage(call.output, page, "contributions");
          return exitCodes.done;
        }
        call.output.print({
          schema: ListAttributionResponseSchema,
          message: create(ListAttributionResponseSchema, {
            attributions: page.rows,
            nextPageToken: page.nextPageToken,
          }),
          text: () => layTable(columns, page.rows.map(cellsOf), call.output.layout),
          names: () => page.rows.map((row) => row.contributor),
        });
        notePage(call.output, page, "contributions");
        return exitCodes.done;
      }),
    );
}

const columns = [
  { title: "WHO" },
  { title: "PROJECT" },
  { title: "DONE", align: "right" },
  { title: "FAILED", align: "right", drop: 1 },
  { title: "TIME", align: "right", drop: 2 },
  { title: "PULL REQUESTS", align: "right" },
  { title: "MERGED", align: "right" },
] as const;

function cellsOf(row: Attribution): string[] {
  return [
    ...[row.contributor || "-", row.project || "-", showCount(row.succeeded), showCount(row.failed)],
    row.runTime === undefined ? "-" : showDuration(durationToMs(row.runTime)),
    ...[showCount(row.pullRequests), showCount(row.merged)],
  ];
}

/** The rows with a head, as lines of CSV; times in seconds. */
export function attributionCsv(rows: readonly Attribution[]): string[] {
  const head = ["contributor", "project", "succeeded", "failed", "run_seconds", "pull_requests", "merged"];
  return [head, ...rows.map(valuesOf)].map(csvLine);
}

function valuesOf(row: Attribution): string[] {
  const seconds = row.runTime === undefined ? 0 : durationToMs(row.runTime) / 1_000;
  return [
    ...[row.contributor, row.project, String(row.succeeded), String(row.failed)],
    ...[seconds.toFixed(3), String(row.pullRequests), String(row.merged)],
  ];
}

/** Whose work is counted, by the words of `--by`. */
export const attributionWords: ReadonlyMap<string, AttributionBy> = new Map([
  ["owner", AttributionBy.OWNER],
  ["author", AttributionBy.AUTHOR],
]);

function readBy(word = "owner"): AttributionBy {
  const by = attributionWords.get(word.toLowerCase());
  if (by !== undefined) return by;
  const known = [...attributionWords.keys()];
  throw usageError(
    `--by has no value ${JSON.stringify(word)}`,
    didYouMean(word, known) ?? `Use one of ${known.join(", ")}.`,
  );
}
