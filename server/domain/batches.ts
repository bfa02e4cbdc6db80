import { type BatchRow, countLive, readBatches } from "../store/batches.ts";
import { inOrg } from "../store/database.ts";
import { readOrg } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { checkedState } from "./job-views.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageOf,
  pageRows,
  readPageToken,
  uuidForm,
} from "./pages.ts";
import { JobState } from "./rules/states.ts";

/** Jobs that were submitted atomically. */
export interface BatchView {
  readonly batchId: string;
  readonly title: string;
  readonly total: number;
  readonly pending: number;
  readonly succeeded: number;
  readonly cancelled: number;
  readonly dead: number;
  readonly createdAt: Date;
}

/** How many jobs are in a state. */
export interface StateCount {
  readonly state: JobState;
  readonly count: number;
}

/** A batch with its jobs counted by state, at the moment of the call. */
export interface CountedBatch extends BatchView {
  /** In the order of the states; those without jobs are left out. */
  readonly states: readonly StateCount[];
}

/** Reads how far a batch is. */
export async function getBatch(c: Coordinator, caller: Caller, batchId: string): Promise<CountedBatch> {
  const { orgId } = caller;
  const { batch, live } = await readOrg(c.db.app, orgId, async (tx) => {
    const [row] = await readBatches(tx, orgId, { batchId });
    if (row === undefined) throw notFound("BATCH_NOT_FOUND", encodeId("batch", batchId));
    return { batch: row, live: row.pending === 0 ? [] : await countLive(tx, orgId, row) };
  });
  const ended = [
    { state: JobState.succeeded, count: batch.succeeded },
    { state: JobState.cancelled, count: batch.cancelled },
    { state: JobState.dead, count: batch.dead },
  ];
  const states = [...live.map(({ state, count }) => ({ state: checkedState(state), count })), ...ended];
  return { ...batchView(batch), states: inOrder(states) };
}

/** Lists batches, newest first. */
export async function listBatches(
  c: Coordinator,
  caller: Caller,
  page: PageRequest,
): Promise<Page<BatchView>> {
  const { orgId } = caller;
  const identity: ListIdentity = { list: "batches", orgId };
  const limit = pageRows(page);
  const [before = null] = readPageToken(identity, page, [uuidForm]) ?? [];
  const rows = await inOrg(c.db.app, orgId, (tx) => readBatches(tx, orgId, { before, limit: limit + 1 }));
  return pageOf(rows, limit, identity, (row) => [row.batchId], batchView);
}

/** Counts in the order of the states, without those that are 0. */
export function inOrder(counts: readonly StateCount[]): StateCount[] {
  return counts.filter(({ count }) => count > 0).sort((a, b) => a.state - b.state);
}

function batchView({
  batchId,
  title,
  total,
  pending,
  succeeded,
  cancelled,
  dead,
  createdAt,
}: BatchRow): BatchView {
  return { batchId, title, total, pending, succeeded, cancelled, dead, createdAt };
}
