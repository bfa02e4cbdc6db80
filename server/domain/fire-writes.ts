import { failFires, insertFires, readLiveJobs } from "../store/schedule-fires.ts";
import { call, type OrgTx } from "../store/statement.ts";
import { insertNewJobs, insertNewShapes, type JobTemplate, type NewJob } from "../store/submit.ts";
import type { Coordinator } from "./context.ts";
import { parentsOf, resolveParents } from "./dependencies.ts";
import type { DomainError } from "./errors.ts";
import { encodeId } from "./ids.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import type { FireCause, FireOutcome, OverlapPolicy } from "./rules/schedules.ts";
import type { InternedShape } from "./rules/shapes.ts";
import { JobState } from "./rules/states.ts";
import type { Submission } from "./submit.ts";

/** What is to be fired of one schedule. */
export interface FireWork {
  readonly scheduleId: string;
  readonly name: string;
  readonly job: JobRequest;
  /** What its jobs have in common; an error: they cannot be submitted. */
  readonly template: JobTemplate | DomainError;
  readonly overlap: OverlapPolicy;
  /** To be made, in their order. */
  readonly fires: readonly { readonly ms: number; readonly cause: FireCause }[];
  /** Missed for good, in their order. */
  readonly missed: readonly number[];
  /** Its jobs that had not ended at its last fire. */
  readonly live: readonly string[];
}

/** What became of a fire time, as it is written. */
export interface FireEntry {
  readonly scheduleId: string;
  readonly ms: number;
  readonly outcome: FireOutcome;
  readonly cause: FireCause;
  readonly jobId: string | null;
  readonly note: string;
  readonly errorReason: string;
  readonly count: number;
  readonly lastMs: number;
}

/** What was written. */
export interface WrittenFires {
  /** Those that nothing had become of before. */
  readonly entries: readonly FireEntry[];
  readonly jobs: readonly NewJob[];
  /** By schedule: its jobs that have not ended. */
  readonly live: ReadonlyMap<string, readonly string[]>;
  /** Ends of jobs wait for the sweep that takes them to who depends on them. */
  readonly leavesEnds: boolean;
}

/** Missed times of one schedule that get an entry each; more share one. */
const maxMissedEntries = 100;

/**
 * Writes what becomes of fire times, with the jobs that they make, in the transaction that holds their schedules. What
 * a fire time came to before stays as it is; `mayRepeat`: unless it made no job.
 */
export async function writeFires(
  c: Pick<Coordinator, "newId">,
  tx: OrgTx,
  works: readonly FireWork[],
  { mayRepeat }: { readonly mayRepeat: boolean },
): Promise<WrittenFires> {
  const states = await readStates(tx, works);
  const decided = works.map((work) => decide(c, work, states));
  const all = decided.flatMap(({ entries }) => entries);
  const written = await insert(tx, all, mayRepeat);
  const isWritten = ({ scheduleId, ms }: FireEntry): boolean => written.has(`${scheduleId}:${ms}`);
  const made = decided.flatMap(({ made: some }) => some).filter(({ entry }) => isWritten(entry));
  const resolved = await resolveParents(
    tx,
    made.map(({ submission }) => submission),
    () => true,
  );
  const refused = new Map(
    [...resolved.refused].flatMap(([index, error]) => {
      const entry = made[index]?.entry;
      return entry === undefined ? [] : [[entry, error] as const];
    }),
  );
  const jobs = resolved.submissions
    .filter((_, index) => !resolved.refused.has(index))
    .flatMap((submission) => submission.jobs);
  const calls = [
    ...(jobs.length === 0
      ? []
      : [insertNewShapes(tx.orgId, shapesOf(jobs)), insertNewJobs(tx.orgId, c.newId(), jobs)]),
    ...resolved.calls,
    ...(refused.size === 0 ? [] : [failCall(tx.orgId, refused)]),
  ];
  await Promise.all(calls.map((one) => tx.run(one)));
  const dropped = new Set(jobs.map(({ jobId }) => jobId));
  return {
    entries: all.filter(isWritten).map((entry) => failedEntry(entry, refused.get(entry))),
    jobs,
    live: new Map(
      decided.map(({ scheduleId, live }) => [
        scheduleId,
        live.filter((jobId) => states.has(jobId) || dropped.has(jobId)),
      ]),
    ),
    leavesEnds: resolved.leavesEnds,
  };
}

interface Decided {
  readonly scheduleId: string;
  readonly entries: readonly FireEntry[];
  readonly made: readonly { readonly entry: FireEntry; readonly submission: Submission }[];
  readonly live: readonly string[];
}

// What the overlap policy makes of each fire, one after the other.
function decide(c: Pick<Coordinator, "newId">, work: FireWork, states: ReadonlyMap<string, number>): Decided {
  const { scheduleId, template, overlap, fires } = work;
  const entries: FireEntry[] = missedEntries(work);
  const made: { entry: FireEntry; submission: Submission }[] = [];
  const live = work.live
    .filter((jobId) => states.has(jobId))
    .map((jobId) => ({ jobId, isWaiting: states.get(jobId) === JobState.blocked }));
  for (const [index, { ms, cause }] of fires.entries()) {
    const base = { scheduleId, ms, cause, jobId: null, errorReason: "", count: 1, lastMs: ms };
    if (!("shape" in template)) {
      entries.push({ ...base, outcome: "failed", note: template.message, errorReason: template.reason });
      continue;
    }
    const isLast = index === fires.length - 1;
    const waitsFor = overlap === "queue" || overlap === "replace" ? live.map((one) => one.jobId) : [];
    const why = skipReason(overlap, live, isLast);
    if (why !== null) {
      entries.push({ ...base, outcome: "skipped", note: why });
      continue;
    }
    const row = jobOf(c.newId(), work, template);
    const entry: FireEntry = { ...base, outcome: "submitted", jobId: row.jobId, note: "" };
    entries.push(entry);
    made.push({ entry, submission: submissionOf(work, row, waitsFor) });
    live.push({ jobId: row.jobId, isWaiting: waitsFor.length > 0 });
  }
  return { scheduleId, entries, made, live: live.map((one) => one.jobId) };
}

function skipReason(
  overlap: OverlapPolicy,
  live: readonly { readonly jobId: string; readonly isWaiting: boolean }[],
  isLast: boolean,
): string | null {
  const [first] = live;
  switch (overlap) {
    case "allow":
      return null;
    case "skip":
      return first === undefined ? null : `${encodeId("job", first.jobId)} has not ended`;
    case "queue": {
      const waiting = live.find((one) => one.isWaiting);
      return waiting === undefined ? null : `${encodeId("job", waiting.jobId)} waits already`;
    }
    case "replace":
      return isLast ? null : "a later fire replaces it";
  }
}

function missedEntries({ scheduleId, missed }: FireWork): FireEntry[] {
  const base = { scheduleId, outcome: "missed", cause: "due", jobId: null, errorReason: "" } as const;
  const note = "no coordinator could make it in time";
  const [first, last] = [missed.at(0), missed.at(-1)];
  if (first === undefined || last === undefined || missed.length <= maxMissedEntries) {
    return missed.map((ms) => ({ ...base, ms, note, count: 1, lastMs: ms }));
  }
  // Beside the first time, which is a whole second: that may yet get an entry of its own.
  return [{ ...base, ms: first + 1, note, count: missed.length, lastMs: last }];
}

function jobOf(jobId: string, { job, name }: FireWork, template: JobTemplate): NewJob {
  const hasRoom = Object.keys(job.labels).length < 32;
  return {
    ...{ jobId, template, batchId: null, parentJobId: null, title: job.title, payload: job.payload },
    labels: { ...(hasRoom ? { schedule: name } : {}), ...job.labels },
    ...{ runAt: null, deadline: null, externalId: null, idempotencyKey: null },
    ...{ dependsOn: null, waitingOn: 0, hasDependants: false },
  };
}

function submissionOf(work: FireWork, row: NewJob, waitsFor: readonly string[]): Submission {
  const own = parentsOf([work.job], [row])?.[0] ?? [];
  const before = waitsFor.map((jobId) => ({ type: "job" as const, jobId, field: "jobId" }));
  const parents = [...own, ...before];
  return {
    ...{ jobs: [row], batch: null, keys: [], parent: null },
    audit: null,
    dependencies: parents.length === 0 ? null : [parents],
  };
}

async function readStates(tx: OrgTx, works: readonly FireWork[]): Promise<Map<string, number>> {
  const jobs = [...new Set(works.flatMap(({ live }) => live))];
  if (jobs.length === 0) return new Map();
  const rows = await tx.run(call(readLiveJobs, { org: tx.orgId, jobs }));
  return new Map(rows.map((row) => [String(row["job"]), Number(row["state"])]));
}

async function insert(tx: OrgTx, entries: readonly FireEntry[], mayRepeat: boolean): Promise<Set<string>> {
  if (entries.length === 0) return new Set();
  const rows = await tx.run(
    call(insertFires, {
      org: tx.orgId,
      schedules: entries.map((one) => one.scheduleId),
      times: entries.map((one) => one.ms),
      outcomes: entries.map((one) => one.outcome),
      causes: entries.map((one) => one.cause),
      jobs: entries.map((one) => one.jobId),
      notes: entries.map((one) => one.note),
      errors: entries.map((one) => one.errorReason),
      counts: entries.map((one) => one.count),
      lasts: entries.map((one) => one.lastMs),
      again: mayRepeat,
    }),
  );
  return new Set(rows.map((row) => `${row["schedule"]}:${Math.round(Number(row["ms"]))}`));
}

function failedEntry(entry: FireEntry, error: DomainError | undefined): FireEntry {
  if (error === undefined) return entry;
  return { ...entry, outcome: "failed", jobId: null, note: error.message, errorReason: error.reason };
}

function failCall(org: string, refused: ReadonlyMap<FireEntry, DomainError>) {
  const all = [...refused];
  return call(failFires, {
    org,
    schedules: all.map(([entry]) => entry.scheduleId),
    times: all.map(([entry]) => entry.ms),
    notes: all.map(([, error]) => error.message),
    errors: all.map(([, error]) => error.reason),
  });
}

function shapesOf(jobs: readonly NewJob[]): InternedShape[] {
  const shapes = new Map(jobs.map(({ template: { shape } }) => [shape.shapeId, shape]));
  return [...shapes.values()];
}
