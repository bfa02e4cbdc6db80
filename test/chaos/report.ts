import { checkHistory } from "./checker/checker.ts";
import { describeVerdict } from "./checker/report.ts";
import { invariantNames, type Verdict } from "./checker/verdict.ts";
import type { ChaosOptions } from "./options.ts";
import { countCrashes, quantile, type Resumptions, readResumptions } from "./recovery.ts";

/** What the runner knows besides the history. */
export interface RunFacts {
  /** Calls of clients that were repeated, because nobody answered or the answer was an error. */
  readonly retries: number;
  readonly ms: number;
  /** What the proxies did, by kind of harm. */
  readonly harm: Readonly<Record<string, number>>;
  /** What ended the run before its time; null when it came to its end. */
  readonly error: Error | null;
}

/** A run, judged. */
export interface Judgement {
  readonly isRight: boolean;
  readonly verdict: Verdict;
  readonly error: Error | null;
  /** The last line of a run. */
  readonly line: Readonly<Record<string, unknown>>;
}

/** Reads what a run left behind. */
export async function judge(folder: string, options: ChaosOptions, facts: RunFacts): Promise<Judgement> {
  const verdict = await checkHistory(folder);
  const crashes = await countCrashes(folder);
  const { error } = facts;
  const line = lineOf(verdict, await readResumptions(folder), options, facts);
  return {
    verdict,
    error,
    isRight: verdict.isRight && crashes === 0 && error === null,
    line: { ...line, crashes, error: error?.message ?? null },
  };
}

/** Prints it: for people, unless JSON was asked for, and the line at the end. */
export function printJudgement(
  { verdict, line, isRight, error }: Judgement,
  { isJson, seed }: ChaosOptions,
): void {
  if (!isJson || !isRight) process.stderr.write(`${describeVerdict(verdict)}\nseed ${seed}\n`);
  if (error !== null) {
    process.stderr.write(`the run ended early (${error.message}): what had not ended counts as stuck\n`);
  }
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function lineOf(
  { counts, recovery }: Verdict,
  resumptions: Resumptions,
  options: ChaosOptions,
  { retries, ms, harm }: RunFacts,
): Readonly<Record<string, unknown>> {
  const { killedWorkers, spared } = recovery;
  const faults = (type: string) => spared[type]?.faults ?? 0;
  const { jobs, succeeded, dead, lost, finishedTwice, unexplainedDuplicates, staleApplied, stuck } = counts;
  const others = invariantNames().filter(
    (name) =>
      !["lost", "finishedTwice", "unexplainedDuplicates", "staleApplied", "stuck"].includes(name) &&
      counts[name] > 0,
  );
  return {
    jobs,
    succeeded,
    dead,
    lost,
    finishedTwice,
    unexplainedDuplicates,
    staleApplied,
    stuck,
    workerKills: killedWorkers.kills,
    coordinatorKills: faults("kill-coordinator"),
    postgresRestarts: faults("kill-postgres"),
    partitions: faults("partition"),
    resumed: spared["partition"]?.resumed ?? 0,
    reassigned: spared["partition"]?.reassigned ?? 0,
    recoveryP99Ms: killedWorkers.p99Ms,
    ...Object.fromEntries(others.map((name) => [name, counts[name]])),
    cancelled: counts.cancelled,
    executions: counts.executions,
    attemptsLost: counts.attemptsLost,
    offersTimedOut: counts.offersTimedOut,
    lateResults: counts.lateResults,
    poisonByFault: counts.poisonByFault,
    recoveryP50Ms: killedWorkers.p50Ms,
    dispatchAfterCoordinatorP99Ms: quantile(resumptions.coordinator, 0.99),
    dispatchAfterPostgresP99Ms: quantile(resumptions.postgres, 0.99),
    retries,
    harm,
    seed: options.seed,
    seconds: Math.round(ms / 1_000),
    scale: options.scale,
    workers: options.workers,
    slots: options.slots,
    coordinators: options.coordinators,
  };
}
