import type { Client } from "@connectrpc/connect";
import type { WatchService, WatchWorkersResponse, WorkerStateCount } from "@muster/client/v1/watch_service";
import type { Worker } from "@muster/client/v1/worker";
import type { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import type { Counts, Source } from "../store/feed.ts";
import { polledSource, withFallback } from "./polled.ts";
import { type WatchBody, watchedSource } from "./watched.ts";

/** Which page of which workers. */
export interface WorkersQuery {
  readonly filter: string;
  /** Empty: the first page. */
  readonly pageToken: string;
}

/** What it takes to list workers. */
export interface WorkerClients {
  readonly watch: Pick<Client<typeof WatchService>, "watchWorkers">;
  readonly workers: Pick<Client<typeof WorkerAdminService>, "listWorkers">;
}

/** Rows of a page. */
export const workersPageSize = 250;

/** A page of workers by name, by WatchWorkers; by ListWorkers where streams do not pass. */
export function workersSource(clients: WorkerClients, query: WorkersQuery): Source<Worker> {
  const { filter, pageToken } = query;
  const stream = watchedSource<Worker>(async function* (resumeRevision, signal) {
    const request = { filter, pageToken, pageSize: workersPageSize, resumeRevision };
    for await (const response of clients.watch.watchWorkers(request, { signal })) {
      const body = bodyOf(response);
      if (body !== undefined) yield body;
    }
  });
  const poll = polledSource<Worker>(async (signal) => {
    const page = await clients.workers.listWorkers(
      { filterText: filter, pageToken, pageSize: workersPageSize },
      { signal, timeoutMs: 30_000 },
    );
    return { rows: page.workers, tokens: { next: page.nextPageToken, previous: "" } };
  });
  return withFallback(stream, poll);
}

function bodyOf({ body }: WatchWorkersResponse): WatchBody<Worker> | undefined {
  switch (body.case) {
    case "reset":
      return { case: "reset", cause: body.value.cause };
    case "snapshotBegin":
      return { case: "begin", time: body.value.time };
    case "rows":
      return { case: "rows", rows: body.value.workers };
    case "snapshotEnd": {
      const { revision, nextPageToken, previousPageToken, counts } = body.value;
      return {
        case: "end",
        revision,
        tokens: { next: nextPageToken, previous: previousPageToken },
        counts: countsOf(counts),
      };
    }
    case "delta": {
      const { revision, workers, leftWorkerIds, counts } = body.value;
      return {
        case: "delta",
        revision,
        rows: workers,
        left: leftWorkerIds,
        counts: counts.length === 0 ? undefined : countsOf(counts),
      };
    }
    case "alive":
      return { case: "alive" };
    case undefined:
      return undefined;
  }
}

function countsOf(counts: readonly WorkerStateCount[]): Counts {
  return new Map(counts.map(({ state, count }) => [state, count]));
}
