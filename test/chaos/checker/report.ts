import { type Counts, type Durations, invariantNames, invariants, type Verdict } from "./verdict.ts";

/** A verdict as people read it. */
export function describeVerdict({ counts, recovery, violations, isRight }: Verdict): string {
  const { killedWorkers, spared, dispatchResumed } = recovery;
  const lines = [
    `${counts.jobs} jobs, ${counts.acknowledged} acknowledged: ${counts.succeeded} succeeded, ${counts.cancelled} cancelled, ${counts.dead} dead`,
    `${counts.executions} executions, ${counts.explainedRestarts} of them again for a reason; attempts: ${attempts(counts)}`,
    `${counts.lateResults} results came late, ${counts.lateStarts} starts; ${counts.overlapsWhileFrozen} overlaps of frozen workers; ${counts.poisonByFault} innocents dead as poison by faults; ${counts.tornLines} torn lines`,
    `${killedWorkers.kills} workers killed: ${killedWorkers.count} jobs ran again ${after(killedWorkers)}, ${killedWorkers.settledOtherwise} ended without that`,
    ...Object.entries(spared).map(
      ([type, of]) =>
        `${of.faults} × ${type}: ${of.resumed} attempts went on, ${of.reassigned} were taken away`,
    ),
    ...(dispatchResumed.count > 0
      ? [`dispatch went on ${dispatchResumed.count} times ${after(dispatchResumed)}`]
      : []),
    "",
    ...invariantNames().map((name) => `${String(counts[name]).padStart(9)}  ${name}: ${invariants[name]}`),
  ];
  for (const { invariant, jobId, sentence, history } of violations) {
    lines.push("", `${invariant}  ${jobId ?? ""}`, `  ${sentence}`);
    const firstMs = history[0]?.at ?? 0;
    for (const { file, at, line } of history) {
      const time = at === null ? "at the end" : `+${Math.round(at - firstMs)} ms`;
      lines.push(`  ${time.padStart(12)}  ${file}  ${JSON.stringify(line)}`);
    }
  }
  lines.push("", isRight ? "nothing is wrong" : "SOMETHING IS WRONG");
  return lines.join("\n");
}

function attempts(counts: Readonly<Counts>): string {
  return [
    `${counts.attemptsFailed} failed`,
    `${counts.attemptsReleased} released`,
    `${counts.attemptsParked} parked`,
    `${counts.attemptsLost} lost`,
    `${counts.attemptsTimedOut} timed out`,
    `${counts.offersTimedOut} offers timed out`,
  ].join(", ");
}

function after({ p50Ms, p99Ms, maxMs }: Durations): string {
  return `after ${p50Ms} ms (p99 ${p99Ms}, at most ${maxMs})`;
}
