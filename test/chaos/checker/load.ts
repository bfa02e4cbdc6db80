import { isTerminal, JobState } from "../../../server/domain/rules/states.ts";
import type { AskedJob, AttemptLine, ChangeLine, ClientLine, EffectLine, FinalLine } from "../history.ts";
import { filesOf, readLines } from "./json-lines.ts";
import { CancelAnswer, EffectEnd, emptyRecords, type Fault, type Records } from "./records.ts";

/** Reads the folder of a run. */
export async function loadRecords(folder: string): Promise<Records> {
  const records = emptyRecords();
  const load = async <T>(name: string, each: (line: T) => void): Promise<void> => {
    for (const file of await filesOf(folder, name)) {
      await readLines<T>(file, each, () => {
        records.tornLines++;
      });
    }
  };
  await load("client", clientLoader(records));
  await load<EffectLine>("effects", (line) => loadEffect(records, line));
  await load<Fault>("faults", (line) => records.faults.push(line));
  await load<ChangeLine>("changes", (line) => loadChange(records, line));
  await load<AttemptLine>("attempts", (line) => loadAttempt(records, line));
  await load<FinalLine>("final", (line) => loadFinal(records, line));
  records.faults.sort((a, b) => a.at - b.at);
  settleAcknowledgements(records);
  return records;
}

/** What names a submission: keys of several orgs are apart. */
export function submissionKey(line: { readonly key: string; readonly org?: string }): string {
  return `${line.org ?? ""}/${line.key}`;
}

function clientLoader(records: Records): (line: ClientLine) => void {
  const { intents, acknowledgements, cancels, jobIds, keyIds } = records;
  const wishes = new Map<string, number>();
  const wishOf = (job: AskedJob): number => {
    const text = JSON.stringify([job.kind, job.exclusive, job.maxAttempts, job.failures, job.poison]);
    let place = wishes.get(text);
    if (place === undefined) {
      place = records.asked.push(job);
      wishes.set(text, place);
    }
    return place;
  };
  return (line) => {
    switch (line.type) {
      case "submit": {
        const key = keyIds.intern(submissionKey(line));
        // The same intent once more: the call is tried again.
        if (intents.count.get(key) > 0) return;
        intents.start.set(key, intents.asked.length);
        intents.count.set(key, line.jobs.length);
        for (const job of line.jobs) intents.asked.push(wishOf(job));
        return;
      }
      case "submitted":
        acknowledgements.key.push(keyIds.intern(submissionKey(line)));
        acknowledgements.batch.push(records.batchIds.intern(line.batchId));
        acknowledgements.org.push(records.orgs.intern(line.org));
        acknowledgements.start.push(acknowledgements.job.length);
        acknowledgements.count.push(line.jobIds.length);
        for (const jobId of line.jobIds) acknowledgements.job.push(jobIds.intern(jobId));
        return;
      case "cancelled":
        cancels.job.push(jobIds.intern(line.jobId));
        cancels.at.push(line.at);
        cancels.answer.push(answerOf(line.outcome));
        return;
      case "cancel":
      case "failed":
        return;
    }
  };
}

function answerOf(outcome: "cancelled" | "requested" | "already-terminal"): number {
  if (outcome === "cancelled") return CancelAnswer.cancelled;
  return outcome === "requested" ? CancelAnswer.requested : CancelAnswer.alreadyTerminal;
}

function loadEffect(records: Records, line: EffectLine): void {
  const lease = records.leaseIds.intern(line.leaseId);
  switch (line.type) {
    case "start": {
      const { starts } = records;
      starts.job.push(records.jobIds.intern(line.jobId));
      starts.attempt.push(line.attempt);
      starts.lease.push(lease);
      starts.worker.push(records.workers.intern(line.workerId));
      starts.boot.push(records.boots.intern(line.bootId));
      starts.at.push(line.at);
      return;
    }
    case "end":
      records.leases.endAt.set(lease, line.at);
      records.leases.end.set(lease, endOf(line.outcome));
      return;
    case "acknowledged":
      records.leases.isAcknowledged.set(lease, 1);
      return;
  }
}

function endOf(outcome: string): number {
  if (outcome === "succeeded") return EffectEnd.succeeded;
  return outcome === "failed" ? EffectEnd.failed : EffectEnd.stopped;
}

function loadChange(records: Records, line: ChangeLine): void {
  records.feedRows++;
  for (const [jobId, state, attempt, workerId] of line.entries) {
    const job = records.jobIds.intern(jobId);
    if (state !== JobState.offered && !isTerminal(state)) continue;
    records.feed.job.push(job);
    records.feed.state.push(state);
    records.feed.attempt.push(attempt);
    records.feed.worker.push(records.workers.intern(workerId));
  }
}

function loadAttempt(records: Records, line: AttemptLine): void {
  const { attempts } = records;
  attempts.job.push(records.jobIds.intern(line.jobId));
  attempts.attempt.push(line.attempt);
  attempts.generation.push(line.generation);
  attempts.worker.push(records.workers.intern(line.workerId));
  attempts.lease.push(records.leaseIds.intern(line.leaseId));
  attempts.result.push(records.resultIds.intern(line.resultId));
  attempts.org.push(records.orgs.intern(line.org));
  attempts.grantedAt.push(line.grantedAt ?? Number.NaN);
  attempts.endedAt.push(line.endedAt);
  attempts.outcome.push(line.outcome);
  attempts.state.push(line.state ?? 0);
  attempts.failures.push(line.failures);
  attempts.losses.push(line.losses);
  attempts.releases.push(line.releases);
  attempts.isFinal.push(line.final ? 1 : 0);
}

function loadFinal(records: Records, line: FinalLine): void {
  switch (line.type) {
    case "live": {
      const job = records.jobIds.intern(line.jobId);
      records.jobs.liveState.set(job, line.state);
      records.jobs.liveAttempt.set(job, line.attempt);
      records.jobs.liveLease.set(job, records.leaseIds.intern(line.leaseId));
      if (line.org !== undefined) noteOrg(records, job, records.orgs.intern(line.org));
      return;
    }
    case "batch":
      records.batchIds.intern(line.batchId);
      records.batches.push(line);
      return;
    case "late":
      records.late.result.push(records.resultIds.intern(line.resultId));
      records.late.job.push(records.jobIds.intern(line.jobId));
      return;
    case "worker": {
      const worker = records.workers.intern(line.workerId);
      records.slots.set(worker, line.slots);
      records.workersByName.set(line.name, worker);
      return;
    }
  }
}

// After everything is read: an answer may stand in another file than its intent.
function settleAcknowledgements(records: Records): void {
  const { acknowledgements: acks, intents, jobs } = records;
  for (let ack = 0; ack < acks.key.length; ack++) {
    const key = acks.key.get(ack);
    for (let n = 0; n < acks.count.get(ack); n++) {
      const job = acks.job.get(acks.start.get(ack) + n);
      jobs.isAcknowledged.set(job, 1);
      jobs.key.set(job, key);
      if (n < intents.count.get(key)) jobs.asked.set(job, intents.asked.get(intents.start.get(key) + n));
      noteOrg(records, job, acks.org.get(ack));
    }
  }
}

// Two orgs that claim one job: marked by a number that no org has.
function noteOrg({ jobs, orgs }: Records, job: number, org: number): void {
  const known = jobs.org.get(job);
  if (org !== 0) jobs.org.set(job, known === 0 || known === org ? org : orgs.size + 1);
}
