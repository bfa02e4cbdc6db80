import type { Tx } from "../store/database.ts";
import {
  type EventAttempt,
  type EventJob,
  type FedChange,
  type FedEvent,
  type FeedPlace,
  findPlace,
  type PieceOptions,
  readEnd,
  readEventAttempts,
  readEventJobs,
  readPiece,
} from "../store/event-feed.ts";
import { readOrgByIndex } from "../store/snapshot.ts";
import type { Coordinator } from "./context.ts";
import { checkedState } from "./job-views.ts";
import { type EventFilter, type FeedEvent, isEventMeant } from "./rules/event-filter.ts";
import { isTypeAmong, possibleTypes, submittedType, typeOfChange } from "./rules/event-types.ts";
import { isLeased, Outcome } from "./rules/states.ts";

/** Events in the order of their commits. */
export interface FeedEventPage {
  /** Events were missed: why. */
  readonly resetCause: "too-old" | "other-epoch" | null;
  readonly events: readonly FeedEvent[];
  readonly revision: string;
  /** Nothing is known beyond it now. */
  readonly isWhole: boolean;
}

/** The same, with the place that the revision is. */
export interface PlacedEventPage extends FeedEventPage {
  readonly epoch: number;
  readonly place: FeedPlace;
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
    return readFeedEventsAt(tx, orgId, from, filter, { limit });
  });
}

/** The same within a transaction, from a place. */
export async function readFeedEventsAt(
  tx: Tx,
  orgId: string,
  from: { readonly epoch: number; readonly place: FeedPlace },
  filter: EventFilter,
  options: PieceOptions,
): Promise<PlacedEventPage> {
  const piece = await readPiece(tx, orgId, from, options);
  const at = { epoch: piece.epoch, place: piece.end };
  const revision = writePlace(at.epoch, at.place);
  if (piece.resetCause !== null) {
    return { resetCause: piece.resetCause, events: [], revision, isWhole: true, ...at };
  }
  const candidates = piece.items.filter((item) => isPossible(item, filter));
  const told = await eventsOf(tx, orgId, piece.epoch, candidates);
  return {
    resetCause: null,
    events: told.filter((event) => isEventMeant(event, filter)),
    revision,
    isWhole: piece.isWhole,
    ...at,
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

/** A place as a revision. */
export function writePlace(epoch: number, { xid, n, element }: FeedPlace): string {
  return `${epoch}.${xid}.${n}.${Math.min(element, 999_999_999)}`;
}

// What the row of the feed alone tells of it.
function isPossible(item: FedChange | FedEvent, filter: EventFilter): boolean {
  if (filter.jobId !== null && filter.jobId !== item.jobId) return false;
  if ("type" in item) return isTypeAmong(item.type, filter.types);
  const { place, attempt } = item;
  const types = possibleTypes({ n: place.n, state: checkedState(item.state), attempt });
  return types.some((type) => isTypeAmong(type, filter.types));
}

async function eventsOf(
  tx: Tx,
  orgId: string,
  epoch: number,
  items: readonly (FedChange | FedEvent)[],
): Promise<FeedEvent[]> {
  const rows = await readEventJobs(
    tx,
    orgId,
    items.flatMap(({ jobId }) => (jobId === null ? [] : [jobId])),
  );
  const byId = new Map(rows.map((row) => [row.jobId, row]));
  // While an attempt runs its end is not to be told, however late the event is read.
  const ended = items.flatMap((one) =>
    "state" in one && one.attempt > 0 && !isLeased(one.state) ? [one] : [],
  );
  const ends = await readEventAttempts(tx, orgId, ended);
  const byAttempt = new Map(ends.map((row) => [`${row.jobId}.${row.attempt}`, row]));
  return items.map((item) => {
    if ("type" in item) return eventOfRow(epoch, item, byId.get(item.jobId ?? ""));
    const end = isLeased(item.state) ? undefined : byAttempt.get(`${item.jobId}.${item.attempt}`);
    return eventOf(epoch, item, byId.get(item.jobId), end);
  });
}

function eventOfRow(epoch: number, row: FedEvent, job: EventJob | undefined): FeedEvent {
  return {
    eventId: writePlace(epoch, row.place),
    type: row.type,
    at: row.at,
    jobId: row.jobId,
    state: null,
    attempt: row.attempt ?? 0,
    workerId: row.workerId,
    ...ofJob(job),
    project: row.project ?? job?.project ?? "",
    sessionId: sessionOf(job?.target ?? ""),
    data: { ...told(job), ...row.data },
  };
}

function ofJob(job: EventJob | undefined) {
  return {
    batchId: job?.batchId ?? null,
    queue: job?.queue ?? "",
    kind: job?.kind ?? "",
    project: job?.project ?? "",
    labels: job?.labels ?? {},
  };
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
    ...ofJob(job),
    sessionId: end?.sessionId ?? sessionOf(job?.target ?? ""),
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
