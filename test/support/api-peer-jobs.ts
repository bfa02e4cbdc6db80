import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import type { AttemptEvent } from "@muster/client/v1/event";
import { type DeadLetter, DeadLetterSchema, type Job, type JobSpec, JobState } from "@muster/client/v1/job";
import { CancelOutcome, type EventCursor, JobService } from "@muster/client/v1/job_service";
import { actRoutes, fingerprintOf } from "./api-peer-acts.ts";
import { aborted, found, newId, page, timeoutMs } from "./api-peer-rows.ts";
import type { Api, Signals } from "./api-peer-state.ts";

/** Adds the service of jobs. */
export function addJobRoutes(router: ConnectRouter, api: Api, signals: Signals): void {
  router.service(JobService, {
    ...actRoutes(api),
    submitJob: (request) => {
      api.submitted.push(request);
      return { jobId: storeJob(api, request.job).jobId };
    },
    getJob: ({ jobId, externalId }) => {
      const byExternalId = [...api.jobs.values()].find(
        (job) => externalId !== "" && job.spec?.externalId === externalId,
      );
      return { job: byExternalId ?? found(api.jobs, jobId, "job") };
    },
    listJobs: (request) => {
      const { filter } = request;
      if (filter?.runnableBy) api.asked.push(request);
      const rows = [...api.jobs.values()].filter(
        (job) =>
          (filter === undefined || filter.states.length === 0 || filter.states.includes(job.state)) &&
          (!filter?.kind || job.spec?.kind === filter.kind),
      );
      const { rows: jobs, nextPageToken } = page(rows, request);
      const states = [...new Set(rows.map(({ state }) => state))].map((state) => ({
        state,
        count: BigInt(rows.filter((job) => job.state === state).length),
      }));
      return { jobs, nextPageToken, ...(request.counted ? { counts: { states } } : {}) };
    },
    cancelJob: ({ jobId, reason }) => {
      const job = found(api.jobs, jobId, "job");
      if (isEnded(job)) return { job, outcome: CancelOutcome.ALREADY_TERMINAL };
      api.changeJob(jobId, { state: JobState.CANCELLED, reason });
      return { job: found(api.jobs, jobId, "job"), outcome: CancelOutcome.CANCELLED };
    },
    retryJob: ({ jobId }) => {
      const job = found(api.jobs, jobId, "job");
      api.changeJob(jobId, { state: JobState.READY, generation: job.generation + 1 });
      return { job: found(api.jobs, jobId, "job") };
    },
    parkJob: ({ jobId, reason, until }) => {
      found(api.jobs, jobId, "job");
      api.changeJob(jobId, {
        state: JobState.PARKED,
        reason,
        ...(until === undefined ? {} : { wakeTime: until }),
      });
      return { job: found(api.jobs, jobId, "job") };
    },
    unparkJob: ({ jobId }) => {
      found(api.jobs, jobId, "job");
      api.changeJob(jobId, { state: JobState.READY, reason: "" });
      return { job: found(api.jobs, jobId, "job") };
    },
    waitJob: async ({ jobId, timeout }, { signal }) => {
      const timeIsUp = AbortSignal.timeout(timeoutMs(timeout));
      for (;;) {
        const change = signals.changed();
        const job = found(api.jobs, jobId, "job");
        if (isEnded(job)) return { job, done: true };
        if (timeIsUp.aborted) return { job, done: false };
        await Promise.race([change, aborted(AbortSignal.any([signal, timeIsUp]))]);
        signal.throwIfAborted();
      }
    },
    async *watchJob({ jobId, events, after }, { signal }) {
      let last: Job | undefined;
      let cursor = after;
      while (!signal.aborted) {
        const change = signals.changed();
        const job = found(api.jobs, jobId, "job");
        if (job !== last) yield { body: { case: "job", value: job } };
        last = job;
        for (const event of events ? eventsAfter(api.events.get(jobId) ?? [], cursor) : []) {
          yield { body: { case: "event", value: event } };
          cursor = { $typeName: "muster.v1.EventCursor", attempt: event.attempt, sequence: event.sequence };
        }
        if (isEnded(job)) return;
        await Promise.race([change, aborted(signal)]);
      }
    },
    listAttempts: ({ jobId }) => ({ attempts: api.attempts.get(found(api.jobs, jobId, "job").jobId) ?? [] }),
    listJobEvents: ({ jobId, after }) => {
      const job = found(api.jobs, jobId, "job");
      const all = eventsAfter(api.events.get(jobId) ?? [], after);
      // Small pages, so that every reader has to turn them.
      const events = all.slice(0, 2);
      const last = events.at(-1);
      const next =
        all.length > 2 && last !== undefined ? { attempt: last.attempt, sequence: last.sequence } : undefined;
      return { events, done: isEnded(job), ...(next === undefined ? {} : { next }) };
    },
    listDeadLetters: (request) => {
      const { rows, nextPageToken } = page(deadLetters(api), request);
      return { deadLetters: rows, nextPageToken };
    },
    discardDeadLetter: ({ jobId }) => {
      found(api.jobs, jobId, "job");
      api.jobs.delete(jobId);
      return {};
    },
  });
}

/** Keeps a job that was submitted, ready. */
export function storeJob(api: Api, spec: JobSpec | undefined, batchId = ""): Job {
  const job = { jobId: newId("job"), state: JobState.READY, batchId };
  return api.addJob(spec === undefined ? job : { ...job, spec });
}

/** Whether nothing more happens to it. */
export function isEnded(job: Job): boolean {
  return [JobState.SUCCEEDED, JobState.CANCELLED, JobState.DEAD].includes(job.state);
}

function deadLetters(api: Api): DeadLetter[] {
  return [...api.jobs.values()]
    .filter((job) => job.state === JobState.DEAD)
    .map((job) =>
      create(DeadLetterSchema, {
        ...{ job, cause: "failures", fingerprint: fingerprintOf(job) ?? "", deadTime: timestampNow() },
      }),
    );
}

function eventsAfter(events: readonly AttemptEvent[], after: EventCursor | undefined): AttemptEvent[] {
  if (after === undefined) return [...events];
  return events.filter(
    ({ attempt, sequence }) =>
      attempt > after.attempt || (attempt === after.attempt && sequence > after.sequence),
  );
}
