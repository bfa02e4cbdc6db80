import { type DependencyPolicy, dependencyViolations, type ParentName } from "./dependencies.ts";
import { type JobSettingName, type PartialJobSettings, settingViolations } from "./settings.ts";
import { nameViolations, projectRule, slugRule, textViolations } from "./texts.ts";

/** What a submitter asks for, complete: what was left out has its default. */
export interface JobRequest extends PartialJobSettings {
  /** Selects the handler. */
  readonly kind: string;
  readonly title: string;
  /** JSON text, checked by whoever read it. */
  readonly payload: string;
  readonly queue: string;
  /** 0 to 255, larger first. */
  readonly priority: number;
  readonly points: number;
  readonly skills: readonly string[];
  readonly project: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly externalId: string | null;
  readonly runAt: Date | null;
  readonly deadline: Date | null;
  readonly softTimeoutMs: number | null;
  readonly hardTimeoutMs: number | null;
  readonly exclusive: boolean;
  readonly atMostOnce: boolean;
  readonly instructions: readonly string[];
  readonly opensPullRequest: boolean;
  readonly pool: string | null;
  /** Who alone may run it; absent: any worker that can. */
  readonly target?: JobTarget | undefined;
  /** What must succeed first, in the order in which the handler gets the results. */
  readonly dependsOn: readonly ParentName[];
  readonly dependencyPolicy: DependencyPolicy;
  /** Name by which others of the same batch depend on it; not kept. */
  readonly ref: string | null;
}

/** Who alone may run a job, as it was asked for. */
export type JobTarget =
  | { readonly type: "worker"; readonly workerId: string | null; readonly name: string }
  | { readonly type: "session"; readonly sessionId: string }
  /** A session of its project. */
  | { readonly type: "project" };

/** One wrong field of a request: its path in the proto3 JSON form, and what is wrong with it, to be read after it. */
export interface JobViolation {
  readonly field: string;
  readonly message: string;
}

/** Time between the soft timeout and the hard one when only the first is given. */
export const hardTimeoutDelayMs = 10_000;

/** What the queue is when none is given. */
export const defaultQueue = "default";

/** What the priority is when none is given. */
export const normalPriority = 128;

/**
 * All that is wrong with a job, at once, except with its payload; empty when nothing is. Fields are named from
 * `path`, the place of the job in the request. `heartbeatMs` is the server's heartbeat.
 */
export function jobViolations(
  job: JobRequest,
  path: string,
  limits: { readonly heartbeatMs: number },
): readonly JobViolation[] {
  const at = (field: string): string => `${path}.${field}`;
  return [
    ...(job.kind === "" ? [{ field: at("kind"), message: "is required" }] : nameOf(at("kind"), job.kind)),
    ...textViolations(at("title"), job.title, { min: 0, max: 200 }),
    ...nameOf(at("queue"), job.queue),
    ...wholeOf(at("priority"), job.priority, 0, 255),
    ...wholeOf(at("points"), job.points, 1, 10_000),
    ...namesOf(at("requiredSkills"), job.skills),
    ...namesOf(at("instructions"), job.instructions),
    ...(job.project === null ? [] : nameViolations(at("project"), job.project, projectRule)),
    ...(job.pool === null ? [] : nameOf(at("pool"), job.pool)),
    ...(job.externalId === null ? [] : keyViolations(at("externalId"), job.externalId)),
    ...targetOf(at, job),
    ...labelViolations(at("labels"), job.labels),
    ...timesOf(at, job),
    ...dependencyViolations(job, path),
    ...settingViolations(job, limits).map(({ setting, message }) => ({
      field: at(settingPaths[setting]),
      message,
    })),
  ];
}

/** What is wrong with labels. */
export function labelViolations(field: string, labels: Readonly<Record<string, string>>): JobViolation[] {
  const entries = Object.entries(labels);
  if (entries.length > listMax) return [{ field, message: `must have at most ${listMax} entries` }];
  return entries.flatMap(([key, value]) => {
    const [wrongKey] = textViolations(field, key, { min: 1, max: 63 });
    if (wrongKey !== undefined) return [{ field, message: `has a key that ${wrongKey.message}` }];
    return textViolations(`${field}["${key}"]`, value, { min: 0, max: 255 });
  });
}

/** What is wrong with an external id or an idempotency key. */
export function keyViolations(field: string, key: string): JobViolation[] {
  return textViolations(field, key, { min: 1, max: 200 });
}

const settingPaths: Readonly<Record<JobSettingName, string>> = {
  reclaimAfterMs: "reclaimAfter",
  leaseTtlMs: "leaseTtl",
  maxAttempts: "retry.maxAttempts",
  backoffInitialMs: "retry.backoffInitial",
  backoffMaxMs: "retry.backoffMax",
  backoffFactor: "retry.backoffFactor",
};

const listMax = 32;
const dayMs = 86_400_000;

function nameOf(field: string, name: string): JobViolation[] {
  return nameViolations(field, name, slugRule);
}

function namesOf(field: string, names: readonly string[]): JobViolation[] {
  if (names.length > listMax) return [{ field, message: `must have at most ${listMax} entries` }];
  return names.flatMap((name, index) => nameOf(`${field}[${index}]`, name));
}

function targetOf(at: (field: string) => string, { target, project }: JobRequest): JobViolation[] {
  switch (target?.type) {
    case "worker":
      return target.workerId === null
        ? textViolations(at("target.worker"), target.name, { min: 1, max: 100 })
        : [];
    case "session":
      return textViolations(at("target.sessionId"), target.sessionId, { min: 1, max: 200 });
    case "project":
      return project === null
        ? [{ field: at("target.projectSession"), message: "needs a project whose session it is" }]
        : [];
    case undefined:
      return [];
  }
}

function timesOf(at: (field: string) => string, job: JobRequest): JobViolation[] {
  const { softTimeoutMs: soft, hardTimeoutMs: hard, runAt, deadline } = job;
  const isTimeout = (ms: number, max: number): boolean => ms >= 1_000 && ms <= max;
  const found: JobViolation[] = [];
  if (soft !== null && !isTimeout(soft, 7 * dayMs)) {
    found.push({ field: at("softTimeout"), message: "must be from 1s to 7d" });
  }
  if (hard !== null && !isTimeout(hard, 7 * dayMs + hardTimeoutDelayMs)) {
    found.push({ field: at("hardTimeout"), message: "must be from 1s to 7d" });
  } else if (hard !== null && soft !== null && hard < soft) {
    found.push({ field: at("hardTimeout"), message: "must not be below the soft timeout" });
  }
  if (runAt !== null && deadline !== null && deadline.getTime() <= runAt.getTime()) {
    found.push({ field: at("deadline"), message: "must be after runTime" });
  }
  return found;
}

function wholeOf(field: string, value: number, min: number, max: number): JobViolation[] {
  if (Number.isInteger(value) && value >= min && value <= max) return [];
  return [{ field, message: `must be from ${min} to ${max}` }];
}
