import { compileCron, readCron } from "./cron.ts";

/** A change of the clocks of a zone. */
export interface ClockChange {
  readonly ms: number;
  /** The zone's offsets from UTC before and after, in milliseconds. */
  readonly fromOffsetMs: number;
  readonly toOffsetMs: number;
}

/** What a change of the clocks does to a cron. */
export interface ClockEffect {
  readonly affects: boolean;
  /** For people. */
  readonly note: string;
}

/** Whether there is such a time zone. */
export function isZone(zone: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(zone)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** The names of all time zones. */
export function zoneNames(): string[] {
  return [...Intl.supportedValuesOf("timeZone"), "UTC"];
}

/** Reads the wall clock of a zone: its offset from UTC in milliseconds, at a time. */
export function offsetsOf(zone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    ...{ year: "numeric", month: "numeric", day: "numeric" },
    ...{ hour: "numeric", minute: "numeric", second: "numeric" },
  });
  return (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
    const of = (type: Intl.DateTimeFormatPartTypes): number => parts.get(type) ?? 0;
    const wall = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second"));
    return wall - Math.floor(ms / 1_000) * 1_000;
  };
}

/** The changes of the clocks of a zone between two times. */
export function clockChanges(zone: string, fromMs: number, toMs: number): ClockChange[] {
  const offsetAt = offsetsOf(zone);
  const found: ClockChange[] = [];
  let beforeMs = fromMs;
  let before = offsetAt(fromMs);
  while (beforeMs < toMs) {
    const nextMs = Math.min(beforeMs + dayMs, toMs);
    const next = offsetAt(nextMs);
    if (next !== before) {
      let [low, high] = [beforeMs, nextMs];
      while (high - low > 1) {
        const middle = Math.floor((low + high) / 2);
        if (offsetAt(middle) === before) low = middle;
        else high = middle;
      }
      found.push({ ms: high, fromOffsetMs: before, toOffsetMs: next });
    }
    [beforeMs, before] = [nextMs, next];
  }
  return found;
}

/** What a change of the clocks does to a cron that has no fault. */
export function effectOf(cron: string, { ms, fromOffsetMs, toOffsetMs }: ClockChange): ClockEffect {
  const read = readCron(cron);
  if ("fault" in read || read.type === "every") {
    return { affects: false, note: "@every counts the time that passes: it is not affected" };
  }
  const [fromWallMs, toWallMs] = [ms + fromOffsetMs, ms + toOffsetMs];
  const [lowMs, highMs] = [Math.min(fromWallMs, toWallMs), Math.max(fromWallMs, toWallMs)];
  // The wall clock as if it were that of UTC.
  const compiled = compileCron(read.pattern, "UTC");
  const within = compiled
    .nextRuns(mostNamed + 1, new Date(lowMs - 1))
    .map((date) => date.getTime())
    .filter((wallMs) => wallMs < highMs);
  const span = `${clockText(lowMs)}–${clockText(highMs)}`;
  const isGap = toWallMs > fromWallMs;
  const says = isGap ? `${span} does not exist on this day` : `${span} happens twice on this day`;
  if (within.length === 0) return { affects: false, note: `${says}: it is not affected` };
  if (read.isHourly) {
    return {
      affects: true,
      note: `${says}: it fires ${isGap ? "not in it" : "both times"}, since its hour is *`,
    };
  }
  const one = within.length === 1;
  const last = compiled.previousRuns(1, new Date(highMs))[0]?.getTime();
  const named = namedTimes(within, last);
  const note = isGap
    ? `${named} ${one ? "does" : "do"} not exist on this day: it fires at ${clockText(toWallMs)} instead, once`
    : `${named} ${one ? "happens" : "happen"} twice on this day: it fires the first time only`;
  return { affects: true, note };
}

/** A time of the wall clock: `2027-03-14 03:00:00`. */
export function wallText(wallMs: number): string {
  return new Date(wallMs).toISOString().slice(0, 19).replace("T", " ");
}

/** An offset from UTC: `-04:00`. */
export function offsetText(offsetMs: number): string {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${offsetMs < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

const dayMs = 86_400_000;

/** Times that a note names one by one, at most. */
const mostNamed = 3;

// `02:00, 02:20 and 02:40`; of more, the first two and the last.
function namedTimes(wallMs: readonly number[], lastMs = 0): string {
  const texts = wallMs.map(clockText);
  if (texts.length > mostNamed) return `${texts.slice(0, 2).join(", ")} … ${clockText(lastMs)}`;
  return [texts.slice(0, -1).join(", "), ...texts.slice(-1)].filter((text) => text !== "").join(" and ");
}

function clockText(wallMs: number): string {
  const text = new Date(wallMs).toISOString();
  return text.slice(17, 19) === "00" ? text.slice(11, 16) : text.slice(11, 19);
}
