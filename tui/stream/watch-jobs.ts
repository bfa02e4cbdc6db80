import { setTimeout as delay } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import type { JobService } from "@muster/client/v1/job_service";
import {
  type WatchJobsResponse,
  WatchJobsResponseSchema,
  type WatchService,
} from "@muster/client/v1/watch_service";
import { followStream, isPassing, type ReconnectOptions } from "./reconnect.ts";

/** Which jobs to watch, and how. */
export interface WatchJobsOptions extends Omit<ReconnectOptions, "isComplete"> {
  /** As people write it. */
  readonly filterText: string;
  readonly pageSize: number;
  /** How long the first message of the first stream may take, in milliseconds. Default 10 s. */
  readonly firstMs?: number;
  /** Streams do not pass: from now on the coordinator is asked again and again. */
  readonly onPolling: (why: string) => void;
}

/**
 * Watches a list of jobs, over as many connections as it takes, until the signal is aborted. Where streams do not
 * pass, it is asked for by the unary twins: then the messages are those that a stream would have brought, except that
 * any job that matches is told, on the page or not.
 */
export async function* watchJobs(
  clients: { readonly jobs: Client<typeof JobService>; readonly watch: Client<typeof WatchService> },
  options: WatchJobsOptions,
): AsyncGenerator<WatchJobsResponse, void> {
  const { filterText, pageSize, firstMs = 10_000 } = options;
  let resumeRevision = "";
  let hasCome = false;
  const open = (signal: AbortSignal): AsyncIterable<WatchJobsResponse> => {
    return clients.watch.watchJobs({ list: { filterText, pageSize }, resumeRevision }, { signal });
  };
  const late = new AbortController();
  const signal = AbortSignal.any([options.signal, late.signal]);
  const timer = setTimeout(() => late.abort(), firstMs);
  let why = `nothing came for ${firstMs / 1_000} s`;
  try {
    for await (const message of followStream(open, { ...options, signal, isComplete: () => false })) {
      clearTimeout(timer);
      hasCome = true;
      const { body } = message;
      if (body.case === "snapshotEnd" || body.case === "delta") resumeRevision = body.value.revision;
      yield message;
    }
  } catch (error) {
    if (hasCome || ConnectError.from(error).code !== Code.Unimplemented) throw error;
    why = "the coordinator, or something before it, does not know them";
  } finally {
    clearTimeout(timer);
  }
  if (hasCome || options.signal.aborted) return;
  options.onPolling(why);
  yield* pollJobs(clients, options);
}

/** Between two tries of a coordinator that does not answer. */
const retryMs = 2_000;

async function* pollJobs(
  { jobs, watch }: { readonly jobs: Client<typeof JobService>; readonly watch: Client<typeof WatchService> },
  { filterText, pageSize, signal, wait = (ms) => delay(ms, undefined, { signal }) }: WatchJobsOptions,
): AsyncGenerator<WatchJobsResponse, void> {
  let since: string | null = null;
  while (!signal.aborted) {
    try {
      if (since === null) {
        const list = await jobs.listJobs({ filterText, pageSize }, { signal, timeoutMs: 30_000 });
        since = list.revision;
        const { revision, nextPageToken, previousPageToken } = list;
        const end = { revision, nextPageToken, previousPageToken };
        yield create(WatchJobsResponseSchema, { body: { case: "snapshotBegin", value: {} } });
        yield create(WatchJobsResponseSchema, { body: { case: "rows", value: { jobs: list.jobs } } });
        yield create(WatchJobsResponseSchema, { body: { case: "snapshotEnd", value: end } });
        continue;
      }
      const page = await watch.listEvents(
        { sinceRevision: since, filter: filterText, wait: durationFromMs(20_000) },
        { signal, timeoutMs: 30_000 },
      );
      since = page.reset ? null : page.revision;
      if (page.reset) {
        yield create(WatchJobsResponseSchema, { body: { case: "reset", value: { cause: "behind" } } });
      } else if (page.jobs.length + page.leftJobIds.length > 0) {
        const { revision, jobs: changed, leftJobIds } = page;
        const value = { revision, jobs: changed, leftJobIds };
        yield create(WatchJobsResponseSchema, { body: { case: "delta", value } });
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      await wait(retryMs, signal).catch(() => undefined);
    }
  }
}
