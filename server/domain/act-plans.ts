import {
  callOfJobs,
  findDeadLetters,
  lockAsked,
  releaseDeadLetters,
  requestCancels,
  setPriorities,
} from "../store/job-changes.ts";
import { lockJobs, noWorker, peekJobs } from "../store/leases.ts";
import { findReleasing } from "../store/removals.ts";
import { type Call, call, type OrgTx } from "../store/statement.ts";
import { insertNewShapes } from "../store/submit.ts";
import { appendChange, writeTransitions } from "../store/transitions.ts";
import type { Coordinator } from "./context.ts";
import { noRelease, type Release, releaseDependants } from "./dependants.ts";
import { type DomainError, failedPrecondition, notFound } from "./errors.ts";
import { type FinalRun, finalsOf, reviveRuns } from "./final-runs.ts";
import { encodeId } from "./ids.ts";
import { type LockedJob, lockedJob } from "./locked-job.ts";
import { parkWakeMs } from "./parking.ts";
import type { Act, ActType } from "./rules/acts.ts";
import { changeNumbers } from "./rules/event-types.ts";
import type { JobEvent } from "./rules/lifecycle.ts";
import { isTerminal, type JobState, stateName } from "./rules/states.ts";
import { refusal } from "./rules/transition-table.ts";
import { isSettled, noRemains, type Settled, settle } from "./settle.ts";

/*
 * What an act makes of many jobs at once: their rows are locked in one statement, each is decided by the table as the
 * verb of one job decides it, and all is written in a few statements.
 */

/** Acts whose jobs stay. */
export type LastingAct = Act & { readonly type: Exclude<ActType, "delete"> };

/** What is to be done, and what not. */
export interface ActPlan {
  readonly done: readonly string[];
  readonly refused: ReadonlyMap<string, DomainError>;
  readonly calls: readonly Call[];
  readonly release: Release;
  /** Ends of these are on their way to who waits for them: drain them and begin again. */
  readonly releasing: readonly string[];
}

/** The jobs of a call as they are. */
interface Found {
  readonly live: ReadonlyMap<string, LockedJob>;
  readonly ended: ReadonlyMap<string, FinalRun>;
}

/**
 * Decides about jobs, at most 1,000. With locks the calls may be run in the transaction; without them it is only what
 * would be done now.
 */
export async function planAct(
  c: Pick<Coordinator, "db" | "newId" | "random" | "wakes">,
  tx: OrgTx,
  act: LastingAct,
  jobIds: readonly string[],
  options: { readonly isLocked: boolean },
): Promise<ActPlan> {
  const found = await findJobs(tx, act, jobIds, options);
  const releasing = act.type === "retry" && options.isLocked ? await releasingOf(tx, found) : [];
  if (releasing.length > 0) {
    return { done: [], refused: new Map(), calls: [], release: noRelease, releasing };
  }
  switch (act.type) {
    case "discard":
      return planDiscard(tx, found, jobIds, options);
    case "set-priority":
      return planPriority(tx.orgId, found, jobIds, act.priority ?? 0);
    case "cancel":
    case "retry":
    case "park":
    case "unpark":
      return planMoves(c, tx, act, found, jobIds);
  }
}

async function findJobs(
  tx: OrgTx,
  { type }: LastingAct,
  jobIds: readonly string[],
  { isLocked }: { readonly isLocked: boolean },
): Promise<Found> {
  const read = async (ids: readonly string[]) =>
    ids.length === 0
      ? []
      : (await tx.run(callOfJobs(isLocked ? lockJobs : peekJobs, tx.orgId, ids))).map(lockedJob);
  const live = new Map((await read(jobIds)).map((job) => [job.jobId, job]));
  const missing = () => jobIds.filter((jobId) => !live.has(jobId));
  if (isLocked && type === "retry" && missing().length > 0) {
    // Two that replay at once take turns: the second finds the runs of the first.
    await tx.run(callOfJobs(lockAsked, tx.orgId, missing()));
    for (const job of await read(missing())) live.set(job.jobId, job);
  }
  return { live, ended: await finalsOf(tx, missing()) };
}

async function releasingOf(tx: OrgTx, { ended }: Found): Promise<string[]> {
  if (ended.size === 0) return [];
  const rows = await tx.run(call(findReleasing, { org: tx.orgId, jobs: [...ended.keys()] }));
  return rows.map((row) => String(row["job"]));
}

async function planMoves(
  c: Pick<Coordinator, "db" | "newId" | "random" | "wakes">,
  tx: OrgTx,
  act: LastingAct,
  { live, ended }: Found,
  jobIds: readonly string[],
): Promise<ActPlan> {
  const settled: Settled[] = [];
  const asked: string[] = [];
  const revived: FinalRun[] = [];
  const parents: Settled["transition"][] = [];
  const refused = new Map<string, DomainError>();
  for (const jobId of jobIds) {
    const job = live.get(jobId);
    const run = ended.get(jobId);
    if (!job) {
      if (run && act.type === "retry" && !refusal(run.state, "replayed")) revived.push(run);
      else refused.set(jobId, refusedIn(act.type, jobId, run?.state));
      continue;
    }
    const keepsReason = act.type === "park" || act.type === "cancel";
    const remains = keepsReason ? { ...noRemains, reason: act.reason } : noRemains;
    const answer = settle(job, eventOf(act, job), remains, c.random());
    if (!isSettled(answer)) refused.set(jobId, refusedIn(act.type, jobId, job.state));
    // T15: it runs, and its worker is asked.
    else if (act.type === "cancel" && !isTerminal(answer.transition.state)) asked.push(jobId);
    else {
      settled.push(answer);
      if (job.hasDependants && isTerminal(answer.transition.state)) parents.push(answer.transition);
    }
  }
  const { orgId } = tx;
  const own = new Set(settled.map(({ transition }) => transition.jobId));
  const release = act.type === "cancel" ? await releaseDependants(c, tx, parents, own) : noRelease;
  const transitions = [...settled.map((one) => one.transition), ...release.transitions];
  const shapes = new Map(settled.flatMap(({ shape }) => (shape ? [[shape.shapeId, shape]] : [])));
  const calls: Call[] = shapes.size > 0 ? [insertNewShapes(orgId, [...shapes.values()])] : [];
  calls.push(...release.calls, ...writeTransitions(orgId, transitions, { n: 1, tally: c.newId() }));
  if (asked.length > 0)
    calls.push(
      call(requestCancels, { org: orgId, jobs: asked, reason: act.reason, n: changeNumbers.cancelRequest }),
    );
  if (revived.length > 0) calls.push(...reviveRuns(c, orgId, revived, 2));
  const done = [...own, ...asked, ...revived.map((run) => run.jobId)];
  return { done, refused, calls, release, releasing: [] };
}

function planPriority(
  org: string,
  { live, ended }: Found,
  jobIds: readonly string[],
  priority: number,
): ActPlan {
  const jobs = [...live.values()];
  const done = jobs.map((job) => job.jobId);
  const refused = new Map(
    jobIds
      .filter((jobId) => !live.has(jobId))
      .map((jobId) => [jobId, refusedIn("set-priority", jobId, ended.get(jobId)?.state)]),
  );
  const told = call(appendChange, {
    ...{
      org,
      n: changeNumbers.edit,
      jobs: done,
      states: jobs.map((job) => job.state),
      attempts: jobs.map((job) => job.attempt),
    },
    workers: jobs.map((job) => job.workerId ?? noWorker),
  });
  const calls = done.length === 0 ? [] : [callOfJobs(setPriorities, org, done, { priority }), told];
  return { done, refused, calls, release: noRelease, releasing: [] };
}

async function planDiscard(
  tx: OrgTx,
  { live, ended }: Found,
  jobIds: readonly string[],
  { isLocked }: { readonly isLocked: boolean },
): Promise<ActPlan> {
  // Gone by the transaction itself: who comes second finds none.
  const statement = isLocked ? releaseDeadLetters : findDeadLetters;
  const rows = await tx.run(call(statement, { org: tx.orgId, jobs: jobIds }));
  const letters = new Set(rows.map((row) => String(row["job"])));
  const refused = new Map<string, DomainError>();
  for (const jobId of jobIds.filter((one) => !letters.has(one))) {
    const isKnown = live.has(jobId) || ended.has(jobId);
    const reason = isKnown ? "DEAD_LETTER_NOT_FOUND" : "JOB_NOT_FOUND";
    refused.set(jobId, notFound(reason, encodeId("job", jobId)));
  }
  return { done: [...letters], refused, calls: [], release: noRelease, releasing: [] };
}

function eventOf(act: LastingAct, { readAtMs }: LockedJob): JobEvent {
  switch (act.type) {
    case "cancel":
      return { type: "cancel-requested", isForced: act.isForced };
    case "retry":
      return { type: "hurried" };
    case "park":
      return { type: "held", wakeAfterMs: parkWakeMs(act.until, readAtMs) };
    case "unpark":
      return { type: "unparked" };
    case "set-priority":
    case "discard":
      throw new Error(`${act.type} is no event`);
  }
}

const refusals = {
  cancel: "JOB_ALREADY_TERMINAL",
  retry: "JOB_NOT_REPLAYABLE",
  park: "JOB_NOT_PARKABLE",
  unpark: "JOB_NOT_PARKED",
  "set-priority": "JOB_ALREADY_TERMINAL",
  discard: "JOB_ALREADY_TERMINAL",
} as const;

function refusedIn(type: LastingAct["type"], jobId: string, state: JobState | undefined): DomainError {
  const id = encodeId("job", jobId);
  if (state === undefined) return notFound("JOB_NOT_FOUND", id);
  return failedPrecondition(refusals[type], { jobId: id, state: stateName(state) });
}
