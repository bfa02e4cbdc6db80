import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { encodeId } from "../domain/ids.ts";
import { isWorkerMatch } from "../domain/rules/worker-filter.ts";
import type { WorkerState } from "../domain/rules/worker-states.ts";
import type { WorkerListing } from "../domain/worker-lists.ts";
import type { ListedWorker, WorkerReading } from "../domain/worker-readings.ts";
import type { WorkerView } from "../domain/workers.ts";
import type { ResetCause } from "./job-watch.ts";
import type { Watches } from "./watches.ts";

/** Workers in one state. */
export interface WorkerStateCount {
  readonly state: WorkerState;
  readonly count: number;
}

/** What a watcher of a page of workers is told. */
export type WorkerWatchEvent =
  | { readonly type: "reset"; readonly cause: ResetCause }
  | {
      readonly type: "snapshot";
      readonly workers: readonly WorkerView[];
      readonly revision: string;
      readonly nextPageToken: string;
      readonly previousPageToken: string;
      readonly counts: readonly WorkerStateCount[];
    }
  | {
      readonly type: "delta";
      readonly workers: readonly WorkerView[];
      readonly leftIds: readonly string[];
      readonly revision: string;
      /** When they are others than told before. */
      readonly counts: readonly WorkerStateCount[] | null;
    }
  | { readonly type: "alive" };

/** What to watch. */
export interface WorkerWatchRequest {
  readonly orgId: string;
  readonly listing: WorkerListing;
  /** Empty: begin with a snapshot. */
  readonly resumeRevision: string;
  readonly intervalMs: number;
}

/** Silence after which a watcher is told that it is still watching. */
const aliveMs = 15_000;

/**
 * Tells a page of workers by name, and what becomes of it, until the signal is aborted. All watchers of an org share
 * one reading a second; each is told how that differs from what it was told.
 */
export async function* watchWorkers(
  watches: Watches,
  { orgId, listing, resumeRevision, intervalMs }: WorkerWatchRequest,
  signal: AbortSignal,
): AsyncGenerator<WorkerWatchEvent> {
  using _place = watches.enter(orgId);
  const { nowMs, coordinator } = watches;
  const isOf = (revision: string) => revision.startsWith(`${coordinator.coordinatorId}.`);
  let told = new Map<string, string>();
  let toldCounts = "";
  let spokeMs = nowMs();
  let page = pageOf(await watches.workers.read(orgId), listing);
  const known = resumeRevision === "" ? null : parseRevision(resumeRevision);
  const isResumed =
    known !== null && isOf(resumeRevision) && known.page === page.digest && page.goesBackTo(known.number);
  const revision = () => `${coordinator.coordinatorId}.${page.number}.${page.digest}`;
  if (isResumed && known !== null) {
    const workers = page.rows.filter((one) => one.changedAt > known.number).map((one) => one.worker);
    yield { type: "delta", workers, leftIds: [], revision: revision(), counts: page.counts };
  } else {
    if (resumeRevision !== "")
      yield { type: "reset", cause: isOf(resumeRevision) ? "too-old" : "other-epoch" };
    const { nextPageToken, previousPageToken, counts } = page;
    const workers = page.rows.map((one) => one.worker);
    yield { type: "snapshot", workers, revision: revision(), nextPageToken, previousPageToken, counts };
  }
  for (;;) {
    told = new Map(page.rows.map((one) => [one.worker.workerId, one.digest]));
    toldCounts = JSON.stringify(page.counts);
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    page = pageOf(await watches.workers.read(orgId), listing);
    const here = new Set(page.rows.map((one) => one.worker.workerId));
    const workers = page.rows.filter((one) => told.get(one.worker.workerId) !== one.digest);
    const leftIds = [...told.keys()].filter((id) => !here.has(id));
    const hasCounts = JSON.stringify(page.counts) !== toldCounts;
    if (workers.length + leftIds.length > 0 || hasCounts) {
      const views = workers.map((one) => one.worker);
      yield {
        type: "delta",
        workers: views,
        leftIds,
        revision: revision(),
        counts: hasCounts ? page.counts : null,
      };
      spokeMs = nowMs();
    } else if (nowMs() - spokeMs >= aliveMs) {
      yield { type: "alive" };
      spokeMs = nowMs();
    }
  }
}

function pageOf(reading: WorkerReading, { terms, limit, anchor, tokenOf }: WorkerListing) {
  const facts = (one: ListedWorker) => ({ ...one, shownId: encodeId("worker", one.worker.workerId) });
  const isNamed = (name: string) =>
    anchor === null || (anchor.isBefore ? name < anchor.name : name > anchor.name);
  const all = reading.workers.filter((one) => isWorkerMatch(terms, facts(one))).sort(byName);
  const beyond = all.filter((one) => isNamed(one.worker.name));
  const rows = anchor?.isBefore ? beyond.slice(-limit) : beyond.slice(0, limit);
  const [first, last] = [rows[0]?.worker.name, rows.at(-1)?.worker.name];
  const stateless = terms.filter((term) => term.type !== "word");
  const counts = new Map<WorkerState, number>();
  for (const one of reading.workers.filter((worker) => isWorkerMatch(stateless, facts(worker)))) {
    counts.set(one.worker.state, (counts.get(one.worker.state) ?? 0) + 1);
  }
  return {
    number: reading.number,
    goesBackTo: (number: number) => number >= reading.since && number <= reading.number,
    rows,
    digest: createHash("sha1")
      .update(JSON.stringify([terms, limit, anchor, rows.map((one) => one.worker.workerId)]))
      .digest("base64url"),
    counts: [...counts].map(([state, count]) => ({ state, count })).sort((a, b) => a.state - b.state),
    nextPageToken: last !== undefined && all.at(-1)?.worker.name !== last ? tokenOf("after", last) : "",
    previousPageToken: first !== undefined && all[0]?.worker.name !== first ? tokenOf("before", first) : "",
  };
}

function byName(a: ListedWorker, b: ListedWorker): number {
  return a.worker.name < b.worker.name ? -1 : 1;
}

function parseRevision(revision: string): { readonly number: number; readonly page: string } | null {
  const [, number, page] = /^[0-9a-f-]{36}\.(\d{1,15})\.([\w-]+)$/.exec(revision) ?? [];
  return number === undefined || page === undefined ? null : { number: Number(number), page };
}
