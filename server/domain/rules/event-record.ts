/** Something that an attempt said, as it is kept. */
export type StoredEvent = LogEvent | PartialEvent | MessageEvent | HandlerEvent | GapEvent;

interface Said {
  /** Rises within the attempt. */
  readonly sequence: number;
  /** When the coordinator took it, in milliseconds since 1970. */
  readonly timeMs: number;
}

/** A piece of the log. The numbers of the streams are those of the protocol. */
export interface LogEvent extends Said {
  readonly type: "log";
  readonly stream: LogStream;
  readonly level: string;
  readonly text: string;
}

/** The handler's own log, standard output, standard error, the worker itself. */
export type LogStream = 1 | 2 | 3 | 4;

/** A partial result, as JSON text. */
export interface PartialEvent extends Said {
  readonly type: "partial";
  readonly json: string;
}

/** A message to people or services. */
export interface MessageEvent extends Said {
  readonly type: "message";
  readonly text: string;
}

/** An event of a handler's own, for other services. */
export interface HandlerEvent extends Said {
  readonly type: "event";
  readonly name: string;
  /** Its body as JSON text. */
  readonly json: string;
}

/** Events that are missing, the first and the last of them, and why. */
export interface GapEvent extends Said {
  readonly type: "gap";
  readonly from: number;
  readonly to: number;
  readonly cause: string;
}

/** How far the record of an attempt reaches when nothing is missing. */
export interface AttemptEnd {
  readonly attempt: number;
  /** The last sequence that its result declared; null when there is none, or the attempt lasts. */
  readonly lastSequence: number | null;
  /** More may still come: what is missing at its end is not missing yet. */
  readonly isOpen: boolean;
  /** When it ended, in milliseconds since 1970; 0 while it lasts. */
  readonly endedMs: number;
}

/** An event with its attempt. */
export type RecordedEvent = StoredEvent & { readonly attempt: number };

/**
 * What comes next in the record of an attempt whose events were seen up to `seen`: events that are already
 * seen are left out, and sequences that are skipped become a gap. A worker says itself what it dropped; what
 * else is missing was left out by a limit.
 */
export function followingEvents(
  attempt: number,
  seen: number,
  stored: readonly StoredEvent[],
): RecordedEvent[] {
  const events: RecordedEvent[] = [];
  let expected = seen + 1;
  for (const event of stored) {
    const begin = event.type === "gap" ? Math.min(event.from, event.sequence) : event.sequence;
    const end = lastSequenceOf(event);
    if (end < expected) continue;
    if (begin > expected) events.push({ attempt, ...missing(expected, begin - 1, event.timeMs) });
    events.push({ attempt, ...event, sequence: end });
    expected = end + 1;
  }
  return events;
}

/** The gap between what was seen of an ended attempt and what its result declared; null when all is there. */
export function missingTail(end: AttemptEnd, seen: number): RecordedEvent | null {
  const { attempt, lastSequence, isOpen, endedMs } = end;
  if (isOpen || lastSequence === null || lastSequence <= seen) return null;
  return { attempt, ...missing(seen + 1, lastSequence, endedMs) };
}

/** The last sequence that an event accounts for. */
export function lastSequenceOf(event: StoredEvent): number {
  return event.type === "gap" ? Math.max(event.to, event.sequence) : event.sequence;
}

function missing(from: number, to: number, timeMs: number): GapEvent {
  return { type: "gap", sequence: to, timeMs, from, to, cause: "limit" };
}
