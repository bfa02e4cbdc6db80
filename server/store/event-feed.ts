import { keepChangesMs, readHorizon, whyUnreadable } from "./changes.ts";
import type { Tx } from "./database.ts";
import { and, asc, eq, gte, inArray, lte, sql } from "./drizzle.ts";
import { nilUuid } from "./names.ts";
import { attempts, changes, jobs } from "./schema.ts";
import { events } from "./schema-events.ts";

/** A place in the feed: after one element of one row. Elements count from 0. */
export interface FeedPlace {
  readonly xid: bigint;
  readonly n: number;
  readonly element: number;
}

/** A transition, with its place in the feed. */
export interface FedChange {
  readonly place: FeedPlace;
  readonly at: Date;
  readonly jobId: string;
  readonly state: number;
  readonly attempt: number;
  readonly workerId: string | null;
}

/** Something else that happened, with its place in the feed. */
export interface FedEvent {
  readonly place: FeedPlace;
  readonly at: Date;
  readonly type: string;
  readonly jobId: string | null;
  readonly attempt: number | null;
  readonly workerId: string | null;
  readonly project: string | null;
  readonly data: Readonly<Record<string, unknown>>;
  /** What `data` takes as JSON. */
  readonly bytes: number;
}

/** A piece of the feed. */
export type FeedPiece =
  | { readonly resetCause: "too-old" | "other-epoch"; readonly epoch: number; readonly end: FeedPlace }
  | {
      readonly resetCause: null;
      readonly epoch: number;
      readonly items: readonly (FedChange | FedEvent)[];
      /** Where to go on. */
      readonly end: FeedPlace;
      /** Nothing is known beyond it now. */
      readonly isWhole: boolean;
    };

/** How much of the feed is read. */
export interface PieceOptions {
  readonly limit: number;
  /** What is younger is still there. Default: as for watchers. */
  readonly keepMs?: number;
}

/** Rows of the feed that one piece is made of at most. */
const pieceRows = 100;

/** Events of a transaction stand behind its transitions, as the elements of a row of this number. */
const eventsRow = 32_000;

/** The place behind all that is committed below the oldest transaction that still runs. */
export async function readEnd(tx: Tx): Promise<{ readonly epoch: number; readonly end: FeedPlace }> {
  const { epoch, xmin } = await readHorizon(tx);
  return { epoch, end: beforeAll(BigInt(xmin)) };
}

/** The place before the first row of the feed that is not older than a time; the end when there is none. */
export async function findPlace(
  tx: Tx,
  orgId: string,
  since: Date,
): Promise<{ readonly epoch: number; readonly end: FeedPlace }> {
  const { epoch, xmin } = await readHorizon(tx);
  const [change] = await tx
    .select({ xid: sql<string>`${changes.xid}::text` })
    .from(changes)
    .where(and(eq(changes.orgId, orgId), gte(changes.at, since), sql`${changes.xid} < ${xmin}::xid8`))
    .orderBy(asc(changes.xid), asc(changes.n))
    .limit(1);
  const [event] = await tx
    .select({ xid: sql<string>`${events.xid}::text` })
    .from(events)
    .where(and(eq(events.orgId, orgId), gte(events.at, since), sql`${events.xid} < ${xmin}::xid8`))
    .orderBy(asc(events.xid), asc(events.eventId))
    .limit(1);
  const firsts = [change, event].flatMap((row) => (row === undefined ? [] : [BigInt(row.xid)]));
  const first = firsts.reduce((least, one) => (one < least ? one : least), BigInt(xmin));
  return { epoch, end: beforeAll(first) };
}

/**
 * Reads on from a place, in the order of transaction ids, only below the oldest transaction that still runs: nothing
 * can come in before what was read. At most `limit` items, and, save for a single larger one, 2 MiB of data.
 */
export async function readPiece(
  tx: Tx,
  orgId: string,
  from: { readonly epoch: number; readonly place: FeedPlace },
  { limit, keepMs = keepChangesMs }: PieceOptions,
): Promise<FeedPiece> {
  const { epoch, xmin } = await readHorizon(tx);
  const whole = beforeAll(BigInt(xmin));
  const { place } = from;
  const resetCause = await whyUnreadable(tx, orgId, { epoch: from.epoch, xid: place.xid }, { epoch, keepMs });
  if (resetCause !== null) return { resetCause, epoch, end: whole };
  const moved = await readChangesFrom(tx, orgId, place, xmin);
  const told = await readEventsFrom(tx, orgId, place, xmin);
  // Beyond the last row that was read of either there may be others that come first.
  const lasts = [moved, told].flatMap(({ last, isFull }) => (isFull && last !== undefined ? [last] : []));
  const all = [...moved.items, ...told.items]
    .filter((one) => isAfter(one.place, place) && lasts.every((last) => !isAfter(one.place, last)))
    .sort((a, b) => (isAfter(a.place, b.place) ? 1 : -1));
  const items = withinBytes(all.slice(0, limit));
  const isWhole = lasts.length === 0 && items.length === all.length;
  const end = isWhole && BigInt(xmin) > place.xid ? whole : (items.at(-1)?.place ?? place);
  return { resetCause: null, epoch, items, end, isWhole };
}

function withinBytes<T extends FedChange | FedEvent>(items: readonly T[]): readonly T[] {
  let bytes = 0;
  const end = items.findIndex((item) => {
    bytes += "bytes" in item ? item.bytes : 0;
    return bytes > mostBytes;
  });
  return end === -1 ? items : items.slice(0, Math.max(1, end));
}

async function readChangesFrom(tx: Tx, orgId: string, place: FeedPlace, xmin: string) {
  const rows = await tx
    .select()
    .from(changes)
    .where(
      and(
        eq(changes.orgId, orgId),
        // The row itself, too: it may have been told in part.
        sql`(${changes.xid}, ${changes.n}) >= (${String(place.xid)}::xid8, ${place.n}::smallint)`,
        sql`${changes.xid} < ${xmin}::xid8`,
      ),
    )
    .orderBy(asc(changes.xid), asc(changes.n))
    .limit(pieceRows);
  const items = rows.flatMap((row) =>
    row.jobIds.map((jobId, element): FedChange => {
      const workerId = row.workerIds[element];
      return {
        place: { xid: BigInt(row.xid), n: row.n, element },
        at: row.at,
        jobId,
        state: row.states[element] ?? 0,
        attempt: row.attempts[element] ?? 0,
        workerId: workerId === undefined || workerId === nilUuid ? null : workerId,
      };
    }),
  );
  return { items, last: items.at(-1)?.place, isFull: rows.length === pieceRows };
}

async function readEventsFrom(tx: Tx, orgId: string, place: FeedPlace, xmin: string) {
  const rows = await tx
    .select({
      xid: sql<string>`${events.xid}::text`,
      element: sql<number>`(row_number() over (partition by ${events.xid} order by ${events.eventId}) - 1)::int`,
      at: events.at,
      type: events.type,
      jobId: events.jobId,
      attempt: events.attempt,
      workerId: events.workerId,
      project: events.project,
      bytes: sql<number>`octet_length(${events.data}::text)`,
      // Beyond so many bytes without it: what is read at once has to fit into memory.
      data: sql<Record<string, unknown> | null>`case when sum(octet_length(${events.data}::text))
        over (order by ${events.xid}, ${events.eventId}) <= ${mostBytesRead} then ${events.data} end`.mapWith(
        events.data,
      ),
    })
    .from(events)
    .where(
      and(
        eq(events.orgId, orgId),
        sql`${events.xid} >= ${String(place.xid)}::xid8`,
        sql`${events.xid} < ${xmin}::xid8`,
      ),
    )
    .orderBy(asc(events.xid), asc(events.eventId))
    // All of one transaction: else those behind a place within it might never be reached.
    .limit(pieceRows + mostEventsOfOne);
  const items = rows.flatMap(({ xid, element, data, ...row }): FedEvent[] =>
    data === null ? [] : [{ place: { xid: BigInt(xid), n: eventsRow, element }, ...row, data }],
  );
  const isFull = rows.length === pieceRows + mostEventsOfOne || items.length < rows.length;
  return { items, last: items.at(-1)?.place, isFull };
}

/** Bytes of data that one piece has, and that are read for it: more than one transaction writes. */
const mostBytes = 2 * 1024 * 1024;
const mostBytesRead = 8 * 1024 * 1024;

/** Events that one transaction writes at most. */
const mostEventsOfOne = 2_500;

/** What the events of jobs tell of them. Jobs that were removed are not among them. */
export async function readEventJobs(tx: Tx, orgId: string, jobIds: readonly string[]) {
  const { low, high, ids } = bounds(jobIds);
  if (low === undefined || high === undefined) return [];
  return tx
    .select({
      jobId: jobs.jobId,
      createdAt: jobs.createdAt,
      batchId: jobs.batchId,
      queue: jobs.queue,
      kind: jobs.kind,
      project: jobs.project,
      target: jobs.target,
      labels: jobs.labels,
      title: jobs.title,
      externalId: jobs.externalId,
    })
    .from(jobs)
    .where(and(eq(jobs.orgId, orgId), inArray(jobs.jobId, ids), gte(jobs.jobId, low), lte(jobs.jobId, high)));
}

/** A job as its events tell it. */
export type EventJob = Awaited<ReturnType<typeof readEventJobs>>[number];

/** How attempts of jobs ended: more than were asked for, where jobs have several. */
export async function readEventAttempts(
  tx: Tx,
  orgId: string,
  of: readonly { readonly jobId: string; readonly attempt: number }[],
) {
  const { low, high, ids } = bounds(of.map(({ jobId }) => jobId));
  if (low === undefined || high === undefined) return [];
  return tx
    .select({
      jobId: attempts.jobId,
      attempt: attempts.attempt,
      outcome: attempts.outcome,
      workerId: attempts.workerId,
      errorCode: attempts.errorCode,
      errorMessage: attempts.errorMessage,
      reason: attempts.reason,
      prUrl: attempts.prUrl,
      sessionId: attempts.sessionId,
    })
    .from(attempts)
    .where(
      and(
        eq(attempts.orgId, orgId),
        inArray(attempts.jobId, ids),
        gte(attempts.jobId, low),
        lte(attempts.jobId, high),
        inArray(attempts.attempt, [...new Set(of.map(({ attempt }) => attempt))]),
      ),
    );
}

/** How an attempt ended, as events tell it. */
export type EventAttempt = Awaited<ReturnType<typeof readEventAttempts>>[number];

/** Whether a place comes after another. */
export function isAfter(one: FeedPlace, other: FeedPlace): boolean {
  if (one.xid !== other.xid) return one.xid > other.xid;
  if (one.n !== other.n) return one.n > other.n;
  return one.element > other.element;
}

// Numbers of rows begin with 1.
function beforeAll(xid: bigint): FeedPlace {
  return { xid, n: 0, element: 0 };
}

function bounds(jobIds: readonly string[]) {
  const ids = [...new Set(jobIds)].sort();
  return { ids, low: ids.at(0), high: ids.at(-1) };
}
