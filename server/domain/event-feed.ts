import type { Tx } from "../store/database.ts";
import {
  type EventAttempt,
  type EventJob,
  type FedChange,
  type FeedPlace,
  findPlace,
  readEnd,
  readEventAttempts,
  readEventJobs,
  readPiece,
} from "../store/event-feed.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Coordinator } from "./context.ts";
import { checkedState } from "./job-views.ts";
import { isTypeAmong, possibleTypes, submittedType, typeOfChange } from "./rules/event-types.ts";
import { isLeased, Outcome } from "./rules/states.ts";

/** Something that happened, as other services are told. */
export interface FeedEvent {
  /** `epoch.xid.n.element`: the same whenever it is read, and the revision that follows it. */
  readonly eventId: string;
  readonly type: string;
  readonly at: Date;
  readonly jobId: string | null;
  /** Null where it is about no job. */
  readonly state: number | null;
  readonly attempt: number;
  readonly workerId: string | null;
  readonly batchId: string | null;
  readonly queue: string;
  readonly kind: string;
  readonly project: string;
  readonly sessionId: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Which events are meant; empty texts and nulls ask nothing. */
export interface EventFilter {
  readonly types: readonly string[];
  readonly queue: string;
  readonly kind: string;
  readonly project: string;
  readonly jobId: string | null;
  readonly batchId: string | null;
  readonly workerId: string | null;
  readonly sessionId: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Every event. */
export const anyEvent: EventFilter = {
  ...{ types: [], queue: "", kind: "", project: "", sessionId: "", labels: {} },
  ...{ jobId: null, batchId: null, workerId: null },
};

/** Events in the order of their commits. */
export interface FeedEventPage {
  /** Events were missed: why. */
  readonly resetCause: "too-old" | "other-epoch" | null;
  readonly events: readonly FeedEvent[];
  readonly revision: string;
  /** Nothing is known beyond it now. */
  readonly isWhole: boolean;
}

/** Where to begin: at a revision, else at a time, else now. */
export interface FeedStart {
  readonly revision: string;
  readonly since: Date | null;
}

/** Reads the next events that match, of up to `limit` that happened. An unknown beginning is `readFeedPlace`'s to refuse. */
export function readFeedEvents(
  c: Pick<Coordinator, "db">,
  orgId: string,
  { revision, since }: FeedStart,
  filter: EventFilter,
  limit: number,
): Promise<FeedEventPage> {
  return readOrgByIndex(c.db.app, orgId, async (tx) => {
    const from = readFeedPlace(revision);
    if (from === null) {
      const { epoch, end } = since === null ? await readEnd(tx) : await findPlace(tx, orgId, since);
      return { resetCause: null, events: [], revision: writePlace(epoch, end), isWhole: since === null };
    }
    return readFeedEventsAt(tx, orgId, from, filter, limit);
  });
}

/** The same within a transaction, from a place. */
export async function readFeedEventsAt(
  tx: Tx,
  orgId: string,
  from: { readonly epoch: number; readonly place: FeedPlace },
  filter: EventFilter,
  limit: number,
): Promise<FeedEventPage> {
  const piece = await readPiece(tx, orgId, from, limit);
  const revision = writePlace(piece.epoch, piece.end);
  if (piece.resetCause !== null) {
    return { resetCause: piece.resetCause, events: [], revision, isWhole: true };
  }
  const candidates = piece.changes.filter((change) => isPossible(change, filter));
  const events = await eventsOf(tx, orgId, piece.epoch, candidates);
  return {
    resetCause: null,
    events: events.filter((event) => isMatch(event, filter)),
    revision,
    isWhole: piece.isWhole,
  };
}

/** A revision as a place; null when it is not one. That of another list, with three numbers, is behind its row. */
export function readFeedPlace(
  revision: string,
): { readonly epoch: number; readonly place: FeedPlace } | null {
  const match = /^(\d{1,15})\.(\d{1,19})\.(\d{1,5})(?:\.(\d{1,9}))?(?:~[\w-]{0,400})?$/.exec(revision);
  if (match === null) return null;
  const [, epoch = "", xid = "", n = "", element] = match;
  if (Number(n) > 32_767 || BigInt(xid) >= 2n ** 63n) return null;
  const place = { xid: BigInt(xid), n: Number(n), element: element === undefined ? 1e9 : Number(element) };
  return { epoch: Number(epoch), place };
}

function writePlace(epoch: number, { xid, n, element }: FeedPlace): string {
  return `${epoch}.${xid}.${n}.${Math.min(element, 999_999_999)}`;
}

// What the row of the feed alone tells of it.
function isPossible(change: FedChange, filter: EventFilter): boolean {
  if (filter.jobId !== null && filter.jobId !== change.jobId) return false;
  const types = possibleTypes({
    n: change.place.n,
    state: checkedState(change.state),
    attempt: change.attempt,
  });
  return types.some((type) => isTypeAmong(type, filter.types));
}

async function eventsOf(
  tx: Tx,
  orgId: string,
  epoch: number,
  changes: readonly FedChange[],
): Promise<FeedEvent[]> {
  const rows = await readEventJobs(
    tx,
    orgId,
    changes.map(({ jobId }) => jobId),
  );
  const byId = new Map(rows.map((row) => [row.jobId, row]));
  // While an attempt runs its end is not to be told, however late the event is read.
  const ended = changes.filter(({ state, attempt }) => attempt > 0 && !isLeased(state));
  const ends = await readEventAttempts(tx, orgId, ended);
  const byAttempt = new Map(ends.map((row) => [`${row.jobId}.${row.attempt}`, row]));
  return changes.map((change) => {
    const end = isLeased(change.state) ? undefined : byAttempt.get(`${change.jobId}.${change.attempt}`);
    return eventOf(epoch, change, byId.get(change.jobId), end);
  });
}

function eventOf(
  epoch: number,
  change: FedChange,
  job: EventJob | undefined,
  end: EventAttempt | undefined,
): FeedEvent {
  const { place, at, jobId, attempt, workerId } = change;
  const state = checkedState(change.state);
  const type = typeOfChange({ n: place.n, state });
  // A job and the first row about it are written by one statement: at one moment.
  const isNew =
    job !== undefined &&
    job.createdAt.getTime() === at.getTime() &&
    possibleTypes({ n: place.n, state, attempt }).includes(submittedType);
  return {
    eventId: writePlace(epoch, place),
    type: isNew ? submittedType : type,
    at,
    jobId,
    state,
    attempt,
    workerId: workerId ?? end?.workerId ?? null,
    batchId: job?.batchId ?? null,
    queue: job?.queue ?? "",
    kind: job?.kind ?? "",
    project: job?.project ?? "",
    sessionId: end?.sessionId ?? sessionOf(job?.target ?? ""),
    labels: job?.labels ?? {},
    data: { ...told(job), ...(end === undefined ? {} : toldOfEnd(end)) },
  };
}

function told(job: EventJob | undefined): Record<string, unknown> {
  if (job === undefined) return {};
  return {
    ...(job.title === "" ? {} : { title: job.title }),
    ...(job.externalId === null ? {} : { externalId: job.externalId }),
  };
}

function toldOfEnd({
  outcome,
  errorCode,
  errorMessage,
  reason,
  prUrl,
}: EventAttempt): Record<string, unknown> {
  return {
    outcome: outcomeNames.get(outcome) ?? String(outcome),
    ...(errorCode === null ? {} : { errorCode }),
    ...(errorMessage === null ? {} : { errorMessage }),
    ...(reason === null ? {} : { reason }),
    ...(prUrl === null ? {} : { pullRequestUrl: prUrl }),
  };
}

const outcomeNames = new Map<number, string>(
  Object.entries(Outcome).map(([name, number]) => [
    number,
    name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ]),
);

function sessionOf(target: string): string {
  return target.startsWith("session:") ? target.slice("session:".length) : "";
}

function isMatch(event: FeedEvent, filter: EventFilter): boolean {
  const is = (asked: string, value: string) => asked === "" || asked === value;
  const isId = (asked: string | null, value: string | null) => asked === null || asked === value;
  return (
    isTypeAmong(event.type, filter.types) &&
    is(filter.queue, event.queue) &&
    is(filter.kind, event.kind) &&
    is(filter.project, event.project) &&
    is(filter.sessionId, event.sessionId) &&
    isId(filter.jobId, event.jobId) &&
    isId(filter.batchId, event.batchId) &&
    isId(filter.workerId, event.workerId) &&
    Object.entries(filter.labels).every(([key, value]) => event.labels[key] === value)
  );
}
