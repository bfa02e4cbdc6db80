import { timestampMs } from "@bufbuild/protobuf/wkt";
import { ExplainService } from "@muster/client/v1/explain_service";
import { type Job, JobState } from "@muster/client/v1/job";
import type { Call } from "../call.ts";
import { sanitize } from "../output/sanitize.ts";
import { showDuration } from "../output/time.ts";

/**
 * What a job waits for, in one sentence; undefined when it does not wait. Asks the coordinator where the job alone
 * does not tell; undefined, too, when that has no answer.
 */
export async function whyWaiting(call: Call, job: Job): Promise<string | undefined> {
  const nowMs = call.surroundings.now();
  const wakeMs = job.wakeTime === undefined ? undefined : timestampMs(job.wakeTime) - nowMs;
  const wake = wakeMs === undefined ? "" : `, in ${showDuration(Math.max(0, wakeMs))}`;
  switch (job.state) {
    case JobState.SCHEDULED: {
      if (job.failures === 0) return `It waits for its time${wake}.`;
      const error = sanitize(job.error?.message ?? "");
      return `Attempt ${job.attempt} failed${error === "" ? "" : ` (${error})`}; the next try comes${wake}.`;
    }
    case JobState.PARKED:
      return `It is parked${job.reason === "" ? "" : ` (${sanitize(job.reason)})`}${wake}.`;
    case JobState.READY:
    case JobState.BLOCKED:
      return explained(call, job);
    default:
      return undefined;
  }
}

/** The part of the sentence that is news when it changes: not how long, nor how many go before it. */
export function newsOf(why: string): string {
  return why.replace(/, in .*/, "").replace(/; [\d,]+ ready jobs? .*/, "");
}

// It is only said by the way: no answer is no error.
async function explained(call: Call, { jobId }: Job): Promise<string | undefined> {
  try {
    const { summary } = await call.client(ExplainService).explainJob({ jobId }, call.once());
    return summary === "" ? undefined : sanitize(summary);
  } catch {
    call.signal.throwIfAborted();
    return undefined;
  }
}
