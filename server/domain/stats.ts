import { inOrg, orgTxOf } from "../store/database.ts";
import { readClockMs } from "../store/queues.ts";
import { readOrg } from "../store/snapshot.ts";
import { call, type OrgTx } from "../store/statement.ts";
import { readSpanStats, readStats, type StatsRow, statsRow } from "../store/stats.ts";
import { readWorkerNames } from "../store/worker-names.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, type Violation } from "./errors.ts";
import { quantileMs } from "./rules/histograms.ts";
import { type Profile, profileOfSums } from "./rules/profiles.ts";
import { attemptsOf, StatsDimension, type StatsFigures, sumStats, windowStartMs } from "./rules/stats.ts";

export type StatsContext = Pick<Coordinator, "db" | "config">;

/** What is asked of statistics. */
export interface StatsRequest {
  readonly by: StatsDimension;
  /** Workers by their uuid; null: all. */
  readonly values: readonly string[] | null;
  /** Of owners alone; null: any. */
  readonly project: string | null;
  /** Null: 24 h before the end. */
  readonly from: Date | null;
  /** Null: now. */
  readonly until: Date | null;
  /** Null: no series. */
  readonly stepMs: number | null;
  /** 0: 50. */
  readonly limit: number;
}

/** What was counted of one value. */
export interface StatsView {
  readonly value: string;
  /** What people call it. */
  readonly name: string;
  readonly figures: StatsFigures;
  /** Oldest first; steps in which nothing ended are left out. */
  readonly series: readonly { readonly at: Date; readonly figures: StatsFigures }[];
}

/** What was counted in a time. */
export interface StatsAnswer {
  readonly stats: readonly StatsView[];
  readonly total: StatsView;
  readonly omitted: number;
  readonly from: Date;
  readonly until: Date;
}

const maxSteps = 500;
const minStepMs = 60_000;
const dayMs = 86_400_000;

/** Counts the attempts of a time by what they are of. What has ended counts at once. */
export async function getStats(c: StatsContext, caller: Caller, request: StatsRequest): Promise<StatsAnswer> {
  const violations = requestViolations(request);
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return readOrg(c.db.app, orgId, async (tx) => {
    const own = orgTxOf(tx, orgId);
    const window = await windowOf(c, own, request, dayMs);
    const stepMs = request.stepMs ?? window.until.getTime() - window.from.getTime() + 1;
    const steps = (window.until.getTime() - window.from.getTime()) / stepMs;
    if (steps > maxSteps) {
      const message = `must be longer: there would be ${Math.ceil(steps)} steps, allowed are ${maxSteps}`;
      throw invalidArgument([{ field: "step", message }]);
    }
    const { by, values, project } = request;
    const rows = await rowsOf(own, { by, values, project, ...window, stepMs });
    const byValue = [...Map.groupBy(rows, (row) => row.value)];
    const ranked = byValue
      .map(([value, of]) => ({ value, of, figures: sumStats(of) }))
      .sort((a, b) => attemptsOf(b.figures) - attemptsOf(a.figures) || (a.value < b.value ? -1 : 1));
    const shown = ranked.slice(0, request.limit === 0 ? 50 : Math.min(request.limit, 1_000));
    const names =
      by === "worker"
        ? await readWorkerNames(
            tx,
            orgId,
            shown.map((one) => one.value),
          )
        : null;
    const seriesOf = (of: readonly StatsRow[]) =>
      request.stepMs === null
        ? []
        : [...Map.groupBy(of, (row) => row.slot)]
            .sort(([a], [b]) => a - b)
            .map(([slot, all]) => ({
              at: new Date(window.from.getTime() + slot * stepMs),
              figures: sumStats(all),
            }));
    return {
      stats: shown.map(({ value, of, figures }) => ({
        ...{ value, name: names?.get(value) ?? value, figures, series: seriesOf(of) },
      })),
      total: { value: "", name: "", figures: sumStats(rows), series: seriesOf(rows) },
      omitted: ranked.length - shown.length,
      ...window,
    };
  });
}

/** Where the time of the attempts of a kind went, and how long they ran. */
export async function getKindProfile(
  c: StatsContext,
  caller: Caller,
  { kind, ...times }: { readonly kind: string; readonly from: Date | null; readonly until: Date | null },
): Promise<{ readonly profile: Profile; readonly p50Ms: number | null; readonly p95Ms: number | null }> {
  const violations = timeViolations(times);
  if (kind === "") violations.unshift({ field: "kind", message: "is required" });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  return readOrg(c.db.app, orgId, async (tx) => {
    const own = orgTxOf(tx, orgId);
    const window = await windowOf(c, own, times, dayMs);
    // Spans are kept by the hour from the beginning.
    const from = new Date(Math.floor(window.from.getTime() / 3_600_000) * 3_600_000);
    const spans = await own.run(call(readSpanStats, { org: orgId, kind, ...secondsOf({ ...window, from }) }));
    const { runs, runSeconds } = await figuresOf(own, { by: "kind", value: kind, ...window });
    const sums = spans.map((row) => ({
      ...{ path: String(row["path"]), count: Number(row["n"]) },
      ...{ totalMs: Number(row["total"]), selfMs: Number(row["self"]) },
    }));
    return {
      profile: profileOfSums(sums, runSeconds * 1_000),
      p50Ms: quantileMs(runs, 0.5),
      p95Ms: quantileMs(runs, 0.95),
    };
  });
}

/**
 * How long the share `q` of the attempts of a kind ran at most in the last `windowMs`, and of how many that is known:
 * for rules on jobs that are slower than others. Null when none ended.
 */
export async function kindRunMs(
  c: StatsContext,
  orgId: string,
  { kind, q, windowMs }: { readonly kind: string; readonly q: number; readonly windowMs: number },
): Promise<{ readonly ms: number; readonly count: number } | null> {
  return inOrg(c.db.app, orgId, async (tx) => {
    const own = orgTxOf(tx, orgId);
    const window = await windowOf(c, own, { from: null, until: null }, windowMs);
    const { runs } = await figuresOf(own, { by: "kind", value: kind, ...window });
    const ms = quantileMs(runs, q);
    return ms === null ? null : { ms, count: runs.values().reduce((sum, count) => sum + count, 0) };
  });
}

/**
 * A time of statistics that is asked for, moved to where what is kept of it begins. Rejects with VALIDATION_FAILED when
 * it has not begun.
 */
export async function windowOf(
  { config }: Pick<Coordinator, "config">,
  own: OrgTx,
  { from, until }: { readonly from: Date | null; readonly until: Date | null },
  standardMs: number,
): Promise<{ readonly from: Date; readonly until: Date }> {
  const nowMs = await readClockMs(own);
  const untilMs = until?.getTime() ?? nowMs;
  const keep = { minutesMs: config.statsMinutesMs, hoursMs: config.statsHoursMs };
  const fromMs = windowStartMs(from?.getTime() ?? untilMs - standardMs, nowMs, keep);
  if (fromMs > nowMs) {
    const [begin, now] = [fromMs, nowMs].map((ms) => new Date(ms).toISOString());
    const message = `must not lie ahead: the statistics would begin at ${begin}; it is now ${now}`;
    throw invalidArgument([{ field: from === null ? "endTime" : "startTime", message }]);
  }
  return { from: new Date(fromMs), until: new Date(untilMs) };
}

/** What is wrong with a time that is asked for. */
export function timeViolations(times: {
  readonly from: Date | null;
  readonly until: Date | null;
}): Violation[] {
  const { from, until } = times;
  if (from === null || until === null || from < until) return [];
  return [{ field: "endTime", message: "must be after startTime" }];
}

/** What a dimension counts in a time, a row a value, project and step. */
export async function rowsOf(
  own: OrgTx,
  asked: {
    readonly by: StatsDimension;
    readonly values: readonly string[] | null;
    readonly project: string | null;
    readonly from: Date;
    readonly until: Date;
    readonly stepMs: number;
  },
): Promise<StatsRow[]> {
  const { by, values, project, stepMs, ...window } = asked;
  const dimensions = [StatsDimension[by]];
  const request = { org: own.orgId, dimensions, values, project, step: stepMs / 1_000, ...secondsOf(window) };
  return (await own.run(call(readStats, request))).map(statsRow);
}

async function figuresOf(
  own: OrgTx,
  { by, value, ...window }: { by: "kind"; value: string; from: Date; until: Date },
): Promise<StatsFigures> {
  const stepMs = window.until.getTime() - window.from.getTime() + 1;
  return sumStats(await rowsOf(own, { by, values: [value], project: null, ...window, stepMs }));
}

function requestViolations({ by, values, project, stepMs, limit, ...times }: StatsRequest): Violation[] {
  const violations = timeViolations(times);
  if ((values?.length ?? 0) > 100) violations.push({ field: "values", message: "must be at most 100" });
  if (project !== null && by !== "owner") {
    violations.push({ field: "project", message: "goes with owners alone" });
  }
  if (stepMs !== null && stepMs < minStepMs)
    violations.push({ field: "step", message: "must be 1m or more" });
  if (!Number.isInteger(limit) || limit < 0) {
    violations.push({ field: "limit", message: "must be a whole number from 0" });
  }
  return violations;
}

function secondsOf({ from, until }: { readonly from: Date; readonly until: Date }) {
  return { from: from.getTime() / 1_000, until: until.getTime() / 1_000 };
}
