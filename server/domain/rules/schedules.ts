import { isZone, zoneNames } from "./clock-changes.ts";
import { readCron } from "./cron.ts";
import { fireTimesOf, nextFireTimes, type Timing } from "./fire-times.ts";
import { type JobRequest, type JobViolation, labelViolations } from "./job-spec.ts";
import { nearestWord } from "./spelling.ts";
import { nameViolations, slugRule } from "./texts.ts";

/** What becomes of a fire while jobs of earlier ones have not ended. */
export type OverlapPolicy = "skip" | "queue" | "replace" | "allow";

/** What becomes of fire times that no coordinator could make in time. */
export type CatchUpPolicy = "none" | "one" | "all";

/** What became of a fire time. */
export type FireOutcome = "submitted" | "skipped" | "missed" | "failed";

/** Why there is a fire. */
export type FireCause = "due" | "catch-up" | "trigger" | "backfill";

/** How schedules may be told apart in a list. */
export type ScheduleState = "active" | "paused" | "ended" | "failing";

const actorStart = "schedule:";

/** Who submits the jobs of a schedule, as it is written down with each of them. */
export function scheduleActor(name: string): string {
  return `${actorStart}${name}`;
}

/** The name of the schedule that submitted a job; null: somebody else did. */
export function scheduleOfActor(actor: string): string | null {
  return actor.startsWith(actorStart) ? actor.slice(actorStart.length) : null;
}

/** What is asked of a schedule, complete: what was left out has its default. */
export interface ScheduleSpec {
  readonly name: string;
  readonly cron: string;
  readonly zone: string;
  readonly jitterMs: number;
  readonly startAt: Date | null;
  readonly endAt: Date | null;
  readonly overlap: OverlapPolicy;
  readonly catchUp: CatchUpPolicy;
  readonly catchUpLimit: number;
  readonly isPaused: boolean;
  /** What each of its jobs is. */
  readonly job: JobRequest;
  readonly labels: Readonly<Record<string, string>>;
}

/** What of a schedule decides when it fires. */
export type TimingSpec = Pick<ScheduleSpec, "cron" | "zone" | "jitterMs" | "startAt" | "endAt">;

/** How many missed times `all` makes up when it does not say. */
export const standardCatchUp = 10;

/** Fire times that a call may ask for. */
export const maxFireTimes = 1_000;

/** Schedules that an org may keep: all of them may be due in the same second. */
export const mostSchedules = 10_000;

/** All that is wrong with a schedule but for its job by itself; `createdMs` is when it was, or is, created. */
export function scheduleViolations(spec: ScheduleSpec, path: string, createdMs: number): JobViolation[] {
  const at = (field: string): string => `${path}.${field}`;
  const { catchUpLimit } = spec;
  return [
    ...nameViolations(at("name"), spec.name, slugRule),
    ...timingViolations(spec, path, createdMs),
    ...(Number.isInteger(catchUpLimit) && catchUpLimit >= 1 && catchUpLimit <= maxFireTimes
      ? []
      : [{ field: at("catchUpLimit"), message: `must be from 1 to ${maxFireTimes}` }]),
    ...labelViolations(at("labels"), spec.labels),
    ...templateViolations(spec, at("job")),
  ];
}

/** What is wrong with when a schedule fires. */
export function timingViolations(spec: TimingSpec, path: string, createdMs: number): JobViolation[] {
  const at = (field: string): string => `${path}.${field}`;
  const { cron, zone, jitterMs, startAt, endAt } = spec;
  const found: JobViolation[] = [];
  const read = readCron(cron);
  if ("fault" in read) found.push({ field: at("cron"), message: read.fault });
  if (!isZone(zone)) found.push({ field: at("zone"), message: `is no time zone${zoneHint(zone)}` });
  if (jitterMs < 0 || jitterMs > longestJitterMs) {
    found.push({ field: at("jitter"), message: "must be from 0s to 24h" });
  }
  if (startAt !== null && endAt !== null && endAt.getTime() <= startAt.getTime()) {
    found.push({ field: at("endTime"), message: "must be after startTime" });
  }
  if (found.length > 0) return found;
  const times = fireTimesOf({ ...spec, createdAt: new Date(createdMs) });
  const next = nextFireTimes(times, createdMs, gapsLooked);
  if (next.length === 0 && (startAt !== null || endAt !== null)) {
    const until = endAt === null ? "" : " before its end";
    return [{ field: at(endAt === null ? "cron" : "endTime"), message: `leaves no time to fire at${until}` }];
  }
  const gapMs = Math.min(...next.slice(1).map((ms, index) => ms - (next[index] ?? 0)));
  if (jitterMs > 0 && jitterMs >= gapMs) {
    const message = `must be less than the ${gapMs / 1_000}s between two fires`;
    return [{ field: at("jitter"), message }];
  }
  return [];
}

/** What decides when a saved schedule fires. */
export function timingOf(spec: TimingSpec, createdAt: Date): Timing {
  const { cron, zone, jitterMs, startAt, endAt } = spec;
  return { cron, zone, jitterMs, startAt, endAt, createdAt };
}

const longestJitterMs = 86_400_000;
/** Gaps between fires that are looked at for the shortest. */
const gapsLooked = 100;

// What is of one job cannot be of all that a schedule makes.
function templateViolations({ overlap, job }: ScheduleSpec, path: string): JobViolation[] {
  const ofOne = "is of a single job: a schedule makes many";
  const found: JobViolation[] = [];
  if (job.runAt !== null)
    found.push({ field: `${path}.runTime`, message: "is what the cron of a schedule says" });
  if (job.deadline !== null) found.push({ field: `${path}.deadline`, message: ofOne });
  if (job.externalId !== null) found.push({ field: `${path}.externalId`, message: ofOne });
  if (job.ref !== null) found.push({ field: `${path}.ref`, message: ofOne });
  const waits = overlap === "queue" || overlap === "replace";
  if (waits && job.dependsOn.length > 0 && job.dependencyPolicy === "cancel") {
    const message = `must be RELEASE with the overlap policy ${overlap}: each job waits for the one before, however it ends`;
    found.push({ field: `${path}.dependencyPolicy`, message });
  }
  return found;
}

function zoneHint(given: string): string {
  if (given === "") return ", and is required";
  const names = zoneNames();
  const city = given.toLowerCase().replaceAll(" ", "_");
  const near =
    names.find((name) => name.toLowerCase().split("/").at(-1) === city) ??
    nearestWord(given.slice(0, 64), names);
  return near === undefined
    ? ": use a name of the IANA database, like Europe/Berlin"
    : `; did you mean ${near}?`;
}
