import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Attempt, Job } from "@muster/client/v1/job";
import { JobView } from "@muster/client/v1/job_service";
import type { PlannedJob } from "./jobs.ts";
import type { Api, Submission } from "./steps.ts";

/** A job as it ended, beside what was meant by it. */
export interface JobRecord {
  readonly planned: PlannedJob;
  /** In the full view. */
  readonly job: Job;
  /** Oldest first. */
  readonly attempts: readonly Attempt[];
}

/** Everything that the coordinator knows of the demo's jobs at the end. */
export interface Records {
  readonly jobs: readonly JobRecord[];
  /** Why a job is a dead letter, by its id. */
  readonly deadLetters: ReadonlyMap<string, string>;
}

const callsAtOnce = 16;

/** Reads every job with its attempts, and the dead letters. */
export async function readRecords(api: Api, submission: Submission, signal: AbortSignal): Promise<Records> {
  const jobs: JobRecord[] = [];
  const left = submission.planned.entries();
  // Each takes the next job until none is left: the iterator is shared.
  const read = async (): Promise<void> => {
    for (const [jobId, planned] of left) {
      const { job } = await api.jobs.getJob({ jobId, view: JobView.FULL }, { signal });
      if (job === undefined) throw new Error(`there is no job ${jobId}`);
      const { attempts } = await api.jobs.listAttempts({ jobId, pageSize: 1_000 }, { signal });
      jobs.push({ planned, job, attempts });
    }
  };
  await Promise.all(Array.from({ length: callsAtOnce }, read));
  const { deadLetters } = await api.jobs.listDeadLetters({ pageSize: 1_000 }, { signal });
  return { jobs, deadLetters: new Map(deadLetters.map(({ job, cause }) => [job?.jobId ?? "", cause])) };
}

/** Milliseconds since 1970; positive infinity for a time that did not come. */
export function timeMs(time: Timestamp | undefined): number {
  return time === undefined ? Number.POSITIVE_INFINITY : Number(time.seconds) * 1_000 + time.nanos / 1e6;
}
