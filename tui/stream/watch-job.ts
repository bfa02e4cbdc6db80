import { create } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { JobState } from "@muster/client/v1/job";
import {
  type EventCursor,
  EventCursorSchema,
  type JobService,
  type WatchJobResponse,
} from "@muster/client/v1/job_service";
import { isTerminal } from "../output/states.ts";
import { followStream, type ReconnectOptions } from "./reconnect.ts";

/** What to watch of a job. */
export interface WatchJobOptions extends Omit<ReconnectOptions, "isComplete"> {
  /** What the attempts say, too. */
  readonly events: boolean;
  /** Where an earlier watch ended. */
  readonly after?: EventCursor;
}

/**
 * Watches a job until its run has ended, over as many connections as it takes: each goes on after the last event
 * that came.
 */
export async function* watchJob(
  client: Client<typeof JobService>,
  jobId: string,
  options: WatchJobOptions,
): AsyncGenerator<WatchJobResponse, void> {
  let after = options.after;
  let state: JobState | undefined;
  const open = (signal: AbortSignal): AsyncIterable<WatchJobResponse> =>
    client.watchJob({ jobId, events: options.events, ...(after === undefined ? {} : { after }) }, { signal });
  const isComplete = (): boolean => state !== undefined && isTerminal(state);
  for await (const response of followStream(open, { ...options, isComplete })) {
    const { body } = response;
    if (body.case === "event") {
      const { attempt, sequence } = body.value;
      after = create(EventCursorSchema, { attempt, sequence });
    }
    if (body.case === "job") state = body.value.state;
    yield response;
  }
}
