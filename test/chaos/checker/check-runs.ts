import { JobState, Outcome } from "../../../server/domain/rules/states.ts";
import { type Attempt, type JobHistory, lastEnd } from "./job-history.ts";
import type { Records } from "./records.ts";
import type { Findings } from "./verdict.ts";
import type { WorkerTimes } from "./worker-times.ts";

/** I1: an acknowledged job has a state, and that of a finished run is terminal; nothing exists unasked. */
export function checkPresence(found: Findings, history: JobHistory): void {
  const { job, live, attempts } = history;
  const exists = live !== null || attempts.length > 0;
  if (live !== null) {
    found.add("stuck", job, `at the end it is in state ${live.state}, at attempt ${live.attempt}`);
  } else if (history.isAcknowledged && lastEnd(history) === null) {
    found.add(
      "lost",
      job,
      exists ? "it has attempts, and neither a live row nor an end" : "it is nowhere in the store",
    );
  }
}

/** I2: one final row a generation, and one end of it in the feed. */
export function checkEnds(found: Findings, records: Records, { job, attempts, ends }: JobHistory): void {
  const finals = attempts.filter(({ isFinal }) => isFinal);
  for (const [generation, rows] of Map.groupBy(finals, (row) => row.generation)) {
    if (rows.length > 1) {
      found.add("finishedTwice", job, `generation ${generation} has ${rows.length} final attempts`);
    }
  }
  for (const row of attempts) {
    if (row.isFinal !== row.state > 0 || (row.outcome === Outcome.succeeded) !== isSuccess(row)) {
      found.add(
        "finishedTwice",
        job,
        `attempt ${row.attempt} ended as outcome ${row.outcome} in state ${row.state}`,
      );
    }
  }
  if (records.feedRows === 0) return;
  if (ends.length > finals.length) {
    found.add(
      "finishedTwice",
      job,
      `the feed tells of ${ends.length} ends, the history of ${finals.length} final attempts`,
    );
  } else if (ends.length < finals.length) {
    found.add(
      "missingFromFeed",
      job,
      `the history has ${finals.length} final attempts, the feed ${ends.length} ends`,
    );
  }
}

function isSuccess({ isFinal, state }: Attempt): boolean {
  return isFinal && state === JobState.succeeded;
}

/** I3: attempt numbers grow, each is given out once with one lease, and one lease is current at a time. */
export function checkAttempts(
  found: Findings,
  { job, attempts, grants }: JobHistory,
  { overlapToleranceMs }: { readonly overlapToleranceMs: number },
): void {
  for (const [attempt, told] of Map.groupBy(grants, (grant) => grant.attempt)) {
    if (told.length > 1) {
      found.add("attemptsNotGrowing", job, `attempt ${attempt} was offered ${told.length} times`);
    }
  }
  let earlier: Attempt | null = null;
  for (const row of attempts) {
    if (earlier) {
      if (row.attempt === earlier.attempt) {
        found.add("attemptsNotGrowing", job, `attempt ${row.attempt} ended twice`);
      } else if (row.generation < earlier.generation) {
        found.add(
          "attemptsNotGrowing",
          job,
          `attempt ${row.attempt} is of generation ${row.generation}, attempt ${earlier.attempt} of ${earlier.generation}`,
        );
      } else if (row.grantedAt < earlier.endedAt - overlapToleranceMs) {
        found.add(
          "leasesOverlap",
          job,
          `attempt ${row.attempt} was granted ${Math.round(earlier.endedAt - row.grantedAt)} ms before attempt ${earlier.attempt} ended`,
        );
      }
    }
    earlier = row;
  }
}

/** I7: a run that has ended stays so, but for a replay; so does a result that was acknowledged. */
export function checkStays(found: Findings, records: Records, history: JobHistory): void {
  const { job, attempts, grants, starts, live } = history;
  for (const final of attempts.filter(({ isFinal }) => isFinal)) {
    const later = attempts.find((row) => row.attempt > final.attempt);
    if (later && later.generation <= final.generation) {
      found.add(
        "takenBack",
        job,
        `attempt ${final.attempt} ended generation ${final.generation}, and attempt ${later.attempt} went on with it`,
      );
    }
    if (later && final.state === JobState.succeeded) {
      found.add(
        "takenBack",
        job,
        `attempt ${final.attempt} succeeded, and attempt ${later.attempt} followed`,
      );
    }
  }
  const last = attempts.at(-1);
  if (last?.isFinal && !live) {
    const after = [...grants, ...starts].find(({ attempt }) => attempt > last.attempt);
    if (after) {
      found.add(
        "takenBack",
        job,
        `attempt ${last.attempt} ended the last run, and attempt ${after.attempt} was granted`,
      );
    }
  }
  for (const row of attempts) {
    if (records.leases.isAcknowledged.get(row.lease) === 1 && row.result === 0) {
      found.add(
        "takenBack",
        job,
        `the result of attempt ${row.attempt} was acknowledged, and the attempt ended without one`,
      );
    }
  }
  for (const start of starts) {
    const isAcknowledged = records.leases.isAcknowledged.get(start.lease) === 1;
    if (isAcknowledged && !attempts.some(({ lease }) => lease === start.lease)) {
      found.add(
        "takenBack",
        job,
        `the result of attempt ${start.attempt} was acknowledged, and is not there`,
      );
    }
  }
}

/** I17: a run is dead after as many real failures as it was allowed, or as poison when it is; counters count what happened. */
export function checkBudgets(
  found: Findings,
  { job, asked, attempts }: JobHistory,
  times: WorkerTimes,
): void {
  for (const [generation, rows] of Map.groupBy(attempts, (row) => row.generation)) {
    checkCounters(found, job, rows);
    const end = rows.find((row) => row.isFinal && row.state === JobState.dead);
    if (!end || !asked) continue;
    if (end.outcome === Outcome.lost) {
      if (asked.poison) continue;
      // Whose worker was killed each time looks like poison to anybody who did not do it.
      const losses = rows.filter((row) => row.outcome === Outcome.lost);
      if (losses.every((row) => wasDone(times, row))) found.counts.poisonByFault++;
      else found.add("poisonInnocents", job, `generation ${generation} is dead after ${end.losses} losses`);
      continue;
    }
    const failures = rows.filter(isFailure).length;
    const canFail = asked.failures < 0 || asked.failures >= asked.maxAttempts;
    if (failures < asked.maxAttempts || !canFail) {
      found.add(
        "deadTooEarly",
        job,
        `generation ${generation} is dead after ${failures} failures of ${asked.maxAttempts} allowed; ${asked.failures} were asked for`,
      );
    }
  }
}

function checkCounters(found: Findings, job: number, rows: readonly Attempt[]): void {
  let failures = 0;
  let losses = 0;
  let releases = 0;
  for (const row of rows) {
    if (isFailure(row)) failures++;
    if (row.outcome === Outcome.lost) losses++;
    if (row.outcome === Outcome.released) releases++;
    // A loss in a fleet event and a release after a cancel are free.
    if (row.failures !== failures || row.losses > losses || row.releases > releases) {
      found.add(
        "countersWrong",
        job,
        `attempt ${row.attempt} counts ${row.failures} failures, ${row.losses} losses and ${row.releases} releases; ` +
          `there were ${failures}, ${losses} and ${releases}`,
      );
      return;
    }
  }
}

function isFailure({ outcome }: Attempt): boolean {
  return outcome === Outcome.failed || outcome === Outcome.timedOut;
}

/** How long a worker that is dead may still be offered something: nobody has noticed yet. */
const unnoticedMs = 10_000;

// A worker was killed, stopped, cut off or meddled with while it held the lease.
function wasDone(times: WorkerTimes, row: Attempt): boolean {
  const { worker, grantedAt, endedAt } = row;
  const of = [worker, grantedAt, endedAt] as const;
  const wasDead = times.wasKilled(worker, grantedAt - unnoticedMs, endedAt);
  return wasDead || times.wasFrozen(...of) || times.wasCut(...of) || times.wasDisturbed(...of);
}
