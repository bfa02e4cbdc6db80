import type { Client } from "@connectrpc/connect";
import type { Job } from "@muster/client/v1/job";
import { type JobCounts, JobOrder, type JobService } from "@muster/client/v1/job_service";
import type { WatchJobsResponse, WatchService } from "@muster/client/v1/watch_service";
import type { Counts, Source } from "../store/feed.ts";
import { polledSource, withFallback } from "./polled.ts";
import { type WatchBody, watchedSource } from "./watched.ts";

/** Which page of which jobs. */
export interface JobsQuery {
  readonly filter: string;
  readonly order: "newest" | "oldest";
  /** Empty: the first page. */
  readonly pageToken: string;
  readonly isLastPage: boolean;
}

/** What it takes to list jobs. */
export interface JobClients {
  readonly watch: Pick<Client<typeof WatchService>, "watchJobs">;
  readonly jobs: Pick<Client<typeof JobService>, "listJobs">;
}

/** Rows of a page. */
export const jobsPageSize = 250;

/** A page of jobs, by WatchJobs; by ListJobs where streams do not pass. */
export function jobsSource(clients: JobClients, query: JobsQuery): Source<Job> {
  const list = {
    filterText: query.filter,
    order: query.order === "newest" ? JobOrder.NEWEST_FIRST : JobOrder.OLDEST_FIRST,
    pageToken: query.pageToken,
    lastPage: query.isLastPage,
    pageSize: jobsPageSize,
    counted: true,
  };
  const stream = watchedSource<Job>(async function* (resumeRevision, signal) {
    for await (const response of clients.watch.watchJobs({ list, resumeRevision }, { signal })) {
      const body = bodyOf(response);
      if (body !== undefined) yield body;
    }
  });
  const poll = polledSource<Job>(async (signal) => {
    const page = await clients.jobs.listJobs(list, { signal, timeoutMs: 30_000 });
    const counts = countsOf(page.counts);
    return {
      rows: page.jobs,
      tokens: { next: page.nextPageToken, previous: page.previousPageToken },
      ...(counts === undefined ? {} : { counts, atLeast: page.counts?.atLeast ?? false }),
    };
  });
  return withFallback(stream, poll);
}

function bodyOf({ body }: WatchJobsResponse): WatchBody<Job> | undefined {
  switch (body.case) {
    case "reset":
      return { case: "reset", cause: body.value.cause };
    case "snapshotBegin":
      return { case: "begin", time: body.value.time };
    case "rows":
      return { case: "rows", rows: body.value.jobs };
    case "snapshotEnd": {
      const { revision, nextPageToken, previousPageToken, counts } = body.value;
      return {
        case: "end",
        revision,
        tokens: { next: nextPageToken, previous: previousPageToken },
        counts: countsOf(counts),
        atLeast: counts?.atLeast ?? false,
      };
    }
    case "delta": {
      const { revision, jobs, leftJobIds, tokens, counts } = body.value;
      return {
        case: "delta",
        revision,
        rows: jobs,
        left: leftJobIds,
        tokens:
          tokens === undefined
            ? undefined
            : { next: tokens.nextPageToken, previous: tokens.previousPageToken },
        counts: countsOf(counts),
        atLeast: counts?.atLeast ?? false,
      };
    }
    case "alive":
      return { case: "alive" };
    case undefined:
      return undefined;
  }
}

function countsOf(counts: JobCounts | undefined): Counts | undefined {
  return counts === undefined ? undefined : new Map(counts.states.map(({ state, count }) => [state, count]));
}
