import type { Row } from "postgres";
import {
  countDown,
  countEdges,
  deleteEdges,
  deleteEdgesTo,
  deleteReleases,
  insertReleases,
  readEdges,
  takeReleaseOf,
  takeReleases,
} from "../store/dependencies.ts";
import { lockJobs } from "../store/leases.ts";
import { type Call, call, type OrgTx, transactAgain } from "../store/statement.ts";
import { insertNewShapes } from "../store/submit.ts";
import type { Transition } from "../store/transition.ts";
import { writeTransitions } from "../store/transitions.ts";
import type { Coordinator } from "./context.ts";
import { encodeId } from "./ids.ts";
import { type LockedJob, lockedJob } from "./locked-job.ts";
import type { JobEvent } from "./rules/lifecycle.ts";
import { isTerminal, JobState } from "./rules/states.ts";
import { isSettled, noRemains, type Settled, settle } from "./settle.ts";
import type { ReadyCount } from "./submit.ts";

/*
 * What the end of a job does to those that depend on it: T2 and T17. A success counts down, and the last one opens; a
 * death or a cancel ends the child by its policy, which goes on to who depends on that. All this happens in the
 * transaction of the end, as long as it is little; else the end waits as a row of `releases` for a sweep, which takes
 * its edges away piece by piece. An edge goes in the transaction in which the end of its parent reached the child, so
 * each does so once.
 */

/** Children of one job that its own transaction releases at most. */
export const maxChildren = 100;

/** Children that one transaction releases at most, of all jobs that it ends and of those that end with them. */
export const maxReached = 1_000;

/** Ends that a sweep takes at a time at most. */
const maxTaken = 100;

/** The parts of a coordinator that this needs. */
export type DependantsContext = Pick<Coordinator, "db" | "newId" | "random" | "wakes">;

/** A job whose run has ended. */
export interface EndedJob {
  readonly jobId: string;
  /** The state that it came to. */
  readonly state: JobState;
}

/** What is to be written with the ends of jobs, in their transaction, and to be told after its commit. */
export interface Release {
  /** Children that change their state. */
  readonly transitions: readonly Transition[];
  readonly calls: readonly Call[];
  /** Children that are ready now. */
  readonly ready: readonly ReadyCount[];
  /** Ends were left to the sweep. */
  readonly leavesEnds: boolean;
}

/** Nobody waited. */
export const noRelease: Release = { transitions: [], calls: [], ready: [], leavesEnds: false };

/**
 * Decides what becomes of those that depend on jobs that end in this transaction, and locks them. The caller holds
 * the locks of the jobs themselves.
 *
 * @param own jobs that end in this transaction by themselves, whoever waits for whom: they are left alone.
 */
export async function releaseDependants(
  c: DependantsContext,
  tx: OrgTx,
  ended: readonly EndedJob[],
  own: ReadonlySet<string> = new Set(),
): Promise<Release> {
  if (ended.length === 0) return noRelease;
  const reach = new Reach(c, tx, own);
  await reach.follow(ended);
  return reach.release();
}

/** Tells what was released, after the commit. */
export function announceRelease(c: DependantsContext, orgId: string, release: Release): void {
  if (release.ready.length > 0) c.wakes.ready(orgId, release.ready);
  if (release.leavesEnds) c.wakes.released(orgId);
  if (release.transitions.length > 0) {
    c.wakes.changed(
      orgId,
      release.transitions.map((one) => one.jobId),
    );
  }
}

/**
 * Takes ends that wait to up to 1,000 of those that depend on their jobs: of several ends those that have few, or of
 * the oldest a part. Any number of coordinators may do so at once, and stop at any point.
 *
 * @param jobId of this job, waiting for whoever does it now; null: of any jobs that nobody else has taken.
 * @returns whether there was one.
 */
export async function drainReleases(
  c: DependantsContext,
  orgId: string,
  jobId: string | null,
): Promise<boolean> {
  const release = await transactAgain(c.db.hot, orgId, async (tx): Promise<Release | null> => {
    const taking = jobId === null ? call(takeReleases, { org: orgId, limit: maxTaken }) : ofJob(orgId, jobId);
    const taken = (await tx.run(taking)).map(
      (row): EndedJob => ({ jobId: String(row["parent"]), state: stateOf(row["state"]) }),
    );
    const [oldest] = taken;
    if (!oldest) return null;
    const few = taken.length === 1 ? [] : await fitting(tx, taken, maxReached);
    const ends = few.includes(oldest) ? few : [oldest];
    const parents = ends.map((end) => end.jobId);
    const rows = await tx.run(call(readEdges, { org: orgId, parents, limit: maxReached }));
    const edges = edgesOf(rows, ends);
    const reach = new Reach(c, tx);
    await reach.follow(await reach.reached(edges));
    const isAll = ends === few || rows.length < maxReached;
    const children = edges.map(({ child }) => child);
    const own = isAll
      ? [call(deleteEdges, { org: orgId, parents }), call(deleteReleases, { org: orgId, parents })]
      : [call(deleteEdgesTo, { org: orgId, parent: oldest.jobId, children })];
    const found = reach.release();
    const writes = writeTransitions(orgId, found.transitions, { n: 1, tally: c.newId() });
    await Promise.all([...found.calls, ...writes, ...own].map((one) => tx.run(one)));
    return found;
  });
  if (release) announceRelease(c, orgId, release);
  return release !== null;
}

/** Whether the end of a job still waits; its row stays locked until the commit. */
export async function isReleasing(tx: OrgTx, jobId: string): Promise<boolean> {
  return (await tx.run(ofJob(tx.orgId, jobId))).length > 0;
}

function ofJob(org: string, parent: string): Call {
  return call(takeReleaseOf, { org, parent });
}

interface Edge {
  readonly parent: EndedJob;
  readonly child: string;
}

function edgesOf(rows: readonly Row[], ended: readonly EndedJob[]): Edge[] {
  const byId = new Map(ended.map((job) => [job.jobId, job]));
  return rows.flatMap((row): Edge[] => {
    const parent = byId.get(String(row["parent"]));
    return parent ? [{ parent, child: String(row["child"]) }] : [];
  });
}

// Those on whom at most 100 depend, as many as come to `most` together. Locks keep others from being added.
async function fitting(tx: OrgTx, ended: readonly EndedJob[], most: number): Promise<EndedJob[]> {
  const parents = ended.map(({ jobId }) => jobId);
  const rows = await tx.run(call(countEdges, { org: tx.orgId, parents, most: maxChildren + 1 }));
  const counts = new Map(rows.map((row) => [String(row["parent"]), Number(row["count"])]));
  let left = most;
  return ended.filter(({ jobId }) => {
    const count = counts.get(jobId) ?? 0;
    if (count > maxChildren || count > left) return false;
    left -= count;
    return true;
  });
}

/** A child whose row is locked. */
interface Child {
  readonly job: LockedJob;
  readonly ends: EndedJob[];
  settled: Settled | null;
}

/** How far ends reach within one transaction: each child is locked, and written, once. */
class Reach {
  readonly #c: DependantsContext;
  readonly #tx: OrgTx;
  readonly #children = new Map<string, Child>();
  readonly #done: string[] = [];
  readonly #left: EndedJob[] = [];
  readonly #own: ReadonlySet<string>;
  #budget = maxReached;

  constructor(c: DependantsContext, tx: OrgTx, own: ReadonlySet<string> = new Set()) {
    this.#c = c;
    this.#tx = tx;
    this.#own = own;
  }

  /** Goes on from jobs that end to who depends on them, level by level. */
  async follow(ended: readonly EndedJob[]): Promise<void> {
    const { orgId: org } = this.#tx;
    for (let level = ended; level.length > 0; ) {
      let reading = level;
      let rows = await this.#tx.run(call(readEdges, { org, parents: idsOf(level), limit: this.#budget + 1 }));
      if (rows.length > this.#budget) {
        reading = await fitting(this.#tx, level, this.#budget);
        this.#left.push(...level.filter((job) => !reading.includes(job)));
        rows = await this.#tx.run(call(readEdges, { org, parents: idsOf(reading), limit: this.#budget }));
      }
      const edges = edgesOf(rows, reading);
      const near: Edge[] = [];
      for (const [parent, own] of Map.groupBy(edges, (edge) => edge.parent)) {
        if (own.length > maxChildren) this.#left.push(parent);
        else {
          near.push(...own);
          this.#done.push(parent.jobId);
        }
      }
      this.#budget -= near.length;
      level = await this.reached(near);
    }
  }

  /** Ends have come to children. Answers those that ended by it and are waited for themselves. */
  async reached(all: readonly Edge[]): Promise<EndedJob[]> {
    const edges = all.filter(({ child }) => !this.#own.has(child));
    const unlocked = new Set(edges.map((edge) => edge.child).filter((child) => !this.#children.has(child)));
    const jobs = [...unlocked].sort();
    if (jobs.length > 0) {
      const bounds = { low: jobs.at(0), high: jobs.at(-1) };
      const rows = await this.#tx.run(call(lockJobs, { org: this.#tx.orgId, jobs, ...bounds }));
      for (const job of rows.map(lockedJob)) {
        this.#children.set(job.jobId, { job, ends: [], settled: null });
      }
    }
    const touched = new Set<Child>();
    for (const { parent, child: jobId } of edges) {
      const child = this.#children.get(jobId);
      // Gone meanwhile, or ended already by another of these ends.
      if (!child || hasEnded(child)) continue;
      child.ends.push(parent);
      touched.add(child);
    }
    const ended: EndedJob[] = [];
    for (const child of touched) {
      child.settled = settleChild(child, this.#c.random());
      if (!child.settled || !hasEnded(child) || !child.job.hasDependants) continue;
      ended.push({ jobId: child.job.jobId, state: child.settled.transition.state });
    }
    return ended;
  }

  /** What it all comes to. */
  release(): Release {
    const { orgId: org } = this.#tx;
    const settled = [...this.#children.values()].flatMap(({ job, settled: one }) =>
      one ? [{ job, ...one }] : [],
    );
    const moved = settled.filter(({ transition }) => transition.state !== transition.from);
    const counted = settled.filter(({ transition }) => transition.state === transition.from);
    const calls: Call[] = [];
    const shapes = moved.flatMap(({ shape }) => (shape ? [shape] : []));
    if (shapes.length > 0) calls.push(insertNewShapes(org, shapes));
    if (counted.length > 0) {
      calls.push(
        call(countDown, {
          org,
          jobs: counted.map(({ transition }) => transition.jobId),
          counts: counted.map(({ transition }) => transition.waitingOn),
        }),
      );
    }
    if (this.#done.length > 0) calls.push(call(deleteEdges, { org, parents: this.#done }));
    const left = this.#left.sort((a, b) => (a.jobId < b.jobId ? -1 : 1));
    if (left.length > 0) {
      const [parents, states] = [left.map(({ jobId }) => jobId), left.map(({ state }) => state)];
      calls.push(call(insertReleases, { org, parents, states }));
    }
    return {
      transitions: moved.map(({ transition }) => transition),
      calls,
      ready: countReady(moved),
      leavesEnds: left.length > 0,
    };
  }
}

// What opens joins the end of its line.
function countReady(moved: readonly (Settled & { readonly job: LockedJob })[]): ReadyCount[] {
  const counts = new Map<bigint, ReadyCount>();
  for (const { job, shape, transition } of moved) {
    if (transition.state !== JobState.ready) continue;
    const counted = counts.get(transition.shapeId);
    counts.set(transition.shapeId, {
      shape: shape ?? { ...job.shape, shapeId: job.shapeId },
      count: (counted?.count ?? 0) + 1,
      priority: Math.max(counted?.priority ?? 0, job.priority),
    });
  }
  return [...counts.values()];
}

function idsOf(jobs: readonly EndedJob[]): string[] {
  return jobs.map(({ jobId }) => jobId);
}

function hasEnded({ settled }: Child): boolean {
  return settled !== null && isTerminal(settled.transition.state);
}

// All ends that came to the child, as one event: those before the last only count.
function settleChild({ job, ends }: Child, random: number): Settled | null {
  const failed = ends.find(({ state }) => state !== JobState.succeeded);
  const event: JobEvent = failed
    ? { type: "dependency-ended", policy: job.dependencyPolicy }
    : { type: "dependency-succeeded" };
  const waitingOn = job.waitingOn === 0 ? 0 : Math.max(1, job.waitingOn - ends.length + 1);
  const isCancelled = failed !== undefined && job.dependencyPolicy === "cancel";
  const remains = isCancelled ? { ...noRemains, reason: reasonOf(failed) } : noRemains;
  const answer = settle({ ...job, waitingOn }, event, remains, random);
  // Refused: it waits for nobody any more, because it was cancelled, or replayed since.
  return isSettled(answer) ? answer : null;
}

function reasonOf({ jobId, state }: EndedJob): string {
  const how = state === JobState.dead ? "died" : "was cancelled";
  return `a job that it depends on ${how}: ${encodeId("job", jobId)}`;
}

// The column holds no other number: it is written from a transition.
function stateOf(value: unknown): JobState {
  return Number(value) as JobState;
}
