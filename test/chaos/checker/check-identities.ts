import { counts, groupBy } from "./column.ts";
import type { Records } from "./records.ts";
import type { Findings } from "./verdict.ts";

/** I3, I6: a lease is of one attempt, a result is applied once, and one that came late is not applied. */
export function checkIdentities(found: Findings, { attempts, late }: Records): void {
  const rowOfLease = counts();
  const rowOfResult = counts();
  for (let row = 0; row < attempts.job.length; row++) {
    const [job, lease, result] = [attempts.job.get(row), attempts.lease.get(row), attempts.result.get(row)];
    if (lease !== 0) {
      const other = rowOfLease.get(lease) - 1;
      if (other >= 0) {
        const theirs = attempts.job.get(other) === job ? "" : " of another job";
        found.add(
          "attemptsNotGrowing",
          job,
          `attempts ${attempts.attempt.get(other)}${theirs} and ${attempts.attempt.get(row)} have one lease`,
        );
      }
      rowOfLease.set(lease, row + 1);
    }
    if (result === 0) continue;
    const other = rowOfResult.get(result) - 1;
    if (other >= 0) {
      found.add(
        "staleApplied",
        job,
        `attempts ${attempts.attempt.get(other)} and ${attempts.attempt.get(row)} were ended by one result`,
      );
    }
    rowOfResult.set(result, row + 1);
  }
  for (let row = 0; row < late.result.length; row++) {
    found.counts.lateResults++;
    const applied = rowOfResult.get(late.result.get(row)) - 1;
    if (applied >= 0) {
      found.add(
        "staleApplied",
        attempts.job.get(applied),
        `a result that was refused as late ended attempt ${attempts.attempt.get(applied)}`,
      );
    }
  }
}

/** I1: a key has one answer, and nothing exists beyond what was asked for. */
export function checkSubmissions(found: Findings, { intents, acknowledgements: acks, jobs }: Records): void {
  const byKey = groupBy(acks.key, Math.max(intents.count.length, highest(acks.key)));
  let unansweredJobs = 0;
  for (let key = 1; key < Math.max(intents.count.length, highest(acks.key) + 1); key++) {
    const [first, ...others] = byKey.of(key);
    const asked = intents.count.get(key);
    if (first === undefined) {
      found.counts.unanswered++;
      unansweredJobs += asked;
      continue;
    }
    const job = acks.job.get(acks.start.get(first));
    if (acks.count.get(first) !== asked) {
      found.add("answeredTwice", job, `${asked} jobs were asked for, ${acks.count.get(first)} acknowledged`);
    }
    for (const other of others) {
      if (!isSameAnswer(acks, first, other)) {
        found.add("answeredTwice", job, "the repetition of its submission was acknowledged with other jobs");
      }
    }
  }
  found.counts.acknowledged = sum(jobs.isAcknowledged);
  let unasked = 0;
  for (let job = 1; job <= found.counts.jobs; job++) {
    if (jobs.isAcknowledged.get(job) === 1) continue;
    unasked++;
    // Of a submission whose answer never came; which one is not known.
    if (unasked > unansweredJobs) {
      found.add("withoutIntent", job, `${unansweredJobs} jobs of unanswered submissions may exist, not more`);
    }
  }
}

/** I15: what belongs to one org is in no other's hands. */
export function checkOrgs(found: Findings, { attempts, jobs, orgs }: Records): void {
  for (let job = 1; job < jobs.org.length; job++) {
    if (jobs.org.get(job) > orgs.size) found.add("foreignOrg", job, "two orgs have it");
  }
  for (let row = 0; row < attempts.job.length; row++) {
    const [job, org] = [attempts.job.get(row), attempts.org.get(row)];
    const owner = jobs.org.get(job);
    if (org !== 0 && owner !== 0 && owner <= orgs.size && owner !== org) {
      found.add("foreignOrg", job, `attempt ${attempts.attempt.get(row)} is of org ${orgs.nameOf(org)}`);
    }
  }
}

function isSameAnswer(acks: Records["acknowledgements"], one: number, other: number): boolean {
  const count = acks.count.get(one);
  if (acks.count.get(other) !== count || acks.batch.get(one) !== acks.batch.get(other)) return false;
  for (let n = 0; n < count; n++) {
    if (acks.job.get(acks.start.get(one) + n) !== acks.job.get(acks.start.get(other) + n)) return false;
  }
  return true;
}

function highest(column: Records["attempts"]["job"]): number {
  let top = 0;
  for (let row = 0; row < column.length; row++) top = Math.max(top, column.get(row));
  return top;
}

function sum(column: Records["attempts"]["job"]): number {
  let total = 0;
  for (let row = 0; row < column.length; row++) total += column.get(row);
  return total;
}
