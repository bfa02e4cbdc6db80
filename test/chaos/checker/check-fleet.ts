import { Outcome } from "../../../server/domain/rules/states.ts";
import { groupBy } from "./column.ts";
import { EffectEnd, type Records, workerOf } from "./records.ts";
import type { Findings } from "./verdict.ts";
import type { WorkerTimes } from "./worker-times.ts";

/**
 * I10: a worker never holds more leases than it has slots. Held from the
 * grant's time to the end's, both by the database's clock; a slot that is
 * freed and granted again in one millisecond was free.
 */
export function checkCapacity(found: Findings, { attempts, slots, workers }: Records): void {
  const byWorker = groupBy(attempts.worker, workers.size);
  for (let worker = 1; worker <= workers.size; worker++) {
    const limit = slots.get(worker);
    if (limit === 0) continue;
    const rows = byWorker.of(worker).filter((row) => attempts.lease.get(row) !== 0);
    const grants = rows.toSorted((a, b) => attempts.grantedAt.get(a) - attempts.grantedAt.get(b));
    const ends = rows.toSorted((a, b) => attempts.endedAt.get(a) - attempts.endedAt.get(b));
    let ended = 0;
    for (const [granted, row] of grants.entries()) {
      const at = attempts.grantedAt.get(row);
      while (ended < ends.length && attempts.endedAt.get(ends[ended] ?? 0) <= at) ended++;
      const held = granted + 1 - ended;
      if (held > limit) {
        found.add(
          "capacityExceeded",
          attempts.job.get(row),
          `with its attempt ${attempts.attempt.get(row)} ${workers.nameOf(worker)} held ${held} leases and has ${limit} slots`,
        );
      }
    }
  }
}

/**
 * I17: a drain costs no attempt. What a worker held between the order and its
 * next start, or its kill, must end by itself or be given back.
 */
export function checkDrains(found: Findings, records: Records, times: WorkerTimes): void {
  const { attempts, leases, workers } = records;
  const drains = records.faults.filter(({ type }) => type === "drain-worker");
  if (drains.length === 0) return;
  const byWorker = groupBy(attempts.worker, workers.size);
  for (const drain of drains) {
    const worker = workerOf(records, drain);
    if (worker === 0) continue;
    const untilMs = times.nextLife(worker, drain.at);
    for (const row of byWorker.of(worker)) {
      const [grantedAt, endedAt] = [attempts.grantedAt.get(row), attempts.endedAt.get(row)];
      if (!(grantedAt < untilMs && endedAt >= drain.at)) continue;
      // A kill, a freeze or a partition took it: that is not the drain's doing.
      const isOther =
        times.wasKilled(worker, drain.at, endedAt) ||
        times.wasFrozen(worker, grantedAt, endedAt) ||
        times.wasCut(worker, grantedAt, endedAt);
      const outcome = attempts.outcome.get(row);
      const isOwnFailure = leases.end.get(attempts.lease.get(row)) === EffectEnd.failed;
      const isSpent =
        outcome === Outcome.lost ||
        ((outcome === Outcome.failed || outcome === Outcome.timedOut) && !isOwnFailure);
      if (!isSpent || isOther) continue;
      found.add(
        "drainSpent",
        attempts.job.get(row),
        `attempt ${attempts.attempt.get(row)} ended as outcome ${outcome} ${Math.round(endedAt - drain.at)} ms after ${drain.target} was told to drain`,
      );
    }
  }
}

/** I11: a batch is whole, and counts what became of its jobs. */
export function checkBatches(found: Findings, { batches, batchIds, acknowledgements: acks }: Records): void {
  const lines = new Map(batches.map((batch) => [batchIds.find(batch.batchId), batch]));
  const add = (batch: number, sentence: string) => {
    const ack = firstAck(batch);
    const job = ack === null ? 0 : acks.job.get(acks.start.get(ack));
    found.add("batchesWrong", job, `${batchIds.nameOf(batch)}: ${sentence}`);
  };
  const acksOf = groupBy(acks.batch, batchIds.size);
  const firstAck = (batch: number): number | null => acksOf.of(batch)[0] ?? null;
  for (let batch = 1; batch <= batchIds.size; batch++) {
    const line = lines.get(batch);
    const ack = firstAck(batch);
    if (!line) {
      if (batches.length > 0) add(batch, "it was acknowledged, and is not there");
      continue;
    }
    const { total, pending, succeeded, cancelled, dead, recount } = line;
    const ended = recount.succeeded + recount.cancelled + recount.dead;
    if (ack !== null && acks.count.get(ack) !== total) {
      add(batch, `${acks.count.get(ack)} jobs were acknowledged, it has ${total}`);
    } else if (pending !== 0 || ended !== total) {
      add(batch, `it has ${total} jobs, counts ${pending} as pending, and ${ended} have ended`);
    } else if (succeeded !== recount.succeeded || cancelled !== recount.cancelled || dead !== recount.dead) {
      add(
        batch,
        `it counts ${succeeded} succeeded, ${cancelled} cancelled and ${dead} dead; ` +
          `there are ${recount.succeeded}, ${recount.cancelled} and ${recount.dead}`,
      );
    }
  }
}
