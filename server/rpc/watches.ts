import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { ListJobsRequestSchema } from "@muster/client/v1/job_service";
import type {
  WatchJobsRequest,
  WatchJobsResponseSchema,
  WatchService,
  WatchWorkersResponseSchema,
} from "@muster/client/v1/watch_service";
import { listEvents } from "../dispatch/job-events.ts";
import { type JobWatchEvent, watchJobs } from "../dispatch/job-watch.ts";
import { type WorkerStateCount, type WorkerWatchEvent, watchWorkers } from "../dispatch/worker-watch.ts";
import { listingOf, readJobFilterText } from "../domain/job-lists.ts";
import { workerListingOf } from "../domain/worker-lists.ts";
import { anyJob } from "../store/job-lists.ts";
import { callerOf } from "./auth.ts";
import { countsMessage, readListRequest } from "./job-lists.ts";
import { jobMessage } from "./job-messages.ts";
import { type Problems, pageOf, readDurationIn, refuseProblems, writeId, writeTime } from "./messages.ts";
import type { ApiParts } from "./parts.ts";
import { throwIfEnded } from "./waiting.ts";
import { workerMessage } from "./workers.ts";

/** The methods of `muster.v1.WatchService` about lists. */
export function listWatches({
  coordinator: c,
  watches,
}: ApiParts): Pick<ServiceImpl<typeof WatchService>, "watchJobs" | "watchWorkers" | "listEvents"> {
  return {
    async *watchJobs(request, context) {
      const problems: Problems = [];
      const intervalMs = readDurationIn(problems, "interval", request.interval, jobsInterval);
      const list = readWatchedList(problems, request);
      refuseProblems(problems);
      const { orgId } = callerOf(context);
      const listing = listingOf(orgId, list);
      const isCounted = request.list?.counted ?? false;
      const { resumeRevision } = request;
      const { signal } = context;
      for await (const event of watchJobs(
        watches,
        { listing, isCounted, resumeRevision, intervalMs },
        signal,
      )) {
        yield* jobsMessages(event, new Date(c.nowMs()));
      }
      throwIfEnded(signal);
    },

    async *watchWorkers(request, context) {
      const problems: Problems = [];
      const intervalMs = readDurationIn(problems, "interval", request.interval, workersInterval);
      checkPageSize(problems, "pageSize", request.pageSize);
      refuseProblems(problems);
      const { orgId } = callerOf(context);
      const named = { isOnline: false, text: request.filter, field: "filter" };
      const listing = workerListingOf(orgId, { ...pageOf(request), ...named });
      const { resumeRevision } = request;
      const { signal } = context;
      for await (const event of watchWorkers(
        watches,
        { orgId, listing, resumeRevision, intervalMs },
        signal,
      )) {
        yield* workersMessages(event, new Date(c.nowMs()));
      }
      throwIfEnded(signal);
    },

    async listEvents(request, context) {
      const problems: Problems = [];
      const waitMs = readDurationIn(problems, "wait", request.wait, waitBounds);
      const since = readFeedRevision(request.sinceRevision);
      if (since === null) problems.push({ field: "sinceRevision", message: "is not one that was answered" });
      refuseProblems(problems);
      const { orgId } = callerOf(context);
      const filter = { ...anyJob, terms: readJobFilterText(request.filter, "filter") };
      const asked = { orgId, filter, since: since ?? "", waitMs };
      const events = await listEvents(watches, asked, context.signal);
      throwIfEnded(context.signal);
      return {
        reset: events.isReset,
        jobs: events.jobs.map(jobMessage),
        leftJobIds: events.leftIds.map((id) => writeId("job", id)),
        revision: events.revision,
      };
    },
  };
}

/** How long the unary twins of the streams may wait. */
export const waitBounds = { minMs: 0, maxMs: 30_000, fallbackMs: 0, words: "from 0s to 30s" };

/** The place in the feed of a revision of any list: epoch, transaction, row. Null: it is not one. */
export function readFeedRevision(revision: string): string | null {
  const [, place, row] = /^(\d{1,15}\.\d{1,19}\.(\d{1,5}))(~[\w-]{0,400})?$/.exec(revision) ?? [];
  return place !== undefined && Number(row) <= 32_767 ? place : null;
}

const jobsInterval = { minMs: 50, maxMs: 60_000, fallbackMs: 125, words: "from 50ms to 1m" };
const workersInterval = { minMs: 200, maxMs: 60_000, fallbackMs: 1_000, words: "from 200ms to 1m" };

/** Rows of a page that is watched. */
const mostRows = 250;

/** Rows in one message of a snapshot: far below what a message may have. */
const rowsOfMessage = 50;

function readWatchedList(problems: Problems, { list = create(ListJobsRequestSchema) }: WatchJobsRequest) {
  checkPageSize(problems, "list.pageSize", list.pageSize);
  if ((list.filter?.runnableBy ?? "") !== "") {
    problems.push({ field: "list.filter.runnableBy", message: "cannot be watched" });
  }
  return readListRequest(problems, list, "list.");
}

function checkPageSize(problems: Problems, field: string, rows: number): void {
  if (rows > mostRows) problems.push({ field, message: `must be at most ${mostRows}` });
}

function* jobsMessages(
  event: JobWatchEvent,
  now: Date,
): Generator<MessageInitShape<typeof WatchJobsResponseSchema>> {
  switch (event.type) {
    case "reset":
      yield { body: { case: "reset", value: { cause: event.cause } } };
      return;
    case "alive":
      yield { body: { case: "alive", value: {} } };
      return;
    case "snapshot": {
      const { items, revision, nextPageToken, previousPageToken } = event.page;
      const counts = event.counts === null ? {} : { counts: countsMessage(event.counts) };
      yield { body: { case: "snapshotBegin", value: { time: writeTime(now) } } };
      for (let at = 0; at < items.length; at += rowsOfMessage) {
        const jobs = items.slice(at, at + rowsOfMessage).map(jobMessage);
        yield { body: { case: "rows", value: { jobs } } };
      }
      const end = { revision, nextPageToken, previousPageToken, ...counts };
      yield { body: { case: "snapshotEnd", value: end } };
      return;
    }
    case "delta": {
      const { jobs, leftIds, revision, counts, tokens } = event;
      const value = {
        revision,
        jobs: jobs.map(jobMessage),
        leftJobIds: leftIds.map((id) => writeId("job", id)),
        ...(counts === null ? {} : { counts: countsMessage(counts) }),
        ...(tokens === null ? {} : { tokens }),
      };
      yield { body: { case: "delta", value } };
    }
  }
}

function* workersMessages(
  event: WorkerWatchEvent,
  now: Date,
): Generator<MessageInitShape<typeof WatchWorkersResponseSchema>> {
  switch (event.type) {
    case "reset":
      yield { body: { case: "reset", value: { cause: event.cause } } };
      return;
    case "alive":
      yield { body: { case: "alive", value: {} } };
      return;
    case "snapshot": {
      const { workers, revision, nextPageToken, previousPageToken } = event;
      yield { body: { case: "snapshotBegin", value: { time: writeTime(now) } } };
      for (let at = 0; at < workers.length; at += rowsOfMessage) {
        const rows = workers.slice(at, at + rowsOfMessage).map(workerMessage);
        yield { body: { case: "rows", value: { workers: rows } } };
      }
      const counts = event.counts.map(stateCount);
      yield { body: { case: "snapshotEnd", value: { revision, nextPageToken, previousPageToken, counts } } };
      return;
    }
    case "delta": {
      const value = {
        revision: event.revision,
        workers: event.workers.map(workerMessage),
        leftWorkerIds: event.leftIds.map((id) => writeId("worker", id)),
        counts: (event.counts ?? []).map(stateCount),
      };
      yield { body: { case: "delta", value } };
    }
  }
}

function stateCount({ state, count }: WorkerStateCount) {
  return { state, count: BigInt(count) };
}
