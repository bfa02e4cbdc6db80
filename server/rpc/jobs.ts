import type { ServiceImpl } from "@connectrpc/connect";
import {
  CancelOutcome,
  type JobService,
  type LeaseRef,
  JobView as View,
} from "@muster/client/v1/job_service";
import { actOnJobs } from "../domain/acts.ts";
import { listAttempts } from "../domain/attempts.ts";
import { discardDeadLetter, listDeadLetterGroups, listDeadLetters } from "../domain/dead-letters.ts";
import { listJobEvents } from "../domain/event-views.ts";
import { updateJob } from "../domain/job-edits.ts";
import { getJob } from "../domain/job-views.ts";
import { type CancelOutcome as Cancelled, cancelJob, retryJob, submitJob } from "../domain/jobs.ts";
import { parkJob, unparkJob } from "../domain/parking.ts";
import { deleteJob } from "../domain/removals.ts";
import type { Lease } from "../domain/submit.ts";
import { actMessage, readAct } from "./acts.ts";
import { callerOf } from "./auth.ts";
import { checkDependencies } from "./dependencies.ts";
import { listJobs } from "./job-lists.ts";
import {
  attemptMessage,
  deadLetterGroupMessage,
  deadLetterMessage,
  eventMessage,
  jobMessage,
} from "./job-messages.ts";
import { readJobSpec } from "./job-specs.ts";
import { readCursor, waitJob, watchJob, writeCursor } from "./job-watch.ts";
import {
  orNull,
  type Problems,
  pageOf,
  readId,
  readIdempotencyKey,
  readJobId,
  readLease,
  readOptionalId,
  readReason,
  readRequestId,
  readTime,
  refuseProblems,
  required,
  writeId,
} from "./messages.ts";
import type { ApiParts } from "./parts.ts";

/** `muster.v1.JobService`. */
export function jobService(parts: ApiParts): ServiceImpl<typeof JobService> {
  const { coordinator: c } = parts;
  const removal = { ...c, artifacts: parts.artifacts.artifacts };
  return {
    async submitJob(request, context) {
      const problems: Problems = [];
      const job = required(problems, "job", request.job)
        ? readJobSpec(problems, "job", request.job, c.config)
        : null;
      if (job !== null) checkDependencies(problems, [job], () => "job");
      const idempotencyKey = readIdempotencyKey(problems, request.idempotencyKey);
      const parent = readLease(problems, "parent", request.parent);
      refuseProblems(problems);
      if (job === null) throw new Error("a job without problems was read");
      const answer = await submitJob(c, callerOf(context), { job, idempotencyKey, parent });
      return { jobId: writeId("job", answer.jobId), replayed: answer.isReplayed };
    },

    async getJob(request, context) {
      const problems: Problems = [];
      const jobId = readOptionalId(problems, "job", request.jobId, "jobId");
      checkOneOf(problems, request);
      refuseProblems(problems);
      const externalId = orNull(request.externalId);
      const isFull = request.view !== View.BASIC;
      return { job: jobMessage(await getJob(c, callerOf(context), { jobId, externalId, isFull })) };
    },

    listJobs: (request, context) => listJobs(parts, callerOf(context), request),

    async cancelJob(request, context) {
      const { jobId, reason } = readChange(request);
      const lease = readNamedLease(jobId, request.lease);
      const caller = callerOf(context);
      const outcome = await cancelJob(c, caller, { jobId, reason, isForced: request.force, lease });
      const job = await getJob(c, caller, { jobId, externalId: null, isFull: false });
      return { outcome: cancelOutcomes[outcome], job: jobMessage(job) };
    },

    async retryJob(request, context) {
      const change = readChange(request);
      const { jobId } = change;
      const caller = callerOf(context);
      await retryJob(c, caller, change);
      return { job: jobMessage(await getJob(c, caller, { jobId, externalId: null, isFull: false })) };
    },

    async parkJob(request, context) {
      const problems: Problems = [];
      const until = readTime(problems, "until", request.until);
      const change = readChange(request, problems);
      return { job: jobMessage(await parkJob(c, callerOf(context), { ...change, until })) };
    },

    async unparkJob(request, context) {
      return { job: jobMessage(await unparkJob(c, callerOf(context), readChange(request))) };
    },

    waitJob: (request, context) => waitJob(parts, callerOf(context), request, context.signal),

    watchJob: (request, context) => watchJob(parts, callerOf(context), request, context.signal),

    async listAttempts(request, context) {
      const jobId = readJobId(request);
      const { items, nextPageToken } = await listAttempts(c, callerOf(context), {
        ...pageOf(request),
        jobId,
      });
      return { attempts: items.map(attemptMessage), nextPageToken };
    },

    async listJobEvents(request, context) {
      const jobId = readJobId(request);
      const after = readCursor(request.after);
      const page = await listJobEvents(c, callerOf(context), jobId, after, request.pageSize);
      return {
        events: page.events.map(eventMessage),
        done: page.isDone,
        ...(page.next === null ? {} : { next: writeCursor(page.next) }),
      };
    },

    async listDeadLetters(request, context) {
      const { items, nextPageToken } = await listDeadLetters(c, callerOf(context), {
        ...pageOf(request),
        kind: orNull(request.kind),
      });
      return { deadLetters: items.map(deadLetterMessage), nextPageToken };
    },

    async listDeadLetterGroups({ kind, pageSize }, context) {
      const asked = { kind: orNull(kind), pageSize };
      const { groups, isTruncated } = await listDeadLetterGroups(c, callerOf(context), asked);
      return { groups: groups.map(deadLetterGroupMessage), truncated: isTruncated };
    },

    async updateJob(request, context) {
      const { priority = null, title = null, labels } = request;
      const edit = { ...readChange(request), priority, title, labels };
      return { job: jobMessage(await updateJob(c, callerOf(context), edit)) };
    },

    async deleteJob(request, context) {
      await deleteJob(removal, callerOf(context), readChange(request));
      return {};
    },

    async actOnJobs(request, context) {
      return actMessage(await actOnJobs(removal, callerOf(context), readAct(request)));
    },

    async discardDeadLetter(request, context) {
      await discardDeadLetter(c, callerOf(context), readChange(request));
      return {};
    },
  };
}

const cancelOutcomes: Readonly<Record<Cancelled, CancelOutcome>> = {
  cancelled: CancelOutcome.CANCELLED,
  requested: CancelOutcome.REQUESTED,
  "already-terminal": CancelOutcome.ALREADY_TERMINAL,
};

/** The lease that a change names, which must be of its job; null when it names none. */
function readNamedLease(jobId: string, ref: LeaseRef | undefined): Lease | null {
  const problems: Problems = [];
  const lease = readLease(problems, "lease", ref);
  if (lease !== null && lease.jobId !== jobId) {
    problems.push({ field: "lease.jobId", message: "must be the job that is cancelled" });
  }
  refuseProblems(problems);
  return lease;
}

/** The job that a change is asked of, why, and under which id; refuses all that is wrong, `problems` too. */
function readChange(
  request: { readonly jobId: string; readonly reason: string; readonly requestId?: string },
  problems: Problems = [],
): { readonly jobId: string; readonly reason: string; readonly requestId: string } {
  const jobId = readId(problems, "job", request.jobId, "jobId") ?? "";
  const reason = readReason(problems, request.reason);
  const requestId = readRequestId(problems, request.requestId ?? "");
  refuseProblems(problems);
  return { jobId, reason, requestId };
}

function checkOneOf(
  problems: Problems,
  request: { readonly jobId: string; readonly externalId: string },
): void {
  if ((request.jobId === "") !== (request.externalId === "")) return;
  problems.push({ field: "jobId", message: "or externalId must be given, and not both" });
}
