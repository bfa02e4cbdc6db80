import { readJobs } from "../store/job-views.ts";
import { readProjects } from "../store/projects.ts";
import { readOrg } from "../store/snapshot.ts";
import { readCoordinators, readOrgAndTime, readRunningIds, sumTallies } from "../store/status.ts";
import { tallyOf } from "../store/tallies.ts";
import { countWorkers, readWorkers, type WorkerCountRow } from "../store/workers.ts";
import { inOrder, type StateCount } from "./batches.ts";
import { createCache } from "./cache.ts";
import type { Caller, Coordinator } from "./context.ts";
import { notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type JobView, jobView } from "./job-views.ts";
import { type ProjectView, projectView } from "./projects.ts";
import { JobState } from "./rules/states.ts";
import { WorkerState } from "./rules/worker-states.ts";
import type { WorkerView } from "./workers.ts";

/** Workers by what they do. */
export interface WorkerCounts {
  /** Idle or busy. */
  readonly online: number;
  readonly busy: number;
  readonly idle: number;
  readonly draining: number;
  readonly quarantined: number;
  readonly pending: number;
  readonly stale: number;
  /** Not attached, the disabled ones too. */
  readonly offline: number;
  /** Slots and points of the attached ones, and of the leases that they hold. */
  readonly slots: number;
  readonly slotsUsed: number;
  readonly points: number;
  readonly pointsUsed: number;
}

/** Runs since the org began, and in the last 60 s. */
export interface FlowView {
  readonly submitted: number;
  readonly succeeded: number;
  readonly cancelled: number;
  readonly dead: number;
  readonly submittedLastMinute: number;
  readonly succeededLastMinute: number;
}

/** A coordinator of the cluster. */
export interface CoordinatorView {
  readonly coordinatorId: string;
  readonly apiAddress: string;
  readonly version: string;
  readonly startedAt: Date;
  readonly seenAt: Date;
  readonly links: number;
}

/** The whole of an org at a glance. */
export interface StatusView {
  readonly orgId: string;
  readonly org: string;
  readonly workers: WorkerCounts;
  /** In the order of the states; those without jobs are left out. Ended runs are counted, not ended jobs. */
  readonly jobs: readonly StateCount[];
  /** The first 1,000 by name. */
  readonly projects: readonly ProjectView[];
  readonly flow: FlowView;
  readonly coordinators: readonly CoordinatorView[];
  /** When it was read, by the database's clock. */
  readonly time: Date;
  /** The first 100 by name; empty unless asked for, like the next. */
  readonly workerList: readonly WorkerView[];
  /** The first 100, oldest first. */
  readonly running: readonly JobView[];
  /** What reading it took. */
  readonly databaseMs: number;
}

/** Reads the status of orgs for any number of watchers. */
export interface StatusReader {
  readStatus(caller: Pick<Caller, "orgId">, options: { readonly isDetailed: boolean }): Promise<StatusView>;
}

/**
 * Makes the reader. What one caller read is kept for others for 200 ms, or ten times as long as it took, up to 1 s, so
 * that watchers of a large org cost a tenth of a connection at most. `nowMs` is a clock that never goes back.
 */
export function createStatusReader(
  c: Pick<Coordinator, "db" | "config">,
  nowMs: () => number = () => performance.now(),
): StatusReader {
  const cache = createCache<StatusView>({
    maxAgeMs: (tookMs) => Math.min(1_000, Math.max(200, 10 * tookMs)),
    maxEntries: 1_000,
    nowMs,
  });
  return {
    readStatus: ({ orgId }, { isDetailed }) =>
      cache.get(`${orgId} ${isDetailed}`, () => readStatus(c, orgId, { isDetailed, nowMs })),
  };
}

const mostListed = 100;

async function readStatus(
  c: Pick<Coordinator, "db" | "config">,
  orgId: string,
  { isDetailed, nowMs }: { readonly isDetailed: boolean; readonly nowMs: () => number },
): Promise<StatusView> {
  const startedMs = nowMs();
  const { staleMs } = c.config;
  return readOrg(c.db.app, orgId, async (tx) => {
    const org = await readOrgAndTime(tx, orgId);
    if (org === null) throw notFound("ORG_NOT_FOUND", encodeId("org", orgId));
    const workers = workerCounts(await countWorkers(tx, orgId, staleMs));
    const sums = await sumTallies(tx, orgId);
    const { submitted, succeeded, cancelled, dead, submittedLastMinute, succeededLastMinute } = sums;
    const flow = { submitted, succeeded, cancelled, dead, submittedLastMinute, succeededLastMinute };
    const projects = await readProjects(tx, orgId, { afterName: null, limit: 1_000 });
    const coordinators = await readCoordinators(tx);
    const page = { afterName: null, isAttached: false, limit: mostListed };
    const workerList = isDetailed ? await readWorkers(tx, orgId, page, staleMs) : [];
    const ids = isDetailed ? await readRunningIds(tx, orgId, mostListed) : [];
    const running = (await readJobs(tx, orgId, ids, { isFull: false })).map(jobView);
    const jobs = Object.values(JobState).map((state) => ({ state, count: sums[tallyOf[state]] }));
    return {
      orgId,
      org: org.name,
      workers,
      jobs: inOrder(jobs),
      projects: projects.map(projectView),
      flow,
      coordinators,
      time: org.time,
      workerList,
      running: running.sort((a, b) => ids.indexOf(a.jobId) - ids.indexOf(b.jobId)),
      databaseMs: nowMs() - startedMs,
    };
  });
}

function workerCounts(rows: readonly WorkerCountRow[]): WorkerCounts {
  const of = (...states: WorkerState[]) => rows.filter((row) => states.includes(row.state));
  const sum = (field: Exclude<keyof WorkerCountRow, "state">, ...states: WorkerState[]) =>
    of(...states).reduce((total, row) => total + row[field], 0);
  const { idle, busy, draining, quarantined, pending, stale, offline, disabled } = WorkerState;
  const attached = [idle, busy, draining, quarantined, pending, stale];
  return {
    online: sum("workers", idle, busy),
    busy: sum("workers", busy),
    idle: sum("workers", idle),
    draining: sum("workers", draining),
    quarantined: sum("workers", quarantined),
    pending: sum("workers", pending),
    stale: sum("workers", stale),
    offline: sum("workers", offline, disabled),
    slots: sum("slots", ...attached),
    slotsUsed: sum("leases", ...attached),
    points: sum("points", ...attached),
    pointsUsed: sum("pointsUsed", ...attached),
  };
}
