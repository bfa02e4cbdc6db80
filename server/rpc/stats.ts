import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  AttributionBy,
  StatsDimension as Dimension,
  type HistogramBucketSchema,
  type StatsFiguresSchema,
  type StatsSchema,
  type StatsService,
} from "@muster/client/v1/stats_service";
import { listAttribution } from "../domain/attribution.ts";
import { bucketEndMs, bucketStartMs, type Histogram, quantileMs } from "../domain/rules/histograms.ts";
import { attemptsOf, type StatsDimension, type StatsFigures, successRate } from "../domain/rules/stats.ts";
import { getKindProfile, getStats, type StatsView } from "../domain/stats.ts";
import { callerOf } from "./auth.ts";
import { profileMessage } from "./job-messages.ts";
import {
  fineDuration,
  orNull,
  type Problems,
  pageOf,
  readDuration,
  readId,
  readTime,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.StatsService`. */
export function statsService({ coordinator: c }: ApiParts): ServiceImpl<typeof StatsService> {
  return {
    async getStats(request, context) {
      const problems: Problems = [];
      const by = readDimension(problems, request.by);
      const values = request.values.map((value, n) =>
        by === "worker" ? (readId(problems, "worker", value, `values[${n}]`) ?? "") : value,
      );
      const asked = {
        by,
        values: values.length === 0 ? null : values,
        project: orNull(request.project),
        from: readTime(problems, "startTime", request.startTime),
        until: readTime(problems, "endTime", request.endTime),
        stepMs: readDuration(problems, "step", request.step),
        limit: request.limit,
      };
      refuseProblems(problems);
      const answer = await getStats(c, callerOf(context), asked);
      return {
        stats: answer.stats.map((one) => statsMessage(one, by)),
        total: statsMessage(answer.total, "org"),
        omitted: answer.omitted,
        startTime: writeTime(answer.from),
        endTime: writeTime(answer.until),
      };
    },

    async listAttribution(request, context) {
      const problems: Problems = [];
      if (AttributionBy[request.by] === undefined)
        problems.push({ field: "by", message: "is not one of them" });
      const asked = {
        ...pageOf(request),
        isByAuthor: request.by === AttributionBy.AUTHOR,
        project: orNull(request.project),
        from: readTime(problems, "startTime", request.startTime),
        until: readTime(problems, "endTime", request.endTime),
      };
      refuseProblems(problems);
      const { items, nextPageToken } = await listAttribution(c, callerOf(context), asked);
      return {
        attributions: items.map(({ runSeconds, succeeded, failed, pullRequests, merged, ...who }) => ({
          ...who,
          succeeded: BigInt(succeeded),
          failed: BigInt(failed),
          runTime: durationFromMs(Math.round(runSeconds * 1_000)),
          pullRequests: BigInt(pullRequests),
          merged: BigInt(merged),
        })),
        nextPageToken,
      };
    },

    async getProfile(request, context) {
      const problems: Problems = [];
      const asked = {
        kind: request.kind,
        from: readTime(problems, "startTime", request.startTime),
        until: readTime(problems, "endTime", request.endTime),
      };
      refuseProblems(problems);
      const { profile, p50Ms, p95Ms } = await getKindProfile(c, callerOf(context), asked);
      return { profile: profileMessage(profile), ...present({ runP50: p50Ms, runP95: p95Ms }) };
    },
  };
}

const dimensions: Readonly<Record<Dimension, StatsDimension>> = {
  [Dimension.UNSPECIFIED]: "org",
  [Dimension.KIND]: "kind",
  [Dimension.QUEUE]: "queue",
  [Dimension.PROJECT]: "project",
  [Dimension.WORKER]: "worker",
  [Dimension.OWNER]: "owner",
  [Dimension.SCHEDULE]: "schedule",
};

function readDimension(problems: Problems, by: Dimension): StatsDimension {
  const dimension: StatsDimension | undefined = dimensions[by];
  if (dimension === undefined) problems.push({ field: "by", message: "is not a dimension" });
  return dimension ?? "org";
}

function statsMessage(view: StatsView, by: StatsDimension): MessageInitShape<typeof StatsSchema> {
  const { value, name, figures, series } = view;
  return {
    value: by === "worker" ? writeId("worker", value) : value,
    name,
    figures: figuresMessage(figures),
    series: series.map((one) => ({ startTime: writeTime(one.at), figures: figuresMessage(one.figures) })),
    waitHistogram: histogramMessage(figures.waits),
    runHistogram: histogramMessage(figures.runs),
  };
}

function figuresMessage(figures: StatsFigures): MessageInitShape<typeof StatsFiguresSchema> {
  const { waits, runs, runSeconds, ...counts } = figures;
  const rate = successRate(counts);
  return {
    attempts: BigInt(attemptsOf(counts)),
    succeeded: BigInt(counts.succeeded),
    failed: BigInt(counts.failed),
    timedOut: BigInt(counts.timedOut),
    lost: BigInt(counts.lost),
    cancelled: BigInt(counts.cancelled),
    released: BigInt(counts.released),
    parked: BigInt(counts.parked),
    unanswered: BigInt(counts.unanswered),
    dead: BigInt(counts.dead),
    ...(rate === null ? {} : { successRate: rate }),
    runTime: durationFromMs(Math.round(runSeconds * 1_000)),
    ...present({
      waitP50: quantileMs(waits, 0.5),
      waitP95: quantileMs(waits, 0.95),
      waitP99: quantileMs(waits, 0.99),
      runP50: quantileMs(runs, 0.5),
      runP95: quantileMs(runs, 0.95),
      runP99: quantileMs(runs, 0.99),
    }),
  };
}

function histogramMessage(histogram: Histogram): MessageInitShape<typeof HistogramBucketSchema>[] {
  return [...histogram]
    .sort(([a], [b]) => a - b)
    .map(([bucket, count]) => ({
      start: fineDuration(bucketStartMs(bucket)),
      end: fineDuration(bucketEndMs(bucket)),
      count: BigInt(count),
    }));
}

function present<Name extends string>(all: Readonly<Record<Name, number | null>>) {
  const entries = Object.entries<number | null>(all).flatMap(([name, ms]) =>
    ms === null ? [] : [[name, fineDuration(ms)] as const],
  );
  return Object.fromEntries(entries) as Partial<Record<Name, ReturnType<typeof fineDuration>>>;
}
