import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type {
  EventFilter as EventFilterMessage,
  EventFilterSchema,
  EventSchema,
  EventService,
} from "@muster/client/v1/event_service";
import { readEvents, watchEvents } from "../dispatch/event-feed.ts";
import { type FeedEventPage, type FeedStart, readFeedPlace } from "../domain/event-feed.ts";
import { checkedState } from "../domain/job-views.ts";
import { anyEvent, type EventFilter, type FeedEvent } from "../domain/rules/event-filter.ts";
import { patternViolations } from "../domain/rules/event-types.ts";
import { textViolations } from "../domain/rules/texts.ts";
import { callerOf } from "./auth.ts";
import {
  type Problems,
  readDurationIn,
  readOptionalId,
  readTime,
  refuseProblems,
  writeId,
  writeTime,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { throwIfEnded } from "./waiting.ts";
import { waitBounds } from "./watches.ts";

/** `muster.v1.EventService`. */
export function eventService({ watches }: ApiParts): ServiceImpl<typeof EventService> {
  return {
    async *watchEvents(request, context) {
      const { orgId } = callerOf(context);
      const problems: Problems = [];
      const filter = readEventFilter(problems, "filter", request.filter);
      const start = readStart(problems, request);
      refuseProblems(problems);
      const { signal } = context;
      for await (const page of watchEvents(watches, { orgId, filter, start }, signal))
        yield pageMessage(page);
      throwIfEnded(signal);
    },

    async readEvents(request, context) {
      const { orgId } = callerOf(context);
      const problems: Problems = [];
      const filter = readEventFilter(problems, "filter", request.filter);
      const start = readStart(problems, request);
      const waitMs = readDurationIn(problems, "wait", request.wait, waitBounds);
      const { pageSize } = request;
      if (pageSize < 0 || pageSize > mostEvents)
        problems.push({ field: "pageSize", message: `must be from 0 to ${mostEvents}` });
      refuseProblems(problems);
      const limit = pageSize === 0 ? standardEvents : pageSize;
      const page = await readEvents(watches, { orgId, filter, start }, { waitMs, limit }, context.signal);
      throwIfEnded(context.signal);
      return { ...pageMessage(page), hasMore: !page.isWhole };
    },
  };
}

const standardEvents = 100;
const mostEvents = 500;

/** Which events a request means. */
export function readEventFilter(
  problems: Problems,
  field: string,
  asked: EventFilterMessage | undefined,
): EventFilter {
  if (asked === undefined) return anyEvent;
  const { types, queue, kind, project, sessionId, labels } = asked;
  problems.push(...patternViolations(`${field}.types`, types));
  for (const [name, text] of Object.entries({ queue, kind, project, sessionId }))
    problems.push(...textViolations(`${field}.${name}`, text, { min: 0, max: 200 }));
  if (Object.keys(labels).length > mostLabels)
    problems.push({ field: `${field}.labels`, message: `must have at most ${mostLabels} labels` });
  return {
    ...{ types, queue, kind, project, sessionId, labels },
    jobId: readOptionalId(problems, "job", asked.jobId, `${field}.jobId`),
    batchId: readOptionalId(problems, "batch", asked.batchId, `${field}.batchId`),
    workerId: readOptionalId(problems, "worker", asked.workerId, `${field}.workerId`),
  };
}

const mostLabels = 50;

/** A filter as a message. */
export function eventFilterMessage(filter: EventFilter): MessageInitShape<typeof EventFilterSchema> {
  const { types, queue, kind, project, sessionId, labels, jobId, batchId, workerId } = filter;
  return {
    ...{ types: [...types], queue, kind, project, sessionId, labels },
    jobId: writeId("job", jobId),
    batchId: writeId("batch", batchId),
    workerId: writeId("worker", workerId),
  };
}

function readStart(
  problems: Problems,
  { revision, since }: { readonly revision: string; readonly since?: Timestamp | undefined },
): FeedStart {
  if (revision !== "" && readFeedPlace(revision) === null)
    problems.push({ field: "revision", message: "is not one that was answered" });
  return { revision, since: readTime(problems, "since", since) };
}

function pageMessage({ resetCause, events, revision }: FeedEventPage) {
  return { resetCause: resetCause ?? "", events: events.map(eventMessage), revision };
}

function eventMessage(event: FeedEvent): MessageInitShape<typeof EventSchema> {
  const { eventId, type, attempt, queue, kind, project, sessionId, labels } = event;
  return {
    ...{ eventId, type, attempt, queue, kind, project, sessionId, labels },
    time: writeTime(event.at),
    jobId: writeId("job", event.jobId),
    ...(event.state === null ? {} : { state: checkedState(event.state) }),
    workerId: writeId("worker", event.workerId),
    batchId: writeId("batch", event.batchId),
    data: jsonObject(event.data),
  };
}

// Safe: it is made of texts, and of what came out of jsonb columns.
function jsonObject(data: Readonly<Record<string, unknown>>): JsonObject {
  return data as JsonObject;
}
