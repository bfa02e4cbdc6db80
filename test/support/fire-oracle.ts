/** What a fire time comes to by the words of the schedule's policies. */
export type Expected = "submitted" | "skipped" | "missed";

/** A schedule whose fires are foretold. */
export interface PlannedSchedule {
  readonly name: string;
  readonly cron: string;
  readonly zone: string;
  readonly jitterMs: number;
  readonly overlap: "skip" | "queue" | "replace" | "allow";
  readonly catchUp: "none" | "one" | "all";
  readonly limit: number;
  /** `held` never ends; what is of another kind has ended before the clock is moved. */
  readonly kind: "ok" | "fail" | "held";
}

const minuteMs = 60_000;
const quarterMs = 15 * minuteMs;

/**
 * When a schedule fires from a time on, up to another, both whole minutes: found minute by minute on the wall clock of
 * its zone, by the words of `Schedule.cron` alone, with nothing of what the server computes by.
 */
export function foretellTimes({ cron, zone }: PlannedSchedule, fromMs: number, toMs: number): number[] {
  const every = /^@every (\d+)m$/.exec(cron);
  if (every) {
    const gapMs = Number(every[1]) * minuteMs;
    return Array.from({ length: Math.floor((toMs - fromMs) / gapMs) + 1 }, (_, n) => fromMs + n * gapMs);
  }
  const named: Readonly<Record<string, string>> = {
    ...{ "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0" },
  };
  const fields = (named[cron] ?? cron).split(" ");
  const second = fields.length === 6 ? Number(fields.shift()) : 0;
  const [minutes = "*", hours = "*", days = "*", months = "*", weekdays = "*"] = fields;
  const isMatch = (wallMs: number): boolean => {
    const wall = new Date(wallMs);
    return (
      matches(minutes, wall.getUTCMinutes()) &&
      matches(hours, wall.getUTCHours()) &&
      matches(days, wall.getUTCDate(), 1) &&
      matches(months, wall.getUTCMonth() + 1, 1) &&
      matches(weekdays, wall.getUTCDay())
    );
  };
  const offsetOf = offsetsOf(zone);
  const isEveryHour = hours === "*";
  const found: number[] = [];
  let before = offsetOf(fromMs - quarterMs);
  let seenMs = Number.NEGATIVE_INFINITY;
  for (let ms = fromMs; ms <= toMs; ms += minuteMs) {
    const offset = offsetOf(Math.floor(ms / quarterMs) * quarterMs);
    let fires = false;
    // Wall times that are left out fire at the first that is there.
    if (!isEveryHour) {
      for (let wallMs = ms + before; wallMs < ms + offset; wallMs += minuteMs) fires ||= isMatch(wallMs);
    }
    const isRepeated = ms + offset <= seenMs;
    if (isMatch(ms + offset) && (isEveryHour || !isRepeated)) fires = true;
    if (fires) found.push(ms + second * 1_000);
    seenMs = Math.max(seenMs, ms + offset);
    before = offset;
  }
  return found;
}

/** What becomes of each fire time when the clock is moved to these times, and only then; by the time. */
export function foretellOutcomes(
  { overlap, catchUp, limit, kind }: PlannedSchedule,
  times: readonly number[],
  steps: readonly number[],
): Map<number, Expected> {
  const outcomes = new Map<number, Expected>();
  let [live, fromMs] = [0, Number.NEGATIVE_INFINITY];
  for (const stepMs of steps) {
    const due = times.filter((ms) => ms > fromMs && ms <= stepMs);
    fromMs = stepMs;
    // Five seconds of grace; the newest has a minute.
    const newest = Math.max(...due);
    const onTime = due.filter((ms) => stepMs <= ms + 5_000 || (ms === newest && stepMs <= ms + minuteMs));
    const late = due.filter((ms) => !onTime.includes(ms));
    const lastLate = catchUp === "all" ? late.slice(-limit) : onTime.length > 0 ? [] : late.slice(-1);
    const made = [...(catchUp === "none" ? [] : lastLate), ...onTime];
    for (const ms of due) outcomes.set(ms, "missed");
    if (kind !== "held") live = 0;
    for (const [index, ms] of made.entries()) {
      const most = { skip: 1, queue: 2, allow: Number.POSITIVE_INFINITY, replace: Number.POSITIVE_INFINITY };
      const isReplaced = overlap === "replace" && index < made.length - 1;
      const isMade = live < most[overlap] && !isReplaced;
      outcomes.set(ms, isMade ? "submitted" : "skipped");
      if (isMade) live++;
    }
  }
  return outcomes;
}

function matches(field: string, value: number, least = 0): boolean {
  return field.split(",").some((part) => {
    const [range = "", step = "1"] = part.split("/");
    const [from, to] = range === "*" ? [least, 99] : range.split("-").map(Number);
    const last = to ?? from ?? 0;
    return value >= (from ?? 0) && value <= last && (value - (from ?? 0)) % Number(step) === 0;
  });
}

/** How far ahead of UTC the wall clock of a zone is, at a time. */
function offsetsOf(zone: string): (ms: number) => number {
  const known = new Map<number, number>();
  const format = new Intl.DateTimeFormat("en-US", {
    ...{ timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" },
    ...{ hour: "numeric", minute: "numeric" },
  });
  return (ms) => {
    const kept = known.get(ms);
    if (kept !== undefined) return kept;
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
    const of = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
    const wallMs = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"));
    known.set(ms, wallMs - ms);
    return wallMs - ms;
  };
}
