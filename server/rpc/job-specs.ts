import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type {
  JobSpec,
  JobSpecSchema,
  JobTargetSchema,
  RetryPolicy,
  RetryPolicySchema,
} from "@muster/client/v1/job";
import type { JobSpecView } from "../domain/job-views.ts";
import {
  defaultQueue,
  hardTimeoutDelayMs,
  type JobRequest,
  type JobTarget,
  jobViolations,
  normalPriority,
} from "../domain/rules/job-spec.ts";
import type { PartialJobSettings } from "../domain/rules/settings.ts";
import { type ShapeTarget, targetParts } from "../domain/rules/shapes.ts";
import { readDependencies, readPolicy, writeDependencies, writePolicy } from "./dependencies.ts";
import { orNull, type Problems, readDuration, readId, readTime, writeId, writeTime } from "./messages.ts";
import { readPayload, writePayload } from "./payloads.ts";

/** What is looked at when a job is read. */
export interface JobLimits {
  readonly heartbeatMs: number;
  readonly maxPayloadBytes: number;
}

/** A job as it is asked for, with its defaults; all that is wrong with it is a problem at `path`. */
export function readJobSpec(problems: Problems, path: string, spec: JobSpec, limits: JobLimits): JobRequest {
  const softTimeoutMs = readDuration(problems, `${path}.softTimeout`, spec.softTimeout);
  const hardTimeoutMs = readDuration(problems, `${path}.hardTimeout`, spec.hardTimeout);
  const job: JobRequest = {
    kind: spec.kind,
    title: spec.title,
    payload: readPayload(problems, `${path}.payload`, spec.payload, limits.maxPayloadBytes),
    queue: spec.queue === "" ? defaultQueue : spec.queue,
    priority: spec.priority ?? normalPriority,
    points: spec.points ?? 1,
    skills: spec.requiredSkills,
    project: orNull(spec.project),
    labels: spec.labels,
    externalId: orNull(spec.externalId),
    runAt: readTime(problems, `${path}.runTime`, spec.runTime),
    deadline: readTime(problems, `${path}.deadline`, spec.deadline),
    softTimeoutMs,
    hardTimeoutMs: hardTimeoutMs ?? (softTimeoutMs === null ? null : softTimeoutMs + hardTimeoutDelayMs),
    exclusive: spec.exclusive,
    atMostOnce: spec.atMostOnce,
    instructions: spec.instructions,
    opensPullRequest: spec.opensPullRequest ?? spec.project !== "",
    pool: orNull(spec.pool),
    ...readTarget(problems, `${path}.target`, spec.target),
    dependsOn: readDependencies(problems, `${path}.dependsOn`, spec.dependsOn),
    dependencyPolicy: readPolicy(spec.dependencyPolicy),
    ref: orNull(spec.ref),
    ...readSettings(problems, path, spec),
  };
  for (const violation of jobViolations(job, path, limits)) problems.push(violation);
  return job;
}

// Absent without one, and when it was left empty.
function readTarget(
  problems: Problems,
  path: string,
  asked: JobSpec["target"],
): { readonly target?: JobTarget } {
  switch (asked?.target.case) {
    case "worker": {
      const worker = asked.target.value;
      const isId = worker.startsWith("wrk_");
      const workerId = isId ? readId(problems, "worker", worker, `${path}.worker`) : null;
      if (isId && workerId === null) return {};
      return { target: { type: "worker", workerId, name: worker } };
    }
    case "sessionId":
      return { target: { type: "session", sessionId: asked.target.value } };
    case "projectSession":
      return asked.target.value ? { target: { type: "project" } } : {};
    case undefined:
      return {};
  }
}

/** Settings as a message says them, of a job or of a scope; what is absent is inherited. */
export function readSettings(
  problems: Problems,
  path: string,
  { reclaimAfter, leaseTtl, retry }: Pick<JobSpec, "reclaimAfter" | "leaseTtl" | "retry">,
): PartialJobSettings {
  const durationAt = (field: string, duration: JobSpec["leaseTtl"]): number | undefined =>
    readDuration(problems, `${path}.${field}`, duration) ?? undefined;
  return {
    reclaimAfterMs: durationAt("reclaimAfter", reclaimAfter),
    leaseTtlMs: durationAt("leaseTtl", leaseTtl),
    maxAttempts: retry?.maxAttempts,
    backoffInitialMs: durationAt("retry.backoffInitial", retry?.backoffInitial),
    backoffMaxMs: durationAt("retry.backoffMax", retry?.backoffMax),
    backoffFactor: retry?.backoffFactor,
  };
}

/** Settings as a message. */
export function writeSettings(settings: PartialJobSettings): {
  readonly reclaimAfter?: ReturnType<typeof durationFromMs>;
  readonly leaseTtl?: ReturnType<typeof durationFromMs>;
  readonly retry?: MessageInitShape<typeof RetryPolicySchema>;
} {
  const { reclaimAfterMs, leaseTtlMs, maxAttempts, backoffInitialMs, backoffMaxMs, backoffFactor } = settings;
  const retry = {
    ...(maxAttempts === undefined ? {} : { maxAttempts }),
    ...(backoffInitialMs === undefined ? {} : { backoffInitial: durationFromMs(backoffInitialMs) }),
    ...(backoffMaxMs === undefined ? {} : { backoffMax: durationFromMs(backoffMaxMs) }),
    ...(backoffFactor === undefined ? {} : { backoffFactor }),
  } satisfies Partial<Omit<RetryPolicy, "$typeName">>;
  return {
    ...(reclaimAfterMs === undefined ? {} : { reclaimAfter: durationFromMs(reclaimAfterMs) }),
    ...(leaseTtlMs === undefined ? {} : { leaseTtl: durationFromMs(leaseTtlMs) }),
    ...(Object.keys(retry).length === 0 ? {} : { retry }),
  };
}

function writeTarget(target: ShapeTarget | null): MessageInitShape<typeof JobTargetSchema> | undefined {
  if (target === null) return undefined;
  const { type, name } = targetParts(target);
  switch (type) {
    case "worker":
      return { target: { case: "worker", value: writeId("worker", name) } };
    case "session":
      return { target: { case: "sessionId", value: name } };
    case "project":
      return { target: { case: "projectSession", value: true } };
  }
}

/** What was asked, with the server's defaults filled in. */
export function writeJobSpec(spec: JobSpecView): MessageInitShape<typeof JobSpecSchema> {
  const { payload, softTimeoutMs, hardTimeoutMs, runAt, deadline } = spec;
  return {
    kind: spec.kind,
    title: spec.title,
    queue: spec.queue,
    priority: spec.priority,
    points: spec.points,
    requiredSkills: [...spec.skills],
    project: spec.project ?? "",
    labels: { ...spec.labels },
    externalId: spec.externalId ?? "",
    exclusive: spec.isExclusive,
    atMostOnce: spec.isAtMostOnce,
    instructions: [...spec.instructions],
    opensPullRequest: spec.opensPullRequest,
    pool: spec.pool ?? "",
    target: writeTarget(spec.target),
    dependsOn: writeDependencies(spec.dependsOn),
    dependencyPolicy: writePolicy(spec.dependencyPolicy),
    payload: writePayload(payload),
    runTime: writeTime(runAt),
    deadline: writeTime(deadline),
    softTimeout: softTimeoutMs === null ? undefined : durationFromMs(softTimeoutMs),
    hardTimeout: hardTimeoutMs === null ? undefined : durationFromMs(hardTimeoutMs),
    ...writeSettings(spec),
  };
}
