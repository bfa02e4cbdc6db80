import { setTimeout as delay } from "node:timers/promises";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { JobAction, JobOrder, type JobService } from "@muster/client/v1/job_service";
import { readPayload, retryDeadPayload } from "../domain/built-in-kinds.ts";
import type { KindContext, KindParts } from "./context.ts";

/** What the handler works with. */
export interface RetryDeadParts extends KindParts {
  readonly jobs: Pick<Client<typeof JobService>, "listJobs" | "actOnJobs">;
  /** Waits between two steps. */
  readonly pause?: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What a `maintenance.retry-dead` job came to. */
export interface RetryDeadResult {
  readonly retried: number;
  /** Those that could not be retried: somebody else did, or they are gone. */
  readonly skipped: number;
  /** Only looked: this many would be retried. */
  readonly isDryRun: boolean;
}

/**
 * The built-in kind `maintenance.retry-dead`, payload `{ "filter"?: string, "perMinute"?: number, "limit"?: number,
 * "dryRun"?: boolean }`: gives dead jobs another run, the longest dead first, no faster than the rate, so that what
 * they need and was gone is not run over when it is back. Each step has its audit row. A cancel stops it between two
 * steps; another attempt goes on with those that are still dead.
 */
export function retryDead(parts: RetryDeadParts): (ctx: KindContext) => Promise<RetryDeadResult> {
  const pause = parts.pause ?? ((ms, signal) => delay(ms, undefined, { signal }));
  return async (ctx) => {
    const asked = readPayload("maintenance.retry-dead", retryDeadPayload, ctx.payload, parts.failure);
    const { signal } = ctx;
    const step = Math.max(1, Math.min(Math.floor((asked.perMinute * stepMs) / 60_000), 1_000));
    const everyMs = (step * 60_000) / asked.perMinute;
    const filterText = `state:dead ${asked.filter}`.trim();
    let pageToken = "";
    const counts = { retried: 0, skipped: 0, isDryRun: asked.dryRun };
    for (let isFirst = true; ; isFirst = false) {
      const left = asked.limit - counts.retried - counts.skipped;
      if (left <= 0) return counts;
      if (!isFirst && !asked.dryRun) await pause(everyMs, signal);
      const list = { filterText, pageSize: step, pageToken, order: JobOrder.OLDEST_FIRST };
      const page = await parts.jobs.listJobs(list, { signal }).catch(refused(parts));
      const jobIds = page.jobs.map(({ jobId }) => jobId).slice(0, left);
      if (jobIds.length > 0) {
        const acted = await parts.jobs.actOnJobs(
          {
            action: JobAction.RETRY,
            jobs: { case: "ids", value: { jobIds } },
            reason: "maintenance.retry-dead",
            dryRun: asked.dryRun,
          },
          { signal },
        );
        counts.retried += acted.done;
        counts.skipped += acted.skipped;
        ctx.progress(undefined, `${counts.retried} retried`);
      }
      pageToken = page.nextPageToken;
      if (pageToken === "") return counts;
    }
  };
}

/** How long a step is meant to take. */
const stepMs = 5_000;

// A filter that cannot be read never can.
function refused({ failure }: KindParts): (error: unknown) => never {
  return (error) => {
    const { code, rawMessage } = ConnectError.from(error);
    if (code === Code.InvalidArgument) throw failure(`filter: ${rawMessage}`, "PAYLOAD_INVALID");
    throw error;
  };
}
