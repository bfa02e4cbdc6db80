import { JobState, Outcome } from "../../../server/domain/rules/states.ts";
import {
  checkApplied,
  checkCancels,
  checkExclusive,
  checkGrants,
  checkRestarts,
} from "./check-executions.ts";
import { checkBatches, checkCapacity, checkDrains } from "./check-fleet.ts";
import { checkIdentities, checkOrgs, checkSubmissions } from "./check-identities.ts";
import { checkAttempts, checkBudgets, checkEnds, checkPresence, checkStays } from "./check-runs.ts";
import { gatherEvidence } from "./evidence.ts";
import { historyOf, indexJobs, type JobHistory, lastEnd } from "./job-history.ts";
import { loadRecords } from "./load.ts";
import type { Records } from "./records.ts";
import { measureRecovery } from "./recovery.ts";
import { Findings, isRight, type Verdict } from "./verdict.ts";
import { workerTimes } from "./worker-times.ts";

/** How strictly to look. */
export interface CheckOptions {
  /** What the clocks of two processes of the machine may differ by. Default 50 ms. */
  readonly clockToleranceMs?: number;
  /**
   * What a backend may be stopped for between noting the time of a statement
   * and looking at rows. Default 1 s.
   */
  readonly overlapToleranceMs?: number;
  /** Breaches to tell with their evidence. Default 100. */
  readonly maxViolations?: number;
}

/** Checks what a run left in a folder. Reads it once, and once more when something is wrong. */
export async function checkHistory(folder: string, options: CheckOptions = {}): Promise<Verdict> {
  const { clockToleranceMs = 50, overlapToleranceMs = 1_000, maxViolations = 100 } = options;
  const records = await loadRecords(folder);
  const index = indexJobs(records);
  const times = workerTimes(records);
  const found = new Findings(maxViolations);
  found.counts.jobs = records.jobIds.size;
  found.counts.tornLines = records.tornLines;
  found.counts.executions = records.starts.job.length;
  const journaled = journaledKinds(records);
  for (let job = 1; job <= records.jobIds.size; job++) {
    const history = historyOf(records, index, job);
    countJob(found, history);
    checkPresence(found, history);
    checkEnds(found, records, history);
    checkAttempts(found, history, { overlapToleranceMs });
    checkGrants(found, records, history, { clockToleranceMs });
    checkRestarts(found, history);
    checkApplied(found, records, history, history.asked !== null && journaled.has(history.asked.kind));
    checkStays(found, records, history);
    checkCancels(found, history, { clockToleranceMs });
    checkExclusive(found, records, history, times, { clockToleranceMs });
    checkBudgets(found, history, times);
  }
  checkSubmissions(found, records);
  checkIdentities(found, records);
  checkOrgs(found, records);
  checkCapacity(found, records);
  checkDrains(found, records, times);
  checkBatches(found, records);
  const findings = found.list(maxViolations);
  const jobs = new Set(findings.map(({ job }) => job).filter((job) => job !== 0));
  const evidence = await gatherEvidence(folder, records, jobs);
  return {
    isRight: isRight(found.counts),
    counts: found.counts,
    recovery: measureRecovery(records, index, times),
    violations: findings.map(({ invariant, job, sentence }) => ({
      invariant,
      jobId: evidence.get(job)?.jobId ?? null,
      sentence,
      history: evidence.get(job)?.history ?? [],
    })),
  };
}

// Handlers that write a journal: of their kinds an end without an execution is a breach.
function journaledKinds({ starts, jobs, asked }: Records): Set<string> {
  const kinds = new Set<string>();
  for (let row = 0; row < starts.job.length; row++) {
    const wish = asked[jobs.asked.get(starts.job.get(row)) - 1];
    if (wish) kinds.add(wish.kind);
  }
  return kinds;
}

function countJob({ counts }: Findings, history: JobHistory): void {
  const state = history.live ? 0 : lastEnd(history)?.state;
  if (state === JobState.succeeded) counts.succeeded++;
  if (state === JobState.cancelled) counts.cancelled++;
  if (state === JobState.dead) counts.dead++;
  for (const { outcome } of history.attempts) {
    if (outcome === Outcome.failed) counts.attemptsFailed++;
    if (outcome === Outcome.released) counts.attemptsReleased++;
    if (outcome === Outcome.parked) counts.attemptsParked++;
    if (outcome === Outcome.lost) counts.attemptsLost++;
    if (outcome === Outcome.timedOut) counts.attemptsTimedOut++;
    if (outcome === Outcome.offerTimedOut) counts.offersTimedOut++;
  }
}
