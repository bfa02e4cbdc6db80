import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Attempt, Job } from "@muster/client/v1/job";
import { DemoFailure } from "./failure.ts";
import type { PlannedJob } from "./jobs.ts";
import type { Api, Submission } from "./steps.ts";

/** A job as it ended, beside what was meant by it. */
export interface JobRecord {
  readonly planned: PlannedJob;
  /** In the basic view: the result is in the last attempt. */
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

/** Reads every job there is with its attempts, and the dead letters. Rejects when there is not one for each plan. */
export async function readRecords(api: Api, submission: Submission, signal: AbortSignal): Promise<Records> {
  const all = await listAll(api, signal);
  if (all.length !== submission.planned.size)
    throw new DemoFailure([`${submission.planned.size} jobs were submitted, and ${all.length} are there`]);
  const jobs: JobRecord[] = [];
  const left = all.values();
  // Each takes the next job until none is left: the iterator is shared.
  const read = async (): Promise<void> => {
    for (const job of left) {
      const { jobId } = job;
      const planned = submission.planned.get(jobId);
      if (planned === undefined) throw new DemoFailure([`job ${jobId} is there, and nobody submitted it`]);
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

async function listAll(api: Api, signal: AbortSignal): Promise<Job[]> {
  const all: Job[] = [];
  let pageToken = "";
  do {
    const page = await api.jobs.listJobs({ pageSize: 1_000, pageToken }, { signal });
    all.push(...page.jobs);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}
