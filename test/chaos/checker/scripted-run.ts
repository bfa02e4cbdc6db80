import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isTerminal, JobState, Outcome } from "../../../server/domain/rules/states.ts";
import {
  type AskedJob,
  type AttemptLine,
  type ChangeLine,
  type ClientLine,
  type EffectLine,
  type FaultLine,
  type FinalLine,
  openHistory,
} from "../history.ts";

/** A lease of a scripted job. */
export interface ScriptedLease {
  readonly job: ScriptedJob;
  readonly attempt: number;
  readonly leaseId: string;
  readonly workerId: string;
  readonly grantedAt: number;
}

/** A job of a scripted run, as the store would count it. */
export interface ScriptedJob {
  readonly jobId: string;
  attempt: number;
  generation: number;
  failures: number;
  losses: number;
  releases: number;
}

/** How an attempt ends. */
export interface ScriptedEnd {
  readonly outcome: Outcome;
  /** The end of the run; absent: it goes on. */
  readonly state?: JobState;
  readonly resultId?: string;
  /** Counters that tests falsify. */
  readonly failures?: number;
}

const plain: AskedJob = { kind: "echo", exclusive: false, maxAttempts: 3, failures: 0, poison: false };

/**
 * Writes the history of a run that never was: each step says what a part of
 * the system would, and moves the time on. What is wrong in it, a test says.
 */
export class ScriptedRun {
  now = 1_000_000;
  readonly clients: ClientLine[] = [];
  readonly effects: EffectLine[] = [];
  readonly faults: FaultLine[] = [];
  readonly changes: ChangeLine[] = [];
  readonly attempts: AttemptLine[] = [];
  readonly final: FinalLine[] = [];
  #ids = 0;

  /** A new id. */
  id(prefix: string): string {
    this.#ids++;
    return `${prefix}_${String(this.#ids).padStart(26, "0")}`;
  }

  /** Lets time go by. */
  wait(ms: number): void {
    this.now += ms;
  }

  /** Registers a worker. */
  worker(slots = 4): string {
    const workerId = this.id("wrk");
    this.final.push({ type: "worker", workerId, name: `name of ${workerId}`, slots });
    return workerId;
  }

  /** A client asks for jobs, and is answered. */
  submit(
    asked: readonly Partial<AskedJob>[],
    of: { readonly batchId?: string; readonly key?: string; readonly org?: string } = {},
  ): ScriptedJob[] {
    const key = of.key ?? this.id("key");
    const org = of.org === undefined ? {} : { org: of.org };
    this.clients.push({
      type: "submit",
      at: this.now++,
      key,
      ...org,
      jobs: asked.map((job) => ({ ...plain, ...job })),
    });
    const jobs = asked.map(() => this.#job());
    this.tell(jobs.map((job) => [job.jobId, JobState.ready, 0, null]));
    this.clients.push({
      type: "submitted",
      at: this.now++,
      key,
      ...org,
      jobIds: jobs.map((job) => job.jobId),
      batchId: of.batchId ?? null,
      replayed: false,
    });
    return jobs;
  }

  /** One of them. */
  job(asked: Partial<AskedJob> = {}): ScriptedJob {
    const [job] = this.submit([asked]);
    if (!job) throw new Error("one asked, one job");
    return job;
  }

  /** The store leases a job to a worker. */
  grant(job: ScriptedJob, workerId: string): ScriptedLease {
    job.attempt++;
    const lease = { job, attempt: job.attempt, leaseId: this.id("lse"), workerId, grantedAt: this.now++ };
    this.tell([[job.jobId, JobState.offered, job.attempt, workerId]]);
    return lease;
  }

  /** Its handler starts. */
  start({ job, attempt, leaseId, workerId }: ScriptedLease, bootId = `boot of ${workerId}`): void {
    this.effects.push({
      type: "start",
      at: this.now++,
      jobId: job.jobId,
      attempt,
      leaseId,
      workerId,
      bootId,
      pid: 1,
    });
  }

  /** Its handler ends. */
  stop({ leaseId }: ScriptedLease, outcome = "succeeded"): void {
    this.effects.push({ type: "end", at: this.now++, leaseId, outcome });
  }

  /** The store ends the attempt, and the run when a state is given. */
  end(lease: ScriptedLease, { outcome, state, resultId, failures }: ScriptedEnd): void {
    const { job } = lease;
    if (outcome === Outcome.failed || outcome === Outcome.timedOut) job.failures++;
    if (outcome === Outcome.lost) job.losses++;
    if (outcome === Outcome.released) job.releases++;
    const isWorkers = outcome !== Outcome.lost && outcome !== Outcome.offerTimedOut;
    this.#keep(job, {
      attempt: lease.attempt,
      workerId: lease.workerId,
      leaseId: lease.leaseId,
      resultId: resultId ?? (isWorkers ? this.id("res") : null),
      grantedAt: lease.grantedAt,
      outcome,
      state: state ?? null,
      failures: failures ?? job.failures,
    });
    this.tell([[job.jobId, state ?? JobState.ready, lease.attempt, lease.workerId]]);
  }

  /** Grant, start, end: the attempt that succeeds. */
  succeed(job: ScriptedJob, workerId: string): ScriptedLease {
    const lease = this.grant(job, workerId);
    this.start(lease);
    this.stop(lease);
    this.end(lease, { outcome: Outcome.succeeded, state: JobState.succeeded });
    return lease;
  }

  /** A client cancels a job that waits. */
  cancelWaiting(job: ScriptedJob): void {
    this.clients.push({ type: "cancel", at: this.now++, jobId: job.jobId });
    job.attempt++;
    this.#keep(job, {
      attempt: job.attempt,
      workerId: null,
      leaseId: null,
      resultId: null,
      grantedAt: null,
      outcome: Outcome.cancelled,
      state: JobState.cancelled,
      failures: job.failures,
    });
    this.tell([[job.jobId, JobState.cancelled, job.attempt, null]]);
    this.clients.push({ type: "cancelled", at: this.now++, jobId: job.jobId, outcome: "cancelled" });
  }

  /** An operator replays a run that ended badly. */
  replay(job: ScriptedJob): void {
    job.generation++;
    job.failures = 0;
    job.losses = 0;
    job.releases = 0;
    this.tell([[job.jobId, JobState.ready, job.attempt, null]]);
  }

  /** A row of the feed. */
  tell(entries: ChangeLine["entries"]): void {
    this.changes.push({ xid: String(this.changes.length + 700), n: 1, at: this.now++, entries });
  }

  /** Something is done to the system. */
  fault(type: FaultLine["type"], target: string, forMs?: number): void {
    this.faults.push({ type, at: this.now++, target, ...(forMs === undefined ? {} : { forMs }) });
  }

  /** A batch, as the store counts it, of jobs that have ended. */
  batch(batchId: string, jobs: readonly ScriptedJob[], wrong: { readonly succeeded?: number } = {}): void {
    const ids = new Set(jobs.map(({ jobId }) => jobId));
    const ends = this.attempts.filter(({ jobId, final }) => final && ids.has(jobId));
    const count = (state: JobState) => ends.filter((row) => row.state === state).length;
    const recount = {
      succeeded: count(JobState.succeeded),
      cancelled: count(JobState.cancelled),
      dead: count(JobState.dead),
    };
    const pending = jobs.length - ends.length;
    this.final.push({ type: "batch", batchId, total: jobs.length, pending, ...recount, recount, ...wrong });
  }

  /** Writes the files; the caller removes the folder. */
  async write(): Promise<{ readonly folder: string; readonly remove: () => Promise<void> }> {
    const folder = await mkdtemp(join(tmpdir(), "muster-history-"));
    const files: readonly [name: string, lines: readonly unknown[]][] = [
      ["client-1", this.clients],
      ["effects-1", this.effects],
      ["faults", this.faults],
      ["changes", this.changes],
      ["attempts", this.attempts],
      ["final", this.final],
    ];
    for (const [name, lines] of files) {
      const file = openHistory(folder, name);
      for (const line of lines) file.write(line);
      file.close();
    }
    return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
  }

  #job(): ScriptedJob {
    return { jobId: this.id("job"), attempt: 0, generation: 1, failures: 0, losses: 0, releases: 0 };
  }

  #keep(
    job: ScriptedJob,
    row: Pick<
      AttemptLine,
      "attempt" | "workerId" | "leaseId" | "resultId" | "grantedAt" | "outcome" | "state" | "failures"
    >,
  ): void {
    this.attempts.push({
      jobId: job.jobId,
      generation: job.generation,
      losses: job.losses,
      releases: job.releases,
      endedAt: this.now++,
      final: row.state !== null && isTerminal(row.state),
      ...row,
    });
  }
}
