import { describe, expect, test } from "vitest";
import { clockChanges } from "../../../server/domain/rules/clock-changes.ts";
import { readCron } from "../../../server/domain/rules/cron.ts";
import {
  dueFires,
  dueTime,
  fireTimesOf,
  nextFireTimes,
  type Timing,
} from "../../../server/domain/rules/fire-times.ts";
import { type Expected, foretellOutcomes } from "../../support/fire-oracle.ts";

/*
 * Fire times against a computation of their own: the offsets of a zone are found by walking its wall clock hour by
 * hour, and every wall time of the calendar is looked up in them.
 */

const hourMs = 3_600_000;
const fromMs = Date.UTC(2026, 0, 1);
const toMs = Date.UTC(2046, 0, 1);

/** Hour offsets, half-hour ones, half an hour of daylight saving, and changes at midnight. */
const zones = [
  "America/New_York",
  "Australia/Lord_Howe",
  "Africa/Cairo",
  "America/Santiago",
  "America/St_Johns",
  "Asia/Kolkata",
];

const timing = (cron: string, zone: string, more: Partial<Timing> = {}): Timing => ({
  ...{ cron, zone, jitterMs: 0, startAt: null, endAt: null, createdAt: new Date(fromMs) },
  ...more,
});

/** From when on which offset from UTC holds. */
interface Stretch {
  readonly fromMs: number;
  readonly offsetMs: number;
}

const walked = new Map<string, readonly Stretch[]>();

/** The offsets of a zone; walked once. */
function stretchesOf(zone: string): readonly Stretch[] {
  const found = walked.get(zone) ?? walkOffsets(zone);
  walked.set(zone, found);
  return found;
}

function walkOffsets(zone: string): Stretch[] {
  const format = new Intl.DateTimeFormat("en-CA", {
    ...{ timeZone: zone, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit" },
    ...{ hour: "2-digit", minute: "2-digit" },
  });
  const offsetAt = (ms: number): number => {
    const [date = "", time = ""] = format.format(ms).split(", ");
    return Date.parse(`${date}T${time}:00Z`) - ms;
  };
  const found: Stretch[] = [{ fromMs: Number.NEGATIVE_INFINITY, offsetMs: offsetAt(fromMs - 48 * hourMs) }];
  for (let ms = fromMs - 48 * hourMs; ms < toMs + 48 * hourMs; ms += hourMs) {
    if (offsetAt(ms) === found.at(-1)?.offsetMs) continue;
    let minute = ms - hourMs;
    while (offsetAt(minute) === found.at(-1)?.offsetMs) minute += 60_000;
    found.push({ fromMs: minute, offsetMs: offsetAt(minute) });
  }
  return found;
}

/** The times at which a wall clock shows something, and what to take when it never does: the end of the gap. */
function instantsOf(stretches: readonly Stretch[], wallMs: number): number[] {
  const found = stretches.flatMap(({ fromMs: begins, offsetMs }, index) => {
    const ends = stretches[index + 1]?.fromMs ?? Number.POSITIVE_INFINITY;
    const ms = wallMs - offsetMs;
    return ms >= begins && ms < ends ? [ms] : [];
  });
  if (found.length > 0) return found;
  const gap = stretches.find(
    ({ fromMs: begins, offsetMs }, index) =>
      index > 0 && wallMs < begins + offsetMs && wallMs >= begins + (stretches[index - 1]?.offsetMs ?? 0),
  );
  return gap === undefined ? [] : [gap.fromMs];
}

function expected(stretches: readonly Stretch[], { minutes, hours, isDay }: Wall): number[] {
  const found = new Set<number>();
  for (let day = fromMs - 24 * hourMs; day <= toMs + 24 * hourMs; day += 24 * hourMs) {
    if (!isDay(new Date(day))) continue;
    for (const hour of hours) {
      for (const minute of minutes) {
        const [first] = instantsOf(stretches, day + hour * hourMs + minute * 60_000);
        if (first !== undefined && first > fromMs && first < toMs) found.add(first);
      }
    }
  }
  return [...found].sort((a, b) => a - b);
}

interface Wall {
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly isDay: (date: Date) => boolean;
  /** Looked at in the first two years, and around the changes of the clocks; else every day of the twenty years. */
  readonly isFrequent?: boolean;
}

function spansAround(stretches: readonly Stretch[]): (readonly [number, number])[] {
  const changes = stretches.slice(1).map(({ fromMs: ms }) => [ms - 72 * hourMs, ms + 72 * hourMs] as const);
  return [[fromMs, Date.UTC(2028, 0, 1)], ...changes.filter(([begin, end]) => begin > fromMs && end < toMs)];
}

const daily = () => true;
const crons: readonly (readonly [string, Wall])[] = [
  ["30 2 * * *", { minutes: [30], hours: [2], isDay: daily }],
  ["0 0 * * *", { minutes: [0], hours: [0], isDay: daily, isFrequent: true }],
  ["*/20 1 * * *", { minutes: [0, 20, 40], hours: [1], isDay: daily, isFrequent: true }],
  ["45 23 * * 0", { minutes: [45], hours: [23], isDay: (date) => date.getUTCDay() === 0 }],
  ["15 */6 1 * *", { minutes: [15], hours: [0, 6, 12, 18], isDay: (date) => date.getUTCDate() === 1 }],
];

describe("twenty years of fire times", () => {
  test.each(zones)(
    "%s: are what the wall clock says",
    (zone) => {
      const stretches = stretchesOf(zone);
      for (const [cron, wall] of crons) {
        const times = fireTimesOf(timing(cron, zone));
        const wanted = expected(stretches, wall);
        for (const [begin, end] of wall.isFrequent ? spansAround(stretches) : [[fromMs, toMs] as const]) {
          const within = wanted.filter((ms) => ms > begin && ms < end);
          const got = nextFireTimes(times, begin, within.length);
          expect([zone, cron, begin, got]).toEqual([zone, cron, begin, within]);
        }
      }
    },
    60_000,
  );

  test.each(zones)(
    "%s: with * as the hour are all minutes that pass and show it",
    (zone) => {
      const stretches = stretchesOf(zone);
      const times = fireTimesOf(timing("*/15 * * * *", zone));
      for (const { fromMs: changeMs } of stretches.slice(1)) {
        const [begin, end] = [changeMs - 5 * hourMs, changeMs + 5 * hourMs];
        const wanted: number[] = [];
        for (let ms = begin + 60_000; ms < end; ms += 60_000) {
          const offset = stretches.findLast((one) => one.fromMs <= ms)?.offsetMs ?? 0;
          if (((ms + offset) / 60_000) % 15 === 0) wanted.push(ms);
        }
        expect([zone, changeMs, nextFireTimes(times, begin, wanted.length)]).toEqual([
          zone,
          changeMs,
          wanted,
        ]);
      }
    },
    60_000,
  );

  test.each(zones)(
    "%s: changes of the clocks are those that are found by walking",
    (zone) => {
      const offsets = stretchesOf(zone).filter((one) => one.fromMs > fromMs && one.fromMs < toMs);
      const found = clockChanges(zone, fromMs, toMs);
      expect(found.map(({ ms, toOffsetMs }) => [ms, toOffsetMs])).toEqual(
        offsets.map((one) => [one.fromMs, one.offsetMs]),
      );
    },
    60_000,
  );
});

describe("fire times", () => {
  test("before a time are the same as after it", () => {
    for (const [cron] of crons) {
      const times = fireTimesOf(timing(cron, "America/New_York"));
      const forward = nextFireTimes(times, Date.UTC(2027, 2, 1), 400);
      const last = forward.at(-1) ?? 0;
      expect([cron, times.before(last + 1, 400)]).toEqual([cron, forward]);
    }
  });

  test("of @every are counted from the start, or one later from the creation", () => {
    const startAt = new Date(fromMs + 500);
    const started = fireTimesOf(timing("@every 90s", "UTC", { startAt }));
    expect(nextFireTimes(started, fromMs - 1, 2)).toEqual([fromMs + 1_000, fromMs + 91_000]);
    expect(started.before(fromMs + 91_000, 5)).toEqual([fromMs + 1_000]);
    expect(fireTimesOf(timing("@every 90s", "UTC")).after(fromMs)).toBe(fromMs + 90_000);
  });

  test("end before the end", () => {
    const endAt = new Date(fromMs + 48 * hourMs);
    const times = fireTimesOf(timing("0 0 * * *", "UTC", { endAt }));
    expect(nextFireTimes(times, fromMs, 10)).toEqual([fromMs + 24 * hourMs]);
  });
});

describe("jitter", () => {
  test("is the same for the same schedule and time, within its bound, and spread", () => {
    const late = Array.from({ length: 200 }, (_, n) => dueTime("a", n * 60_000, 30_000) - n * 60_000);
    expect(late).toEqual(
      Array.from({ length: 200 }, (_, n) => dueTime("a", n * 60_000, 30_000) - n * 60_000),
    );
    expect(Math.min(...late)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...late)).toBeLessThan(30_000);
    expect(new Set(late).size).toBeGreaterThan(150);
    expect(dueTime("b", 0, 30_000)).not.toBe(dueTime("a", 0, 30_000));
  });
});

describe("what is due", () => {
  const asked = { firstMs: fromMs, limit: 3 } as const;
  test.each([999, 1_000, 1_001, 1_002, 1_003, 3_500])(
    "after %i minutes is looked at in parts, and nothing is left out",
    (minutes) => {
      const every = timing("* * * * *", "UTC");
      const nowMs = fromMs + minutes * 60_000 + 10_000;
      const seen: number[] = [];
      const made: number[] = [];
      for (let firstMs: number | null = fromMs; firstMs !== null && firstMs <= nowMs; ) {
        const due = dueFires("s", every, { ...asked, firstMs, nowMs, catchUp: "all" });
        seen.push(...due.missed, ...due.made.map(({ ms }) => ms));
        made.push(...due.made.map(({ ms }) => ms));
        firstMs = due.nextMs;
      }
      expect(seen.sort((a, b) => a - b)).toEqual(
        Array.from({ length: minutes + 1 }, (_, n) => fromMs + n * 60_000),
      );
      expect(made).toEqual([3, 2, 1, 0].map((n) => fromMs + (minutes - n) * 60_000));
    },
  );

  test.each([
    ["none", [], [80]],
    ["one", [], [80]],
    ["all", [50, 60, 70], [80]],
  ] as const)("after 85 s in which nobody looked, every 10 s, %s: is one, and what is made up", (...row) => {
    const [catchUp, caughtUp, onTime] = row;
    const ahead = (seconds: readonly number[]) => seconds.map((second) => fromMs + second * 1_000);
    const firstMs = fromMs + 10_000;
    const due = dueFires("s", timing("@every 10s", "UTC"), {
      ...{ ...asked, firstMs, nowMs: fromMs + 85_001, catchUp },
    });
    expect(due.made.filter((one) => one.isCaughtUp).map(({ ms }) => ms)).toEqual(ahead(caughtUp));
    expect(due.made.filter((one) => !one.isCaughtUp).map(({ ms }) => ms)).toEqual(ahead(onTime));
    expect(due.missed).toHaveLength(8 - due.made.length);
    expect(due.nextMs).toBe(fromMs + 90_000);
  });

  test.each([
    ["every second, within 5 s", "@every 1s", 6_000, [1, 2, 3, 4, 5, 6], 1],
    ["every second, in 7 s", "@every 1s", 7_000, [2, 3, 4, 5, 6, 7], 1],
    ["the latest, 60 s late", "@every 90s", 150_000, [90], 90],
    ["the latest, later", "@every 90s", 150_001, [], 90],
  ] as const)("%s: is on time so far", (_, cron, nowMs, onTime, first) => {
    const at = { firstMs: fromMs + first * 1_000, nowMs: fromMs + nowMs };
    const { made } = dueFires("s", timing(cron, "UTC"), { ...asked, ...at, catchUp: "none" });
    expect(made.map(({ ms }) => (ms - fromMs) / 1_000)).toEqual(onTime);
  });

  test("with a jitter that is longer than what lies between: none that waits for one before it is missed", () => {
    const every = timing("@every 1s", "UTC", { jitterMs: 60_000 });
    for (let firstMs: number | null = fromMs + 1_000, n = 0; n < 1_000; n++) {
      const nowMs: number = dueTime("s", firstMs, 60_000);
      const due = dueFires("s", every, { ...asked, firstMs, nowMs, catchUp: "none" });
      expect(due.missed).toEqual([]);
      firstMs = due.nextMs ?? 0;
    }
  });

  test.each(["none", "one", "all"] as const)(
    "%s: comes to what is foretold, however it is looked at",
    (catchUp) => {
      let seed = 11;
      const random = (): number => {
        seed = (seed * 16_807) % 2_147_483_647;
        return seed / 2_147_483_647;
      };
      for (const seconds of [1, 3, 10, 45, 90, 600]) {
        const cron = `@every ${seconds}s`;
        const steps: number[] = [];
        for (let ms = fromMs; steps.length < 40; ) {
          ms += Math.ceil(random() ** 8 * 4_000_000 + random() * 20_000);
          steps.push(ms);
        }
        const times = fireTimesOf(timing(cron, "UTC")).before((steps.at(-1) ?? 0) + 1, 1_000_000);
        const plan = { ...{ name: "s", cron, zone: "UTC", jitterMs: 0 }, catchUp, limit: 3 } as const;
        const foretold = foretellOutcomes({ ...plan, overlap: "allow", kind: "ok" }, times, steps);
        const found = new Map<number, Expected>();
        let firstMs: number | null = times[0] ?? 0;
        for (const nowMs of steps) {
          while (firstMs !== null && firstMs <= nowMs) {
            const due = dueFires("s", timing(cron, "UTC"), { firstMs, nowMs, catchUp, limit: 3 });
            for (const ms of due.missed) found.set(ms, "missed");
            for (const { ms } of due.made) found.set(ms, "submitted");
            firstMs = due.nextMs;
          }
        }
        expect([...found].sort(([a], [b]) => a - b)).toEqual([...foretold]);
      }
    },
  );
});

describe("a cron", () => {
  test.each([
    ["*/30 2 * * *", "0 0,30 2 * * *"],
    ["5-9/2 */12 * * *", "0 5,7,9 0,12 * * *"],
    ["* * * * *", "0 * * * * *"],
    ["@daily", "0 0 0 * * *"],
    ["10 5 4 * * MON-FRI", "10 5 4 * * MON-FRI"],
  ])("%s is read as %s", (text, pattern) => {
    expect(readCron(text)).toMatchObject({ pattern });
  });
});
