import { encodeEvents, type StoredEvent } from "../store/event-codec.ts";
import { type EventChunk, keepChunks, keepProgress, type ProgressRow } from "../store/events.ts";
import { runInOrg } from "../store/statement.ts";
import { Batcher } from "./batcher.ts";
import type { Fence, LeaseContext } from "./leases.ts";

/** What an attempt said in one go: a run of events, progress, or both. */
export interface AttemptReport {
  readonly fence: Fence;
  /** Ascending by sequence. */
  readonly events: readonly StoredEvent[];
  readonly progress: { readonly fraction: number | null; readonly message: string } | null;
}

/** Bytes of text that one chunk holds at most, before compression. */
const chunkBytes = 64 * 1024;

/** Makes the batcher of reports. Answers whether the lease was current; then all is durable. */
export function createReportBatcher(c: LeaseContext): Batcher<AttemptReport, boolean> {
  return new Batcher({
    maxWeight: 4 * 1024 * 1024,
    maxInFlight: 1,
    maxQueuedWeight: 64 * 1024 * 1024,
    weigh: ({ events }) => events.reduce((sum, event) => sum + weight(event), 64),
    flush: (orgId, reports) => commitReports(c, orgId, reports),
  });
}

async function commitReports(
  c: LeaseContext,
  orgId: string,
  reports: readonly AttemptReport[],
): Promise<readonly boolean[]> {
  const byLease = Map.groupBy(reports, (report) => report.fence.leaseId);
  const chunks = [...byLease.values()].flatMap(chunksOf);
  const rows = [...byLease.values()].flatMap(latestProgress);
  const calls = [
    ...(chunks.length > 0 ? [keepChunks(orgId, chunks)] : []),
    ...(rows.length > 0 ? [keepProgress(orgId, rows)] : []),
  ];
  if (calls.length === 0) return reports.map(() => true);
  const results = await runInOrg(c.db.hot, orgId, calls);
  const current = new Set(chunks.length > 0 ? results[0]?.map((row) => String(row["lease"])) : []);
  c.wakes.changed(
    orgId,
    reports.map((report) => report.fence.jobId),
  );
  return reports.map((report) => report.events.length === 0 || current.has(report.fence.leaseId));
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
      return event.json.length + 32;
    case "gap":
      return 64;
  }
}
