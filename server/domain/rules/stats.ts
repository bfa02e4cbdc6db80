import { type Histogram, sumHistograms } from "./histograms.ts";
import { Outcome } from "./states.ts";

/** What attempts are counted by. The numbers are those of the store. */
export const StatsDimension = {
  ...{ org: 1, kind: 2, queue: 3, project: 4, worker: 5, owner: 6, schedule: 7 },
} as const;
export type StatsDimension = keyof typeof StatsDimension;

/** How long a row of statistics is of. The numbers are those of the store. */
export const Grain = { minute: 1, hour: 2, day: 3 } as const;

/** How attempts ended, counted. */
export interface StatsCounts {
  readonly succeeded: number;
  readonly failed: number;
  readonly timedOut: number;
  readonly lost: number;
  readonly cancelled: number;
  readonly released: number;
  readonly parked: number;
  /** Offers that nobody answered in time. */
  readonly unanswered: number;
  /** Runs that ended as dead letters: also counted by how their last attempt ended. */
  readonly dead: number;
}

/** What is known of attempts that ended. */
export interface StatsFigures extends StatsCounts {
  /** Time of all of them, from the grant to the end. */
  readonly runSeconds: number;
  /** From ready to granted. */
  readonly waits: Histogram;
  /** From granted to ended, of those that succeeded, failed or timed out. */
  readonly runs: Histogram;
}

/** The names of the counts. */
export const statsCounts = [
  "succeeded",
  "failed",
  "timedOut",
  "lost",
  "cancelled",
  "released",
  "parked",
  "unanswered",
  "dead",
] as const satisfies readonly (keyof StatsCounts)[];

/** By which outcome each is counted. */
export const outcomeOf: Readonly<Record<Exclude<keyof StatsCounts, "dead">, Outcome>> = {
  succeeded: Outcome.succeeded,
  failed: Outcome.failed,
  timedOut: Outcome.timedOut,
  lost: Outcome.lost,
  cancelled: Outcome.cancelled,
  released: Outcome.released,
  parked: Outcome.parked,
  unanswered: Outcome.offerTimedOut,
};

/** The outcomes of attempts that ran to an end of their own: how long they ran says how long a job takes. */
export const runOutcomes: ReadonlySet<number> = new Set([
  Outcome.succeeded,
  Outcome.failed,
  Outcome.timedOut,
]);

/** The sum of figures; of none, nothing. */
export function sumStats(all: readonly StatsFigures[]): StatsFigures {
  const of = (name: keyof StatsCounts | "runSeconds") => all.reduce((sum, one) => sum + one[name], 0);
  return {
    succeeded: of("succeeded"),
    failed: of("failed"),
    timedOut: of("timedOut"),
    lost: of("lost"),
    cancelled: of("cancelled"),
    released: of("released"),
    parked: of("parked"),
    unanswered: of("unanswered"),
    dead: of("dead"),
    runSeconds: of("runSeconds"),
    waits: sumHistograms(all.map((one) => one.waits)),
    runs: sumHistograms(all.map((one) => one.runs)),
  };
}

/** Attempts of any end; a dead run is not one more. */
export function attemptsOf(counts: StatsCounts): number {
  return statsCounts.reduce((sum, name) => (name === "dead" ? sum : sum + counts[name]), 0);
}

/**
 * The share of attempts that succeeded among those that were to: cancelled, released, parked and unanswered ones say
 * nothing. Null when there were none.
 */
export function successRate({ succeeded, failed, timedOut, lost }: StatsCounts): number | null {
  const judged = succeeded + failed + timedOut + lost;
  return judged === 0 ? null : succeeded / judged;
}

/**
 * Where a window of statistics begins that is to begin at `fromMs`: at the beginning of a minute, or of the hour or the
 * day where minutes, or hours, are folded by then.
 */
export function windowStartMs(
  fromMs: number,
  nowMs: number,
  keep: { readonly minutesMs: number; readonly hoursMs: number },
): number {
  const age = nowMs - fromMs;
  const grainMs = age > keep.hoursMs ? 86_400_000 : age > keep.minutesMs ? 3_600_000 : 60_000;
  return Math.floor(fromMs / grainMs) * grainMs;
}
