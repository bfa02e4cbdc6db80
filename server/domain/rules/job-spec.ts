import { type JobSettingName, type PartialJobSettings, settingViolations } from "./settings.ts";
import { nameFault, projectNameFault, textFault } from "./text.ts";

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
}

/** One wrong field of a request: its path within the job, and what is wrong, to be read after it. */
export interface JobViolation {
  /** As in the proto3 JSON form of a JobSpec: `retry.maxAttempts`. */
  readonly field: string;
  readonly message: string;
}

/** Time between the soft timeout and the hard one when only the first is given. */
export const hardTimeoutDelayMs = 10_000;

/** What the queue is when none is given. */
export const defaultQueue = "default";

/** What the priority is when none is given. */
export const normalPriority = 128;

/** All that is wrong with a job, at once; empty when nothing is. `heartbeatMs` is the server's heartbeat. */
export function jobViolations(
  job: JobRequest,
  limits: { readonly heartbeatMs: number },
): readonly JobViolation[] {
  const found: JobViolation[] = [];
  const check = (field: string, message: string | null): void => {
    if (message !== null) found.push({ field, message });
  };
  check("kind", nameFault(job.kind));
  check("title", textFault(job.title, { max: 200 }));
  check("queue", nameFault(job.queue));
  check("priority", wholeFault(job.priority, 0, 255));
  check("points", wholeFault(job.points, 1, 10_000));
  checkNames("requiredSkills", job.skills, check);
  checkNames("instructions", job.instructions, check);
  if (job.project !== null) check("project", projectNameFault(job.project));
  if (job.pool !== null) check("pool", nameFault(job.pool));
  if (job.externalId !== null) check("externalId", textFault(job.externalId, { min: 1, max: 200 }));
  checkLabels(job.labels, check);
  checkTimes(job, check);
  for (const { setting, message } of settingViolations(job, limits)) check(settingPaths[setting], message);
  return found.length === 0 ? none : found;
}

/** The path of each setting in the proto3 JSON form of a JobSpec, and of JobSettings. */
export const settingPaths: Readonly<Record<JobSettingName, string>> = {
  reclaimAfterMs: "reclaimAfter",
  leaseTtlMs: "leaseTtl",
  maxAttempts: "retry.maxAttempts",
  backoffInitialMs: "retry.backoffInitial",
  backoffMaxMs: "retry.backoffMax",
  backoffFactor: "retry.backoffFactor",
};

type Check = (field: string, message: string | null) => void;

const none: readonly JobViolation[] = [];
const listMax = 32;
const dayMs = 86_400_000;

function checkNames(field: string, names: readonly string[], check: Check): void {
  if (names.length > listMax) check(field, `must have at most ${listMax} entries`);
  for (const [index, name] of names.slice(0, listMax).entries()) check(`${field}[${index}]`, nameFault(name));
}

function checkLabels(labels: Readonly<Record<string, string>>, check: Check): void {
  const entries = Object.entries(labels);
  if (entries.length > listMax) check("labels", `must have at most ${listMax} entries`);
  for (const [key, value] of entries.slice(0, listMax)) {
    const keyFault = textFault(key, { min: 1, max: 63 });
    if (keyFault !== null) check("labels", `has a key that ${keyFault}`);
    else check(`labels["${key}"]`, textFault(value, { max: 255 }));
  }
}

function checkTimes({ softTimeoutMs, hardTimeoutMs, runAt, deadline }: JobRequest, check: Check): void {
  const inRange = (ms: number, max: number): boolean => ms >= 1_000 && ms <= max;
  if (softTimeoutMs !== null && !inRange(softTimeoutMs, 7 * dayMs)) {
    check("softTimeout", "must be from 1s to 7d");
  }
  if (hardTimeoutMs !== null && !inRange(hardTimeoutMs, 7 * dayMs + hardTimeoutDelayMs)) {
    check("hardTimeout", "must be from 1s to 7d");
  } else if (hardTimeoutMs !== null && softTimeoutMs !== null && hardTimeoutMs < softTimeoutMs) {
    check("hardTimeout", "must not be below the soft timeout");
  }
  if (runAt !== null && deadline !== null && deadline.getTime() <= runAt.getTime()) {
    check("deadline", "must be after runTime");
  }
}

function wholeFault(value: number, min: number, max: number): string | null {
  return Number.isInteger(value) && value >= min && value <= max ? null : `must be from ${min} to ${max}`;
}
