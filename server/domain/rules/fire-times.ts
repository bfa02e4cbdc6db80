import { createHash } from "node:crypto";
import { compileCron, readCron } from "./cron.ts";

/** What decides when a schedule fires. */
export interface Timing {
  readonly cron: string;
  readonly zone: string;
  readonly jitterMs: number;
  readonly startAt: Date | null;
  readonly endAt: Date | null;
  /** What `@every` counts from when there is no start. */
  readonly createdAt: Date;
}

/** The fire times of a schedule: milliseconds since 1970, whole seconds, each greater than the one before. */
export interface FireTimes {
  /** The first after a time; null when there is none. */
  after(ms: number): number | null;
  /** The last `count` before a time, oldest first. */
  before(ms: number, count: number): number[];
}

/** The fire times of a timing that has no faults. */
export function fireTimesOf({ cron, zone, startAt, endAt, createdAt }: Timing): FireTimes {
  const read = readCron(cron);
  if ("fault" in read) throw new Error(`a cron that cannot be read: ${read.fault}`);
  const startMs = startAt === null ? Number.NEGATIVE_INFINITY : wholeSecond(startAt.getTime());
  const endMs = endAt?.getTime() ?? Number.POSITIVE_INFINITY;
  const within = (ms: number | null): number | null => (ms === null || ms >= endMs ? null : ms);
  if (read.type === "every") {
    const { everyMs } = read;
    const firstMs = startAt === null ? wholeSecond(createdAt.getTime()) + everyMs : startMs;
    return {
      after: (ms) =>
        within(ms < firstMs ? firstMs : firstMs + (Math.floor((ms - firstMs) / everyMs) + 1) * everyMs),
      before(ms, count) {
        const upToMs = Math.min(ms, endMs);
        const last = Math.ceil((upToMs - firstMs) / everyMs) - 1;
        const first = Math.max(0, last - count + 1);
        return Array.from(
          { length: Math.max(0, last - first + 1) },
          (_, n) => firstMs + (first + n) * everyMs,
        );
      },
    };
  }
  const compiled = compileCron(read.pattern, zone);
  return {
    after: (ms) => within(compiled.nextRun(new Date(Math.max(ms, startMs - 1)))?.getTime() ?? null),
    before: (ms, count) =>
      compiled
        .previousRuns(count, new Date(Math.min(ms, endMs)))
        .map((date) => date.getTime())
        .filter((time) => time >= startMs && time < ms)
        .reverse(),
  };
}

/** The next `count` fire times after a time. */
export function nextFireTimes(times: FireTimes, afterMs: number, count: number): number[] {
  const found: number[] = [];
  for (let ms = times.after(afterMs); ms !== null && found.length < count; ms = times.after(ms)) {
    found.push(ms);
  }
  return found;
}

/** When the job of a fire time is made: later by a part of the jitter that the schedule and the time decide. */
export function dueTime(scheduleId: string, fireMs: number, jitterMs: number): number {
  if (jitterMs === 0) return fireMs;
  const digest = createHash("sha256").update(`${scheduleId}:${fireMs}`).digest();
  return fireMs + Math.floor((digest.readUInt32BE(0) / 2 ** 32) * jitterMs);
}

/** How late a fire may be made, in milliseconds, and not count as missed, whatever else is due. */
const promptMs = 5_000;

/** How late the latest that is due may be made, in milliseconds, and not count as missed. */
const missedAfterMs = 60_000;

/** Fire times that one pass looks at of one schedule, at most. */
export const passTimes = 1_000;

/** What is to be done about the fire times of a schedule that are due. */
export interface DueFires {
  /** To be made, in their order. */
  readonly made: readonly { readonly ms: number; readonly isCaughtUp: boolean }[];
  /** Missed for good. */
  readonly missed: readonly number[];
  /** The first that was not looked at, or is not due; null: there is none. */
  readonly nextMs: number | null;
}

/**
 * The fires that are due by `nowMs`, from the first that was not made on: what is on time is made; what is missed is
 * made up as the policy says. On time is what is at most 5 s late, and the latest that is due up to 60 s: of several
 * that nobody was there for, it alone stands for the time that it is. One that had to wait for the jitter of one before
 * it was due no earlier than that one. Looks at up to 1,000 at once, and the rest is found due again.
 */
export function dueFires(
  scheduleId: string,
  timing: Timing,
  {
    firstMs,
    nowMs,
    catchUp,
    limit,
  }: {
    readonly firstMs: number;
    readonly nowMs: number;
    readonly catchUp: "none" | "one" | "all";
    readonly limit: number;
  },
): DueFires {
  const times = fireTimesOf(timing);
  const dueOf = (ms: number): number => dueTime(scheduleId, ms, timing.jitterMs);
  const due: number[] = [];
  const prompt = new Set<number>();
  let nextMs: number | null = firstMs;
  let dueMs = Number.NEGATIVE_INFINITY;
  while (nextMs !== null && due.length < passTimes && dueOf(nextMs) <= nowMs) {
    dueMs = Math.max(dueMs, dueOf(nextMs));
    due.push(nextMs);
    if (nowMs - dueMs <= promptMs) prompt.add(nextMs);
    nextMs = times.after(nextMs);
  }
  const isWhole = nextMs === null || dueOf(nextMs) > nowMs;
  const latest = isWhole && nowMs - dueMs <= missedAfterMs ? due.at(-1) : undefined;
  const isOnTime = (ms: number): boolean => prompt.has(ms) || ms === latest;
  const late = due.filter((ms) => !isOnTime(ms));
  const caughtUp = new Set(caughtUpOf());
  return {
    made: due
      .filter((ms) => caughtUp.has(ms) || isOnTime(ms))
      .map((ms) => ({ ms, isCaughtUp: caughtUp.has(ms) })),
    missed: late.filter((ms) => !caughtUp.has(ms)),
    nextMs,
  };

  function caughtUpOf(): number[] {
    if (late.length === 0 || catchUp === "none") return [];
    if (catchUp === "one") return isWhole && late.length === due.length ? late.slice(-1) : [];
    if (isWhole) return late.slice(-limit);
    // There are more: of these only those that are among the last before what is on time.
    const past = times.before(nowMs - promptMs - timing.jitterMs, limit + 1);
    const last = past.at(-1) ?? nowMs;
    const after = times.after(last);
    const isLatest = nowMs - dueOf(last) <= missedAfterMs && (after === null || dueOf(after) > nowMs);
    const [oldest = Number.POSITIVE_INFINITY] = (isLatest ? past.slice(0, -1) : past).slice(-limit);
    return late.filter((ms) => ms >= oldest);
  }
}

function wholeSecond(ms: number): number {
  return Math.ceil(ms / 1_000) * 1_000;
}
