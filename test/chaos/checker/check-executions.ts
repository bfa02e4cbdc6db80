import { Outcome } from "../../../server/domain/rules/states.ts";
import type { Attempt, JobHistory, Start } from "./job-history.ts";
import { CancelAnswer, EffectEnd, type Records } from "./records.ts";
import type { Findings } from "./verdict.ts";
import type { WorkerTimes } from "./worker-times.ts";

/** What a clock may be off between two processes of one machine. */
export interface Tolerance {
  readonly clockToleranceMs: number;
}

/** I4: every execution has a grant with its lease, to its worker, and starts after it. */
export function checkGrants(
  found: Findings,
  records: Records,
  { job, attempts, starts, grants, live }: JobHistory,
  { clockToleranceMs }: Tolerance,
): void {
  for (const start of starts) {
    const row = attempts.find(({ attempt }) => attempt === start.attempt);
    const isLive = live?.attempt === start.attempt && (live.lease === 0 || live.lease === start.lease);
    if (row ? row.lease !== start.lease || row.worker !== start.worker : !isLive) {
      const why = row ? "was granted with another lease" : "was declined, or never granted";
      found.add(
        "ungranted",
        job,
        `attempt ${start.attempt} ran on ${records.workers.nameOf(start.worker)} and ${why}`,
      );
    } else if (row && start.at < row.grantedAt - clockToleranceMs) {
      found.add(
        "startedBeforeGrant",
        job,
        `attempt ${start.attempt} started ${Math.round(row.grantedAt - start.at)} ms before its lease was granted`,
      );
    }
    if (row && start.at > row.endedAt + clockToleranceMs) found.counts.lateStarts++;
  }
  if (records.feedRows === 0) return;
  for (const row of attempts) {
    if (row.lease === 0) continue;
    const told = grants.find(({ attempt }) => attempt === row.attempt);
    if (!told)
      found.add("missingFromFeed", job, `the feed does not tell that attempt ${row.attempt} was granted`);
    else if (told.worker !== row.worker) {
      found.add(
        "staleApplied",
        job,
        `attempt ${row.attempt} was granted to ${records.workers.nameOf(told.worker)} and ended by ${records.workers.nameOf(row.worker)}`,
      );
    }
  }
}

const explaining: readonly number[] = [
  Outcome.failed,
  Outcome.released,
  Outcome.parked,
  Outcome.lost,
  Outcome.timedOut,
  Outcome.offerTimedOut,
];

/** I5: every further execution is explained by how the attempt before it ended. */
export function checkRestarts(found: Findings, { job, attempts, starts }: JobHistory): void {
  let earlier: Start | null = null;
  for (const start of starts) {
    if (earlier) {
      const before = attempts.find(({ attempt }) => attempt === earlier?.attempt);
      const why = whyUnexplained(before, earlier, start, attempts);
      if (why === null) found.counts.explainedRestarts++;
      else found.add("unexplainedDuplicates", job, why);
    }
    earlier = start;
  }
}

function whyUnexplained(
  before: Attempt | undefined,
  earlier: Start,
  start: Start,
  attempts: readonly Attempt[],
): string | null {
  if (start.lease === earlier.lease || start.attempt === earlier.attempt) {
    return `attempt ${start.attempt} was started twice under one lease`;
  }
  if (!before)
    return `attempt ${start.attempt} ran after attempt ${earlier.attempt}, of which no end is known`;
  const isReplay =
    before.isFinal &&
    attempts.some(({ attempt, generation }) => attempt === start.attempt && generation > before.generation);
  if (
    before.outcome !== Outcome.succeeded &&
    (isReplay || (!before.isFinal && explaining.includes(before.outcome)))
  ) {
    return null;
  }
  return `attempt ${start.attempt} ran after attempt ${earlier.attempt}, which ended as outcome ${before.outcome}`;
}

/** I6: what was applied came from the lease that was current. */
export function checkApplied(
  found: Findings,
  records: Records,
  { job, attempts, starts }: JobHistory,
  isJournaled: boolean,
): void {
  if (!isJournaled) return;
  for (const row of attempts) {
    if (row.outcome !== Outcome.succeeded) continue;
    if (records.leases.end.get(row.lease) === EffectEnd.succeeded) continue;
    const other = starts.find(
      ({ lease }) => lease !== row.lease && records.leases.end.get(lease) === EffectEnd.succeeded,
    );
    found.add(
      "staleApplied",
      job,
      other
        ? `attempt ${row.attempt} succeeded by the result of attempt ${other.attempt}`
        : `attempt ${row.attempt} succeeded, and no handler did under its lease`,
    );
  }
}

/** I8: nothing starts after the cancel of a waiting job was acknowledged. */
export function checkCancels(
  found: Findings,
  { job, attempts, starts, cancels }: JobHistory,
  { clockToleranceMs }: Tolerance,
): void {
  for (const cancel of cancels) {
    if (cancel.answer !== CancelAnswer.cancelled) continue;
    // The run that it ended: the last one that had ended by then.
    const end = attempts.findLast((row) => row.isFinal && row.endedAt <= cancel.at + clockToleranceMs);
    for (const start of starts) {
      if (start.at <= cancel.at + clockToleranceMs) continue;
      const row = attempts.find(({ attempt }) => attempt === start.attempt);
      // A replay; an offer that was on its way when it was withdrawn; a worker that had not heard of its loss.
      const isLater = end && row && row.generation > end.generation;
      const isWithdrawn = end && end.lease !== 0 && end.lease === start.lease;
      const isStale = row && (row.outcome === Outcome.lost || row.outcome === Outcome.offerTimedOut);
      if (isLater || isWithdrawn || isStale) continue;
      found.add(
        "startedAfterCancel",
        job,
        `attempt ${start.attempt} started ${Math.round(start.at - cancel.at)} ms after the cancel was acknowledged`,
      );
    }
  }
}

/** I9: executions of an exclusive job do not overlap, unless the earlier one's worker was frozen. */
export function checkExclusive(
  found: Findings,
  records: Records,
  { job, asked, starts }: JobHistory,
  times: WorkerTimes,
  { clockToleranceMs }: Tolerance,
): void {
  if (!asked?.exclusive || asked.poison) return;
  const inTime = [...starts].sort((a, b) => a.at - b.at);
  for (const [index, start] of inTime.entries()) {
    const endAt = endOf(records, start, times);
    if (endAt === null) continue;
    for (const later of inTime.slice(index + 1)) {
      if (later.lease === start.lease || later.at >= endAt - clockToleranceMs) continue;
      if (times.wasFrozen(start.worker, start.at, endAt)) found.counts.overlapsWhileFrozen++;
      else {
        found.add(
          "exclusiveOverlaps",
          job,
          `attempt ${later.attempt} started ${Math.round(endAt - later.at)} ms before attempt ${start.attempt} stopped`,
        );
      }
    }
  }
}

// When its end is not in the journal, the kill of its process ended it; else it is not known.
function endOf({ leases }: Records, start: Start, times: WorkerTimes): number | null {
  if (leases.end.get(start.lease) !== EffectEnd.none) return leases.endAt.get(start.lease);
  return times.killOf(start.worker, start.boot, start.at);
}
