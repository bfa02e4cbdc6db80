import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  EventCursor,
  EventCursorSchema,
  WaitJobRequest,
  WaitJobResponseSchema,
  WatchJobRequest,
  WatchJobResponseSchema,
} from "@muster/client/v1/job_service";
import type { Caller } from "../domain/context.ts";
import { listJobEvents } from "../domain/event-views.ts";
import { getJob, type JobView } from "../domain/job-views.ts";
import { isTerminal } from "../domain/rules/states.ts";
import type { EventPosition } from "../store/event-reads.ts";
import { eventMessage, jobMessage } from "./job-messages.ts";
import { type Problems, readId, readJobId, refuseProblems } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { aliveMs, readWaitTimeout, throwIfEnded } from "./waiting.ts";

/** Waits until the run of a job has ended, or until the time is up. Holds no transaction while it waits. */
export async function waitJob(
  parts: ApiParts,
  caller: Caller,
  request: WaitJobRequest,
  signal: AbortSignal,
): Promise<MessageInitShape<typeof WaitJobResponseSchema>> {
  const problems: Problems = [];
  const jobId = readId(problems, "job", request.jobId, "jobId") ?? "";
  const timeoutMs = readWaitTimeout(problems, request.timeout);
  refuseProblems(problems);
  const { coordinator: c, feed, nowMs = () => performance.now() } = parts;
  const endMs = nowMs() + timeoutMs;
  for (;;) {
    const leftMs = endMs - nowMs();
    // The wait begins before the look: what happens in between ends it.
    const news = feed.waitFor(caller.orgId, jobId, signal, Math.max(0, Math.min(pollMs, leftMs)));
    const { state } = await getJob(c, caller, { jobId, externalId: null, isFull: false });
    if (isTerminal(state) || leftMs <= 0) {
      const job = await getJob(c, caller, { jobId, externalId: null, isFull: true });
      return { job: jobMessage(job), done: isTerminal(job.state) };
    }
    await news;
    throwIfEnded(signal);
  }
}

/**
 * Streams a job: as it is, each change, and on demand the record of its attempts after a place; ends when the
 * run has ended and the record is complete. The last job of an ended run comes with payload and result.
 */
export async function* watchJob(
  parts: ApiParts,
  caller: Caller,
  request: WatchJobRequest,
  signal: AbortSignal,
): AsyncGenerator<MessageInitShape<typeof WatchJobResponseSchema>> {
  const jobId = readJobId(request);
  const { coordinator: c, feed, nowMs = () => performance.now() } = parts;
  let cursor = readCursor(request.after);
  let shown = "";
  let spokeMs = nowMs();
  for (;;) {
    const news = feed.waitFor(caller.orgId, jobId, signal, pollMs);
    const job = await readShown(parts, caller, jobId);
    const looks = JSON.stringify(job);
    // A watcher sees the job first, and later the record before the state that it led to.
    if (shown === "") yield { body: { case: "job", value: jobMessage(job) } };
    let isComplete = !request.events;
    if (request.events) {
      for (;;) {
        const page = await listJobEvents(c, caller, jobId, cursor, 0);
        for (const event of page.events) {
          yield { body: { case: "event", value: eventMessage(event) } };
          cursor = { attempt: event.attempt, sequence: event.sequence };
          spokeMs = nowMs();
        }
        isComplete = page.isDone;
        if (page.next === null) break;
        cursor = page.next;
        throwIfEnded(signal);
      }
    }
    if (shown !== "" && looks !== shown) yield { body: { case: "job", value: jobMessage(job) } };
    if (looks !== shown) spokeMs = nowMs();
    shown = looks;
    if (isTerminal(job.state) && isComplete) return;
    if (nowMs() - spokeMs >= aliveMs) {
      yield { body: { case: "alive", value: {} } };
      spokeMs = nowMs();
    }
    await news;
    throwIfEnded(signal);
  }
}

/** A place in the record of a job; null for its start. */
export function readCursor(cursor: EventCursor | undefined): EventPosition | null {
  return cursor === undefined ? null : { attempt: cursor.attempt, sequence: Number(cursor.sequence) };
}

/** The same as a message. */
export function writeCursor({
  attempt,
  sequence,
}: EventPosition): MessageInitShape<typeof EventCursorSchema> {
  return { attempt, sequence: BigInt(sequence) };
}

/** How long nothing is looked at when nobody tells of news. */
const pollMs = 1_000;

async function readShown({ coordinator: c }: ApiParts, caller: Caller, jobId: string): Promise<JobView> {
  const job = await getJob(c, caller, { jobId, externalId: null, isFull: false });
  return isTerminal(job.state) ? getJob(c, caller, { jobId, externalId: null, isFull: true }) : job;
}
