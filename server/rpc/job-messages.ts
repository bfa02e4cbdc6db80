import type { MessageInitShape } from "@bufbuild/protobuf";
import type { AttemptEventSchema } from "@muster/client/v1/event";
import type {
  AttemptSchema,
  DeadLetterSchema,
  JobErrorSchema,
  JobSchema,
  ProfileSchema,
} from "@muster/client/v1/job";
import type { DeadLetterGroupSchema } from "@muster/client/v1/job_service";
import type { AttemptView } from "../domain/attempts.ts";
import type { DeadLetterGroup, DeadLetterView } from "../domain/dead-letters.ts";
import type { JobView } from "../domain/job-views.ts";
import type { RecordedEvent } from "../domain/rules/event-record.ts";
import type { Profile } from "../domain/rules/profiles.ts";
import { writeJobSpec } from "./job-specs.ts";
import { fineDuration, writeId, writeTime } from "./messages.ts";
import { writePayload } from "./payloads.ts";

/** A job with its present state. */
export function jobMessage(job: JobView): MessageInitShape<typeof JobSchema> {
  const { progress } = job;
  return {
    jobId: writeId("job", job.jobId),
    spec: writeJobSpec(job.spec),
    state: job.state,
    attempt: job.attempt,
    generation: job.generation,
    failures: job.failures,
    losses: job.losses,
    releases: job.releases,
    batchId: writeId("batch", job.batchId),
    parentJobId: writeId("job", job.parentJobId),
    createTime: writeTime(job.createdAt),
    startTime: writeTime(job.startedAt),
    endTime: writeTime(job.endedAt),
    wakeTime: writeTime(job.wakeAt),
    workerId: writeId("worker", job.workerId),
    workerName: job.workerName ?? "",
    leaseId: writeId("lease", job.leaseId),
    cancelRequested: job.isCancelRequested,
    reason: job.reason ?? "",
    progress:
      progress === null
        ? undefined
        : {
            message: progress.message,
            updateTime: writeTime(progress.updatedAt),
            ...(progress.fraction === null ? {} : { fraction: progress.fraction }),
          },
    result: writePayload(job.result),
    error: errorMessage(job.error),
    prUrl: job.prUrl ?? "",
    sessionId: job.sessionId ?? "",
    waitingOn: job.waitingOn,
  };
}

/** One execution of a job. */
export function attemptMessage(attempt: AttemptView): MessageInitShape<typeof AttemptSchema> {
  return {
    jobId: writeId("job", attempt.jobId),
    attempt: attempt.attempt,
    generation: attempt.generation,
    leaseId: writeId("lease", attempt.leaseId),
    workerId: writeId("worker", attempt.workerId),
    workerName: attempt.workerName ?? "",
    startTime: writeTime(attempt.startedAt),
    endTime: writeTime(attempt.endedAt),
    outcome: attempt.outcome ?? 0,
    error: errorMessage(attempt.error),
    final: attempt.isFinal,
    result: writePayload(attempt.result),
    prUrl: attempt.prUrl ?? "",
    sessionId: attempt.sessionId ?? "",
    isolation: attempt.isolation ?? 0,
    ...(attempt.profile === null ? {} : { profile: profileMessage(attempt.profile) }),
  };
}

/** Where time went. */
export function profileMessage({ spans, dropped, runMs }: Profile): MessageInitShape<typeof ProfileSchema> {
  return {
    spans: spans.map(({ name, parent, count, failed, totalMs, selfMs }) => ({
      name,
      parent: parent === null ? 0 : parent + 1,
      count: BigInt(count),
      failed: BigInt(failed),
      totalTime: fineDuration(totalMs),
      selfTime: fineDuration(selfMs),
    })),
    dropped: BigInt(dropped),
    runTime: fineDuration(runMs),
  };
}

/** A run that ended without success. */
export function deadLetterMessage(letter: DeadLetterView): MessageInitShape<typeof DeadLetterSchema> {
  const { job, cause, fingerprint, deadAt } = letter;
  return { job: jobMessage(job), cause, fingerprint, deadTime: writeTime(deadAt) };
}

/** Dead letters with equal errors. */
export function deadLetterGroupMessage(
  group: DeadLetterGroup,
): MessageInitShape<typeof DeadLetterGroupSchema> {
  return {
    fingerprint: group.fingerprint,
    kind: group.kind,
    count: BigInt(group.count),
    error: errorMessage(group.error),
    firstTime: writeTime(group.firstAt),
    lastTime: writeTime(group.lastAt),
    sampleJobId: writeId("job", group.sampleJobId),
    hourly: [...group.hourly],
  };
}

/** Something that an attempt said. */
export function eventMessage(event: RecordedEvent): MessageInitShape<typeof AttemptEventSchema> {
  return {
    attempt: event.attempt,
    sequence: BigInt(event.sequence),
    time: writeTime(new Date(event.timeMs)),
    body: eventBody(event),
  };
}

type EventBody = NonNullable<MessageInitShape<typeof AttemptEventSchema>["body"]>;

function eventBody(event: RecordedEvent): EventBody {
  switch (event.type) {
    case "log":
      return { case: "log", value: { stream: event.stream, text: event.text, level: event.level } };
    case "partial":
      return { case: "partial", value: writePayload(event.json) ?? {} };
    case "message":
      return { case: "message", value: event.text };
    case "event":
      return { case: "event", value: { name: event.name, body: writePayload(event.json) ?? {} } };
    case "gap": {
      const { from, to, cause } = event;
      return { case: "gap", value: { fromSequence: BigInt(from), toSequence: BigInt(to), cause } };
    }
  }
}

function errorMessage(error: JobView["error"]): MessageInitShape<typeof JobErrorSchema> | undefined {
  return error === null ? undefined : { ...error };
}
