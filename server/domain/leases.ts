import { leaveGates } from "../store/gate-exits.ts";
import { keepLateResults } from "../store/late-results.ts";
import { acceptLeases, finishLeases, lockLeases } from "../store/leases.ts";
import { holdLink } from "../store/links.ts";
import { insertPullRequests, type NewPullRequest } from "../store/pull-requests.ts";
import { call, type OrgTx, runInOrg, transact, transactAgain } from "../store/statement.ts";
import { insertNewShapes } from "../store/submit.ts";
import type { StoredError, Transition } from "../store/transition.ts";
import { writeTransitions } from "../store/transitions.ts";
import { Batcher } from "./batcher.ts";
import type { Coordinator } from "./context.ts";
import { announceRelease, type EndedJob, noRelease, type Release, releaseDependants } from "./dependants.ts";
import { fenceArrays, fenceBounds } from "./fence-arrays.ts";
import { type LockedJob, lockedJob } from "./locked-job.ts";
import { blameWorkers, type LossContext } from "./losses.ts";
import { expectPoolPauses, type PoolPark, pausePools, resumeTime } from "./pools.ts";
import { type Fence, isCurrentLease } from "./rules/fences.ts";
import type { Isolation } from "./rules/isolations.ts";
import type { JobEvent, LeftEvent } from "./rules/lifecycle.ts";
import type { Profile } from "./rules/profiles.ts";
import { pullRequestUrl } from "./rules/pull-requests.ts";
import type { InternedShape } from "./rules/shapes.ts";
import { isTerminal, JobState, Outcome } from "./rules/states.ts";
import type { LeaseEvent } from "./rules/transitions.ts";
import { isSettled, noRemains, type Remains, settle } from "./settle.ts";
import { readAttemptsOf } from "./superseded.ts";

export type { Fence } from "./rules/fences.ts";

/** An accept on its way to the database; skipped when the result is there already. */
export type Accept = Fence & { readonly isDone: () => boolean };

/** A result as a worker sent it, checked for its form. */
export interface LeaseResult {
  readonly fence: Fence;
  readonly resultId: string;
  readonly event: Extract<LeaseEvent, { type: "succeeded" | "failed" | "cancelled" | "released" | "parked" }>;
  /** JSON text. */
  readonly result: string | null;
  readonly error: StoredError | null;
  readonly prUrl: string | null;
  readonly lastSequence: number;
  readonly reason: string | null;
  /** What its programs ran under; absent when it started none. */
  readonly isolation?: Isolation | null;
  /** Where its time went; absent when its handler marked nothing. */
  readonly profile?: Profile | null;
  /** The job has a row of progress. */
  readonly hasProgress: boolean;
}

/** What became of a result. */
export type ResultAnswer =
  | { readonly status: "committed"; readonly state: JobState }
  | { readonly status: "duplicate" }
  | { readonly status: "superseded"; readonly currentAttempt: number };

/** The parts of a coordinator that lease verbs need. */
export type LeaseContext = Pick<Coordinator, "db" | "newId" | "random" | "wakes"> & LossContext;

/** A lease to end for a reason that is not a result. */
export interface LeaseEnd {
  readonly fence: Fence;
  readonly event: LeaseEvent | LeftEvent;
  readonly reason: string;
  /** A loss that is not its worker's doing says false: the lease passed its cap. */
  readonly isWorkersLoss?: boolean;
}

/** T5: makes the batcher of accepts. Answers whether the lease is current. */
export function createAcceptBatcher(c: LeaseContext): Batcher<Accept, boolean> {
  return new Batcher({
    maxWeight: 2_000,
    maxInFlight: 1,
    maxQueuedWeight: 200_000,
    flush: async (orgId, accepts) => {
      const fences = accepts.filter((accept) => !accept.isDone());
      if (fences.length === 0) return accepts.map(() => true);
      const [rows] = await runInOrg(c.db.hot, orgId, [
        call(acceptLeases, { ...fenceArrays(orgId, fences), tally: c.newId(), n: 1 }),
      ]);
      const accepted = new Set(rows?.map((row) => String(row["lease"])));
      c.wakes.changed(
        orgId,
        fences.map((fence) => fence.jobId),
      );
      return accepts.map((accept) => accept.isDone() || accepted.has(accept.leaseId));
    },
  });
}

/** T8 to T12: makes the batcher of results. An answer means committed. */
export function createResultBatcher(c: LeaseContext): Batcher<LeaseResult, ResultAnswer> {
  return new Batcher({
    maxWeight: 1_000,
    maxInFlight: 2,
    // A flush costs what a hundred of its results do, however few there are: few wait for the one in flight.
    leastMoreWeight: 500,
    maxQueuedWeight: 200_000,
    flush: (orgId, results) => commitResults(c, orgId, results),
  });
}

/**
 * Ends leases for reasons that are not a result: declined, offer timed out,
 * lost. Rows whose fence no longer matches are left alone.
 *
 * @param confirm judges once more with the rows locked, in a statement that
 * follows the lock, so that a wait for a lock never judges by an old time.
 * @param judge the link that judges: nothing is ended when it is no longer the worker's, and no newer one comes
 * before the commit.
 * @returns the lease ids that were ended.
 */
export async function endLeases(
  c: LeaseContext,
  orgId: string,
  ends: readonly LeaseEnd[],
  confirm?: (tx: OrgTx, fences: readonly Fence[]) => Promise<ReadonlySet<string>>,
  judge?: { readonly workerId: string; readonly linkEpoch: number },
): Promise<Set<string>> {
  if (ends.length === 0) return new Set();
  const { settled, release } = await transactAgain(c.db.hot, orgId, async (tx): Promise<SettledAll> => {
    if (judge && (await tx.run(holdLink(tx.orgId, judge))).length === 0) return nothingSettled;
    const byLease = new Map(ends.map((end) => [end.fence.leaseId, end]));
    const fences = ends.map((end) => end.fence);
    if (confirm) {
      await tx.run(call(lockLeases, { ...fenceArrays(tx.orgId, fences), ...fenceBounds(fences) }));
      const confirmed = await confirm(tx, fences);
      for (const leaseId of [...byLease.keys()]) if (!confirmed.has(leaseId)) byLease.delete(leaseId);
      if (byLease.size === 0) return nothingSettled;
    }
    const blamed = await blamedFor(c, tx, [...byLease.values()]);
    return settleLocked(c, tx, fences, (job) => {
      const end = job.leaseId === null ? undefined : byLease.get(job.leaseId);
      if (!end || !isCurrentLease(job, end.fence)) return null;
      const remains = { ...noRemains, reason: end.reason, error: lossError(end) };
      const isBlameless = end.event.type === "lost" && blamed.has(end.fence.workerId);
      return { event: isBlameless ? { type: "lost", isFleetEvent: true } : end.event, remains };
    });
  });
  if (settled.size > 0) {
    const lost = ends.filter(({ event, fence }) => event.type === "lost" && settled.has(fence.leaseId));
    if (lost.length > 0) c.counters.addOf(orgId, "muster_lost_leases_total", {}, lost.length);
    c.wakes.ready(orgId);
    announceRelease(c, orgId, release);
    c.wakes.changed(
      orgId,
      [...settled.values()].map((one) => one.transition.jobId),
    );
  }
  return new Set(settled.keys());
}

// Each loss is noted with its worker, unless we were to blame; only rows that the fence still matches are lost.
async function blamedFor(
  c: LeaseContext,
  tx: OrgTx,
  ends: readonly LeaseEnd[],
): Promise<ReadonlySet<string>> {
  const blamable = ends.filter(
    ({ event, isWorkersLoss }) => event.type === "lost" && !event.isFleetEvent && isWorkersLoss !== false,
  );
  if (blamable.length === 0) return new Set();
  const fences = blamable.map((end) => end.fence);
  const rows = await tx.run(call(lockLeases, { ...fenceArrays(tx.orgId, fences), ...fenceBounds(fences) }));
  const current = new Set(rows.map((row) => String(row["lease"])));
  return blameWorkers(
    c,
    tx,
    fences.filter((fence) => current.has(fence.leaseId)),
  );
}

// A loss is told like an error: people look for the reason where errors are.
function lossError(end: Pick<LeaseEnd, "event" | "reason">): StoredError | null {
  if (end.event.type !== "lost") return null;
  return { code: "LEASE_LOST", message: end.reason, detail: "" };
}

async function commitResults(
  c: LeaseContext,
  orgId: string,
  results: readonly LeaseResult[],
): Promise<readonly ResultAnswer[]> {
  const answers = new Map<string, ResultAnswer>();
  const unique = [...new Map(results.map((result) => [result.resultId, result])).values()];
  // The common case in one round trip; a pull request needs the rest of the work. Who started programs spent more.
  const [simple, others] = [[] as LeaseResult[], new Set<LeaseResult>()];
  for (const result of unique) {
    const { event, prUrl, isolation, profile } = result;
    if (event.type === "succeeded" && prUrl === null && !isolation && !profile) simple.push(result);
    else others.add(result);
  }
  if (simple.length > 0) {
    const finished = await finish(c, orgId, simple);
    for (const result of simple) {
      if (finished.has(result.resultId)) {
        answers.set(result.resultId, { status: "committed", state: JobState.succeeded });
      } else others.add(result);
    }
  }
  if (others.size > 0) {
    const settled = await transact(c.db.hot, orgId, (tx) => settleResults(c, tx, [...others]));
    for (const [id, answer] of settled.answers) answers.set(id, answer);
    announceRelease(c, orgId, settled.release);
    if (settled.returns) c.wakes.ready(orgId);
    if ([...others].some(isPoolPark)) c.wakes.gates(orgId);
  }
  c.wakes.changed(
    orgId,
    results.map((result) => result.fence.jobId),
  );
  return results.map((result) => answers.get(result.resultId) ?? { status: "duplicate" });
}

async function finish(c: LeaseContext, orgId: string, results: readonly LeaseResult[]): Promise<Set<string>> {
  const [rows] = await runInOrg(c.db.hot, orgId, [
    call(finishLeases, {
      ...fenceArrays(
        orgId,
        results.map((result) => result.fence),
      ),
      results: results.map((result) => result.result ?? "null"),
      ids: results.map((result) => result.resultId),
      sequences: results.map((result) => result.lastSequence),
      reported: results.filter((result) => result.hasProgress).map((result) => result.fence.jobId),
      tally: c.newId(),
      n: 1,
    }),
  ]);
  const [ended] = rows ?? [];
  if (Number(ended?.["n"]) === results.length) return new Set(results.map((result) => result.resultId));
  return new Set(Array.isArray(ended?.["results"]) ? ended["results"].map(String) : []);
}

async function settleResults(
  c: LeaseContext,
  tx: OrgTx,
  results: readonly LeaseResult[],
): Promise<{
  readonly answers: ReadonlyMap<string, ResultAnswer>;
  readonly release: Release;
  /** Jobs go back to where they may be ready. */
  readonly returns: boolean;
}> {
  // Who names another's lease in the same flush takes no part in what is done to it.
  const ofJob = Map.groupBy(results, (result) => result.fence.jobId);
  await expectPoolPauses(
    tx,
    results.filter(isPoolPark).map((result) => result.fence.jobId),
  );
  const { settled, release } = await settleLocked(
    c,
    tx,
    results.map((result) => result.fence),
    (job) => {
      const result = ofJob.get(job.jobId)?.find(({ fence }) => isCurrentLease(job, fence));
      return result ? { event: result.event, remains: result } : null;
    },
  );
  const answers = new Map<string, ResultAnswer>();
  const stale: LeaseResult[] = [];
  const pulls: NewPullRequest[] = [];
  for (const result of results) {
    const end = settled.get(result.fence.leaseId);
    // One lease, two results of different ids: the second found the lease ended.
    if (end && end.transition.ended?.resultId === result.resultId) {
      answers.set(result.resultId, { status: "committed", state: end.transition.state });
      // What is no URL stays with its attempt, and counts for nothing.
      const url = result.prUrl === null ? null : pullRequestUrl(result.prUrl);
      if (url !== null && end.project !== null) {
        const { jobId, workerId } = result.fence;
        pulls.push({ url, project: end.project, jobId, workerId, isCounted: end.opensPullRequest });
      }
    } else stale.push(result);
  }
  await pausePools(
    tx,
    [...settled.values()].flatMap(({ poolPark }) => poolPark ?? []),
  );
  if (pulls.length > 0) await countPullRequests(tx, pulls);
  for (const [id, answer] of await explainStale(tx, stale)) answers.set(id, answer);
  const returns = [...settled.values()].some(({ transition }) => !isTerminal(transition.state));
  return { answers, release, returns };
}

function isPoolPark({ event }: LeaseResult): boolean {
  return event.type === "parked" && event.isPool === true;
}

// A new one takes the place under the cap of its project that the lease of its job gave back.
async function countPullRequests(tx: OrgTx, pulls: readonly NewPullRequest[]): Promise<void> {
  const places = new Map<string, number>();
  for (const row of await tx.run(insertPullRequests(tx.orgId, pulls))) {
    if (row["counted"] !== true) continue;
    const gate = `project:${row["project"]}`;
    places.set(gate, (places.get(gate) ?? 0) - 1);
  }
  if (places.size > 0) await tx.run(leaveGates(tx.orgId, places));
}

interface Settled {
  readonly transition: Transition;
  readonly project: string | null;
  readonly poolPark: PoolPark | null;
  readonly opensPullRequest: boolean;
}

interface SettledAll {
  /** By lease id, what was done. */
  readonly settled: ReadonlyMap<string, Settled>;
  readonly release: Release;
}

const nothingSettled: SettledAll = { settled: new Map(), release: noRelease };

// Locks what the fences still match, decides row by row, for those too that depend on what ends, and writes all.
async function settleLocked(
  c: LeaseContext,
  tx: OrgTx,
  fences: readonly Fence[],
  eventOf: (job: LockedJob) => { readonly event: JobEvent; readonly remains: Remains } | null,
): Promise<SettledAll> {
  const rows = await tx.run(call(lockLeases, { ...fenceArrays(tx.orgId, fences), ...fenceBounds(fences) }));
  const settled = new Map<string, Settled>();
  const shapes: InternedShape[] = [];
  const parents: EndedJob[] = [];
  for (const row of rows) {
    const job = lockedJob(row);
    const end = eventOf(job);
    if (!end || job.leaseId === null) continue;
    // Refused: who judges an offer by an old view loses against an accept that is committed.
    const answer = settle(job, end.event, end.remains, c.random());
    if (!isSettled(answer)) continue;
    if (answer.shape) shapes.push(answer.shape);
    const { transition } = answer;
    const { project, opensPullRequest } = job;
    settled.set(job.leaseId, {
      transition,
      project,
      opensPullRequest,
      poolPark: poolParkOf(job, transition),
    });
    if (job.hasDependants && isTerminal(transition.state)) parents.push(transition);
  }
  const release = await releaseDependants(c, tx, parents);
  const transitions = [...[...settled.values()].map((one) => one.transition), ...release.transitions];
  const calls = [...release.calls, ...writeTransitions(tx.orgId, transitions, { n: 2, tally: c.newId() })];
  if (shapes.length > 0) calls.unshift(insertNewShapes(tx.orgId, shapes));
  await Promise.all(calls.map((one) => tx.run(one)));
  return { settled, release };
}

function poolParkOf(job: LockedJob, transition: Transition): PoolPark | null {
  if (!transition.isPoolParked || job.shape.pool === null) return null;
  const { reason, wakeInMs } = transition;
  return { pool: job.shape.pool, reason: reason ?? "", resumeAt: resumeTime(job.readAtMs, wakeInMs) };
}

// Zero rows means: the caller lost. Read why, and keep what it brought.
async function explainStale(tx: OrgTx, stale: readonly LeaseResult[]): Promise<Map<string, ResultAnswer>> {
  const answers = new Map<string, ResultAnswer>();
  if (stale.length === 0) return answers;
  const { results: applied, current } = await readAttemptsOf(
    tx,
    stale.map((result) => result.fence.jobId),
  );
  const late = stale.filter((result) => !applied.has(result.resultId));
  if (late.length > 0) {
    await tx.run(
      keepLateResults(
        tx.orgId,
        late.map((result) => ({ ...result, ...result.fence, outcome: outcomeOf(result) })),
      ),
    );
  }
  for (const result of stale) {
    answers.set(
      result.resultId,
      applied.has(result.resultId)
        ? { status: "duplicate" }
        : { status: "superseded", currentAttempt: current.get(result.fence.jobId) ?? 0 },
    );
  }
  return answers;
}

function outcomeOf({ event }: LeaseResult): Outcome {
  return event.type === "failed" && event.isTimedOut ? Outcome.timedOut : Outcome[event.type];
}
