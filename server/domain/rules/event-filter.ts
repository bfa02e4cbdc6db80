import { isTypeAmong } from "./event-types.ts";

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

/** Whether an event is one that a filter means. */
export function isEventMeant(event: FeedEvent, filter: EventFilter): boolean {
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
