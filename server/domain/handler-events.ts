import { createHash } from "node:crypto";
import type { HandlerEventRow } from "../store/told-events.ts";
import type { AttemptReport } from "./reports.ts";
import { type EventBrake, handlerPrefix } from "./rules/handler-events.ts";

/** The last group of an id is the sequence. */
const mostSequence = 2 ** 48 - 1;

/** What others are told of the events that a handler said of its own. */
export function handlerEventRows(brake: EventBrake, { fence, events }: AttemptReport): HandlerEventRow[] {
  return events.flatMap((event) => {
    if (event.type !== "event" || event.sequence > mostSequence) return [];
    const dropped = brake.take(fence.leaseId);
    if (dropped === null) return [];
    const data = { body: JSON.parse(event.json), ...(dropped === 0 ? {} : { dropped }) };
    const eventId = handlerEventId(fence.leaseId, event.sequence);
    const type = handlerPrefix + event.name;
    // Written again: numbers beyond those of JavaScript are none that readers could hold.
    return [{ ...fence, sequence: event.sequence, eventId, type, json: JSON.stringify(data) }];
  });
}

/** The id of an event: the same however often it is said, and in the order of an attempt's sequence. A UUID, version 8. */
function handlerEventId(leaseId: string, sequence: number): string {
  const hex = createHash("sha256").update(leaseId).digest("hex");
  const last = sequence.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(12, 15)}-8${hex.slice(15, 18)}-${last}`;
}
