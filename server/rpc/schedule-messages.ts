import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { DependencySchema, JobSpecSchema, JobTargetSchema } from "@muster/client/v1/job";
import {
  CatchUpPolicy as CatchUp,
  FireCause as Cause,
  type FireSchema,
  FireOutcome as Outcome,
  OverlapPolicy as Overlap,
  type PreviewScheduleResponseSchema,
  type Schedule,
  type ScheduleSchema,
  ScheduleState as State,
} from "@muster/client/v1/schedule_service";
import type { ParentName } from "../domain/rules/dependencies.ts";
import type { JobRequest, JobTarget } from "../domain/rules/job-spec.ts";
import {
  type CatchUpPolicy,
  type FireCause,
  type FireOutcome,
  type OverlapPolicy,
  type ScheduleSpec,
  type ScheduleState,
  standardCatchUp,
  type TimingSpec,
} from "../domain/rules/schedules.ts";
import type { SchedulePreview } from "../domain/schedule-previews.ts";
import type { FireView, ScheduleView } from "../domain/schedule-views.ts";
import { writePolicy } from "./dependencies.ts";
import { type JobLimits, readJobSpec, writeSettings } from "./job-specs.ts";
import { type Problems, readDuration, readTime, required, writeId, writeTime } from "./messages.ts";
import { writePayload } from "./payloads.ts";

/** A schedule as it is asked for, with its defaults; null, and a problem, when it says of no job. */
export function readScheduleSpec(
  problems: Problems,
  path: string,
  message: Schedule,
  limits: JobLimits,
): ScheduleSpec | null {
  const { name, labels, paused, catchUpLimit } = message;
  const timing = readTiming(problems, path, message);
  const overlap = readOverlap(problems, `${path}.overlap`, message.overlap) ?? "skip";
  const catchUp = catchUps.get(message.catchUp);
  if (catchUp === undefined) problems.push({ field: `${path}.catchUp`, message: "is not a policy" });
  const job = required(problems, `${path}.job`, message.job)
    ? readJobSpec(problems, `${path}.job`, message.job, limits)
    : null;
  if (job === null || catchUp === undefined) return null;
  return {
    ...timing,
    ...{ name, overlap, catchUp, labels, job, isPaused: paused },
    catchUpLimit: catchUpLimit === 0 ? standardCatchUp : catchUpLimit,
  };
}

/** What of a schedule decides when it fires. */
export function readTiming(problems: Problems, path: string, message: Schedule): TimingSpec {
  const { cron, zone, jitter, startTime, endTime } = message;
  return {
    cron,
    zone: zone === "" ? "UTC" : zone,
    jitterMs: readDuration(problems, `${path}.jitter`, jitter) ?? 0,
    startAt: readTime(problems, `${path}.startTime`, startTime),
    endAt: readTime(problems, `${path}.endTime`, endTime),
  };
}

/** An overlap policy; null when it is left open. */
export function readOverlap(problems: Problems, field: string, wire: Overlap): OverlapPolicy | null {
  if (wire === Overlap.UNSPECIFIED) return null;
  const known = byWire(overlaps, wire);
  if (known === null) problems.push({ field, message: "is not a policy" });
  return known;
}

/** How schedules are to stand; null: any way. */
export function readState(problems: Problems, wire: State): ScheduleState | null {
  if (wire === State.UNSPECIFIED) return null;
  const known = byWire(states, wire);
  if (known === null) problems.push({ field: "state", message: "is not a state" });
  return known;
}

/** What is to have become of fire times; null: anything. */
export function readOutcome(problems: Problems, wire: Outcome): FireOutcome | null {
  if (wire === Outcome.UNSPECIFIED) return null;
  const known = byWire(outcomes, wire);
  if (known === null) problems.push({ field: "outcome", message: "is not an outcome" });
  return known;
}

/** A schedule as a message. */
export function scheduleMessage(view: ScheduleView): MessageInitShape<typeof ScheduleSchema> {
  const { name, cron, zone, jitterMs, catchUp, catchUpLimit, labels, etag, pauseReason, words } = view;
  return {
    ...{ name, cron, zone, catchUpLimit, labels: { ...labels }, etag, pauseReason, words },
    jitter: jitterMs === 0 ? undefined : durationFromMs(jitterMs),
    startTime: writeTime(view.startAt),
    endTime: writeTime(view.endAt),
    overlap: overlaps[view.overlap],
    catchUp: catchUpMessages[catchUp],
    paused: view.isPaused,
    job: jobMessage(view.job),
    scheduleId: writeId("schedule", view.scheduleId),
    createTime: writeTime(view.createdAt),
    updateTime: writeTime(view.updatedAt),
    nextFireTime: writeTime(view.nextFireAt),
    lastFire: view.lastFire === null ? undefined : fireMessage(view.lastFire),
    pauseTime: writeTime(view.pausedAt),
  };
}

/** An entry of history as a message. */
export function fireMessage(fire: FireView): MessageInitShape<typeof FireSchema> {
  const { note, errorReason, count } = fire;
  return {
    ...{ note, errorReason, count: BigInt(count) },
    fireTime: writeTime(fire.fireAt),
    outcome: outcomes[fire.outcome],
    cause: causes[fire.cause],
    jobId: writeId("job", fire.jobId),
    jobState: fire.jobState ?? 0,
    recordTime: writeTime(fire.recordedAt),
    lastTime: writeTime(fire.lastAt),
  };
}

/** A preview as a message. */
export function previewMessage({
  words,
  fires,
  clockChanges,
}: SchedulePreview): MessageInitShape<typeof PreviewScheduleResponseSchema> {
  return {
    words,
    fireTimes: fires.map(({ at, wall, offset, dueAt, note }) => ({
      ...{ offset, note, wallTime: wall },
      fireTime: writeTime(at),
      dueTime: writeTime(dueAt),
    })),
    clockChanges: clockChanges.map(({ at, fromWall, toWall, affects, note }) => ({
      ...{ affects, note, fromWallTime: fromWall, toWallTime: toWall },
      time: writeTime(at),
    })),
  };
}

const overlaps: Readonly<Record<OverlapPolicy, Overlap>> = {
  skip: Overlap.SKIP,
  queue: Overlap.QUEUE,
  replace: Overlap.REPLACE,
  allow: Overlap.ALLOW,
};
const catchUpMessages: Readonly<Record<CatchUpPolicy, CatchUp>> = {
  none: CatchUp.NONE,
  one: CatchUp.ONE,
  all: CatchUp.ALL,
};
const catchUps = new Map<CatchUp, CatchUpPolicy>([
  [CatchUp.UNSPECIFIED, "one"],
  [CatchUp.NONE, "none"],
  [CatchUp.ONE, "one"],
  [CatchUp.ALL, "all"],
]);
const outcomes: Readonly<Record<FireOutcome, Outcome>> = {
  submitted: Outcome.SUBMITTED,
  skipped: Outcome.SKIPPED,
  missed: Outcome.MISSED,
  failed: Outcome.FAILED,
};
const causes: Readonly<Record<FireCause, Cause>> = {
  due: Cause.DUE,
  "catch-up": Cause.CATCH_UP,
  trigger: Cause.TRIGGER,
  backfill: Cause.BACKFILL,
};
const states: Readonly<Record<ScheduleState, State>> = {
  active: State.ACTIVE,
  paused: State.PAUSED,
  ended: State.ENDED,
  failing: State.FAILING,
};

function byWire<Name extends string, Wire>(table: Readonly<Record<Name, Wire>>, wire: Wire): Name | null {
  for (const name in table) if (table[name] === wire) return name;
  return null;
}

function jobMessage(job: JobRequest): MessageInitShape<typeof JobSpecSchema> {
  const { softTimeoutMs, hardTimeoutMs } = job;
  return {
    ...{ kind: job.kind, title: job.title, queue: job.queue, priority: job.priority, points: job.points },
    ...{ requiredSkills: [...job.skills], project: job.project ?? "", labels: { ...job.labels } },
    ...{ exclusive: job.exclusive, atMostOnce: job.atMostOnce, instructions: [...job.instructions] },
    ...{ opensPullRequest: job.opensPullRequest, pool: job.pool ?? "" },
    payload: job.payload === "null" ? undefined : writePayload(job.payload),
    target: targetMessage(job.target),
    dependsOn: job.dependsOn.map(parentMessage),
    dependencyPolicy: writePolicy(job.dependsOn.length === 0 ? null : job.dependencyPolicy),
    softTimeout: softTimeoutMs === null ? undefined : durationFromMs(softTimeoutMs),
    hardTimeout: hardTimeoutMs === null ? undefined : durationFromMs(hardTimeoutMs),
    ...writeSettings(job),
  };
}

function targetMessage(target: JobTarget | undefined): MessageInitShape<typeof JobTargetSchema> | undefined {
  switch (target?.type) {
    case "worker":
      return {
        target: {
          case: "worker",
          value: target.workerId === null ? target.name : writeId("worker", target.workerId),
        },
      };
    case "session":
      return { target: { case: "sessionId", value: target.sessionId } };
    case "project":
      return { target: { case: "projectSession", value: true } };
    case undefined:
      return undefined;
  }
}

function parentMessage(parent: ParentName): MessageInitShape<typeof DependencySchema> {
  switch (parent.type) {
    case "job":
      return { parent: { case: "jobId", value: writeId("job", parent.jobId) } };
    case "external":
      return { parent: { case: "externalId", value: parent.externalId } };
    case "ref":
      return { parent: { case: "ref", value: parent.ref } };
  }
}
