import { isLive, readAttemptEnds, readLease } from "../store/attempts.ts";
import type { Tx } from "../store/database.ts";
import type { StoredEvent } from "../store/event-codec.ts";
import { type EventPosition, readEventChunks } from "../store/event-reads.ts";
import { logTailMs } from "../store/events.ts";
import { hasJob } from "../store/job-views.ts";
import { readOrg } from "../store/snapshot.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { pageRows } from "./pages.ts";
import { type AttemptEnd, followingEvents, missingTail, type RecordedEvent } from "./rules/event-record.ts";

/** A page of the record of a job. */
export interface EventPage {
  readonly events: readonly RecordedEvent[];
  /** Where to go on; null when there is nothing more now. */
  readonly next: EventPosition | null;
  /** The run has ended, and nothing will be added to its record. */
  readonly isDone: boolean;
}

/**
 * Reads what the attempts of a job said, after a place (null: from the start), attempt by attempt, with what
 * is missing as gaps. The end of an attempt may arrive up to 60 s after its result: until it has, later
 * attempts are not shown, so that a reader who goes on from the last event misses nothing.
 *
 * A page has at most `limit` events (0 means 500, at most 5,000) and, save for a single larger one, 512 KiB
 * of text.
 */
export async function listJobEvents(
  c: Coordinator,
  caller: Caller,
  jobId: string,
  after: EventPosition | null,
  limit: number,
): Promise<EventPage> {
  const size = pageRows({ pageSize: limit, pageToken: "" }, { standard: 500, most: 5_000 });
  checkPosition(after);
  const from = after ?? { attempt: 0, sequence: 0 };
  const { orgId } = caller;
  return readOrg(c.db.app, orgId, async (tx) => {
    if (!(await hasJob(tx, orgId, jobId))) throw notFound("JOB_NOT_FOUND", encodeId("job", jobId));
    const ends = await attemptEnds(tx, orgId, jobId, from.attempt);
    const isRunLive = await isLive(tx, orgId, jobId);
    const page = openPage(size, from);
    let isSettled = true;
    for (const end of ends) {
      await readAttempt(tx, orgId, jobId, end.attempt, page);
      if (page.isFull()) break;
      const tail = missingTail(end, page.seenOf(end.attempt));
      if (tail !== null) page.add(tail);
      const isTailMissing = (end.lastSequence ?? Number.POSITIVE_INFINITY) > page.seenOf(end.attempt);
      if (end.isOpen && isTailMissing) {
        isSettled = false;
        break;
      }
    }
    return {
      events: page.events,
      next: page.isFull() ? page.position() : null,
      isDone: !isRunLive && isSettled && !page.isFull(),
    };
  });
}

/** How long after its result the record of an attempt may still grow. */
const mostText = 512 * 1024;
const chunksAtOnce = 16;

interface OpenPage {
  readonly events: readonly RecordedEvent[];
  /** The last event on it, or where it starts. */
  position(): EventPosition;
  /** An event did not fit any more. */
  isFull(): boolean;
  /** Adds an event, if there is room for it. */
  add(event: RecordedEvent): void;
  /** The last sequence of an attempt that is on it, or before it. */
  seenOf(attempt: number): number;
}

function openPage(size: number, from: EventPosition): OpenPage {
  const events: RecordedEvent[] = [];
  let position = from;
  let isFull = false;
  let text = 0;
  return {
    events,
    position: () => position,
    isFull: () => isFull,
    add(event) {
      const length = textOf(event).length;
      const isTooMuch = events.length > 0 && text + length > mostText;
      isFull ||= events.length >= size || isTooMuch;
      if (isFull) return;
      events.push(event);
      text += length;
      position = { attempt: event.attempt, sequence: event.sequence };
    },
    seenOf: (attempt) => (position.attempt === attempt ? position.sequence : 0),
  };
}

async function readAttempt(
  tx: Tx,
  orgId: string,
  jobId: string,
  attempt: number,
  page: OpenPage,
): Promise<void> {
  for (;;) {
    const after = { attempt, sequence: page.seenOf(attempt) };
    const rows = await readEventChunks(tx, orgId, jobId, { after, limit: chunksAtOnce });
    const chunks = rows.filter((row) => row.attempt === attempt);
    const stored = chunks.flatMap((chunk) => chunk.events);
    for (const event of followingEvents(attempt, after.sequence, stored)) page.add(event);
    const isStuck = page.seenOf(attempt) === after.sequence;
    if (page.isFull() || isStuck || chunks.length < chunksAtOnce) return;
  }
}

async function attemptEnds(tx: Tx, orgId: string, jobId: string, from: number): Promise<AttemptEnd[]> {
  const ended = await readAttemptEnds(tx, orgId, jobId, from);
  const ends = ended.map(({ attempt, lastSequence, endedAt, endedMsAgo }) => ({
    attempt,
    lastSequence,
    isOpen: lastSequence !== null && endedMsAgo < logTailMs,
    endedMs: endedAt.getTime(),
  }));
  const lease = await readLease(tx, orgId, jobId);
  if (lease === null) return ends;
  return [...ends, { attempt: lease.attempt, lastSequence: null, isOpen: true, endedMs: 0 }];
}

function textOf(event: StoredEvent): string {
  switch (event.type) {
    case "log":
    case "message":
      return event.text;
    case "partial":
    case "event":
      return event.json;
    case "gap":
      return "";
  }
}

function checkPosition(after: EventPosition | null): void {
  if (after === null) return;
  const isWhole = (value: number, most: number) => Number.isInteger(value) && value >= 0 && value <= most;
  if (isWhole(after.attempt, 2 ** 31 - 1) && isWhole(after.sequence, Number.MAX_SAFE_INTEGER)) return;
  throw invalidArgument([{ field: "after", message: "must have whole numbers from 0" }]);
}
