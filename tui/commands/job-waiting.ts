import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Job, JobState } from "@muster/client/v1/job";
import type { Worker } from "@muster/client/v1/worker";
import { WorkerAdminService } from "@muster/client/v1/worker_admin_service";
import type { Call } from "../call.ts";
import { sanitize } from "../output/sanitize.ts";
import { showDuration } from "../output/time.ts";

/** What a job waits for, in one sentence; undefined when it does not wait. Asks who is online if it is ready. */
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
      return whyNotTaken(job, await onlineWorkers(call));
    default:
      return undefined;
  }
}

/** Why no worker has taken a ready job: the first thing that none of those online has. */
export function whyNotTaken(job: Job, workers: readonly Worker[]): string {
  const { kind = "", requiredSkills = [], points = 1 } = job.spec ?? {};
  if (workers.length === 0) return "No worker is online.";
  const able = workers.filter((worker) => worker.kinds.includes(kind));
  if (able.length === 0) {
    const kinds = [...new Set(workers.flatMap((worker) => worker.kinds))].sort();
    return `No worker that is online has a handler for ${kind} (${workers.length} online, for: ${sanitize(kinds.join(", "))}).`;
  }
  const skilled = able.filter((worker) =>
    requiredSkills.every((skill) => worker.skills.some(({ name }) => name === skill)),
  );
  if (skilled.length === 0) {
    return `It needs the skills ${sanitize(requiredSkills.join(", "))}; no worker that is online and has a handler for ${kind} has them all.`;
  }
  const large = skilled.filter((worker) => (worker.capacity?.points ?? 0) >= points);
  if (large.length === 0) return `It has ${points} points; no worker that could run it takes so many.`;
  return `It waits for room on ${large.length === 1 ? "the one worker" : `one of the ${large.length} workers`} that can run it.`;
}

async function onlineWorkers(call: Call): Promise<readonly Worker[]> {
  const request = { online: true, pageSize: 1_000 };
  return (await call.client(WorkerAdminService).listWorkers(request, call.once())).workers;
}
