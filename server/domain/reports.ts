import { encodeEvents, type StoredEvent } from "../store/event-codec.ts";
import { type EventChunk, keepChunks, keepProgress, type ProgressRow } from "../store/events.ts";
import { runInOrg, transact } from "../store/statement.ts";
import { type HandlerEventRow, keepHandlerEvents } from "../store/told-events.ts";
import { Batcher } from "./batcher.ts";
import { handlerEventRows } from "./handler-events.ts";
import type { Fence, LeaseContext } from "./leases.ts";
import { createEventBrake } from "./rules/handler-events.ts";
import { readAttemptsOf } from "./superseded.ts";

/** What an attempt said in one go: a run of events, progress, or both. */
export interface AttemptReport {
  readonly fence: Fence;
  /** Ascending by sequence. */
  readonly events: readonly StoredEvent[];
  readonly progress: { readonly fraction: number | null; readonly message: string } | null;
}

/**
 * What became of a report: kept, durably; or dropped, because the attempt ended itself and nothing more of it is
 * taken; or refused, because another attempt took over.
 */
export type ReportAnswer =
  | { readonly status: "kept" }
  | { readonly status: "late" }
  | { readonly status: "superseded"; readonly currentAttempt: number };

/** Bytes of text that one chunk holds at most, before compression. */
const chunkBytes = 64 * 1024;

/** What a handler's event weighs at least, and how many of them of a report: one flush tells less than 1,000. */
const eventWeight = 4_300;
const mostWeighed = 120;

/** A report with what others are told of it. */
type ToldReport = AttemptReport & { readonly told: readonly HandlerEventRow[] };

/** Makes the batcher of reports. `nowMs` is a clock that never goes back. */
export function createReportBatcher(
  c: LeaseContext,
  nowMs: () => number = () => performance.now(),
): Batcher<AttemptReport, ReportAnswer> {
  const brake = createEventBrake(nowMs);
  return new Batcher({
    maxWeight: 4 * 1024 * 1024,
    maxInFlight: 1,
    maxQueuedWeight: 64 * 1024 * 1024,
    weigh: ({ events }) => {
      const own = events.reduce((count, { type }) => (type === "event" ? count + 1 : count), 0);
      return events.reduce(
        (sum, event) => sum + weight(event),
        64 + Math.min(own, mostWeighed) * eventWeight,
      );
    },
    flush: (orgId, reports) => {
      const told = reports.map((one) => ({ ...one, told: handlerEventRows(brake, one) }));
      return commitReports(c, orgId, told);
    },
  });
}

async function commitReports(
  c: LeaseContext,
  orgId: string,
  reports: readonly ToldReport[],
): Promise<readonly ReportAnswer[]> {
  const current = await keep(c, orgId, reports);
  c.wakes.changed(
    orgId,
    reports.map((report) => report.fence.jobId),
  );
  const stale = reports.filter((report) => isSaid(report) && !current.has(report.fence.leaseId));
  if (stale.length === 0) return reports.map(() => ({ status: "kept" }));
  const jobs = stale.map((report) => report.fence.jobId);
  const known = await transact(c.db.hot, orgId, (tx) => readAttemptsOf(tx, jobs));
  // Its own result ended it: nobody took over. When it did so while `keep` waited for the row, `keep` saw neither the
  // lease nor its end; now it does.
  const ended = stale.filter(({ fence, events }) => known.ended.has(fence.leaseId) && events.length > 0);
  const tails = ended.map((report) => ({ ...report, progress: null }));
  for (const leaseId of await keep(c, orgId, tails)) current.add(leaseId);
  return reports.map((report): ReportAnswer => {
    const { jobId, leaseId } = report.fence;
    if (!isSaid(report) || current.has(leaseId)) return { status: "kept" };
    if (known.ended.has(leaseId)) return { status: "late" };
    return { status: "superseded", currentAttempt: known.current.get(jobId) ?? 0 };
  });
}

/** Keeps what is said under current leases, or under such as ended themselves lately; answers with those leases. */
async function keep(c: LeaseContext, orgId: string, reports: readonly ToldReport[]): Promise<Set<string>> {
  const byLease = Map.groupBy(reports, (report) => report.fence.leaseId);
  const chunks = [...byLease.values()].flatMap(chunksOf);
  const rows = [...byLease.values()].flatMap(latestProgress);
  const told = reports.flatMap((report) => report.told);
  const calls = [
    ...(chunks.length > 0 ? [keepChunks(orgId, chunks)] : []),
    ...(told.length > 0 ? [keepHandlerEvents(orgId, told)] : []),
    ...(rows.length > 0 ? [keepProgress(orgId, rows)] : []),
  ];
  if (calls.length === 0) return new Set();
  const results = await runInOrg(c.db.hot, orgId, calls);
  // All statements name the leases that were current, whichever of them was asked.
  return new Set(results.flat().map((row) => String(row["lease"])));
}

function isSaid({ events, progress }: AttemptReport): boolean {
  return events.length > 0 || progress !== null;
}

function chunksOf(reports: readonly AttemptReport[]): EventChunk[] {
  const fence = reports[0]?.fence;
  if (!fence) return [];
  const bySequence = new Map(
    reports.flatMap((report) => report.events.map((event) => [event.sequence, event])),
  );
  const events = [...bySequence.values()].sort((a, b) => a.sequence - b.sequence);
  const chunks: EventChunk[] = [];
  let run: StoredEvent[] = [];
  let bytes = 0;
  const close = () => {
    const [first, last] = [run.at(0), run.at(-1)];
    if (!first || !last) return;
    const lastSequence = last.type === "gap" ? last.to : last.sequence;
    chunks.push({ ...fence, firstSequence: first.sequence, lastSequence, ...encodeEvents(run) });
    run = [];
    bytes = 0;
  };
  for (const event of events) {
    if (run.length > 0 && bytes + weight(event) > chunkBytes) close();
    run.push(event);
    bytes += weight(event);
  }
  close();
  return chunks;
}

function latestProgress(reports: readonly AttemptReport[]): ProgressRow[] {
  const latest = reports.findLast((report) => report.progress !== null);
  return latest?.progress ? [{ ...latest.fence, ...latest.progress }] : [];
}

function weight(event: StoredEvent): number {
  switch (event.type) {
    case "log":
    case "message":
      return event.text.length + 32;
    case "partial":
    case "event":
      return event.json.length + 32;
    case "gap":
      return 64;
  }
}
