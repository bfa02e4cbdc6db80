import { Cron } from "croner";
import { toString as cronInWords } from "cronstrue";

/** What a cron text means. */
export type CronReading =
  | { readonly type: "every"; readonly everyMs: number }
  | {
      readonly type: "cron";
      /** Six fields, steps and wildcards written out where the hour is not `*`: then it goes by the wall clock. */
      readonly pattern: string;
      /** The hour is `*`: it goes by the hours that pass. */
      readonly isHourly: boolean;
    };

/** The longest cron text. */
export const maxCronLength = 200;

/**
 * Reads a cron text: five fields or six, a name like `@daily`, or `@every 90s`. What is wrong with it is told in the
 * words of a violation.
 */
export function readCron(text: string): CronReading | { readonly fault: string } {
  const given = text.trim().replace(/\s+/g, " ");
  if (given === "") return { fault: "is required" };
  if (given.length > maxCronLength) return { fault: `must have at most ${maxCronLength} characters` };
  if (/^@every\b/i.test(given)) return readEvery(given);
  const pattern = given.startsWith("@") ? namedCrons[given.toLowerCase()] : given;
  if (pattern === undefined) {
    return { fault: `must be a name of ${Object.keys(namedCrons).join(", ")}, or @every with a time` };
  }
  const fields = pattern.split(" ");
  if (fields.length !== 5 && fields.length !== 6) {
    return {
      fault: `must have 5 fields (minute hour day month weekday) or 6 (second first), and has ${fields.length}`,
    };
  }
  const fault = faultOf(pattern);
  if (fault !== null) return { fault };
  const [second = "0", minute = "0", hour = "*", ...rest] = fields.length === 5 ? ["0", ...fields] : fields;
  const isHourly = hour.split(",").some((part) => ["*", "?", "*/1"].includes(part));
  const clock = isHourly
    ? [second, minute, hour]
    : [writtenOut(second, 59), writtenOut(minute, 59), writtenOut(hour, 23)];
  return { type: "cron", pattern: [...clock, ...rest].join(" "), isHourly };
}

/** The library's form of a pattern in a zone. */
export function compileCron(pattern: string, zone: string): Cron {
  return new Cron(pattern, {
    paused: true,
    mode: "6-part",
    timezone: zone,
    // A time that the clocks jump over fires after the jump; one that they repeat fires once.
    fixedTimeRule: "no-wildcard",
  });
}

/** A cron text in words: `At 02:30, every day`. Empty for one that cannot be read. */
export function wordsOfCron(text: string): string {
  const read = readCron(text);
  if ("fault" in read) return "";
  if (read.type === "every") return `Every ${wordsOfMs(read.everyMs)}`;
  const given = text.trim().toLowerCase();
  // A weekday with + is to hold as well as the day; of that sign the words know nothing.
  const pattern = namedCrons[given] ?? text.trim();
  const plain = pattern.replace(/\s\+(?=\S+$)/, " ");
  const logicalAndDayFields = plain !== pattern;
  try {
    return cronInWords(plain, { verbose: true, use24HourTimeFormat: true, logicalAndDayFields });
  } catch {
    return "";
  }
}

const namedCrons: Readonly<Record<string, string>> = {
  "@hourly": "0 * * * *",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@weekly": "0 0 * * 0",
  "@monthly": "0 0 1 * *",
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
};

const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const longestEveryMs = 366 * 86_400_000;

function readEvery(text: string): CronReading | { readonly fault: string } {
  const [, span = ""] = /^@every (\S+)$/i.exec(text) ?? [];
  if (!/^(\d{1,9}[smhd])+$/.test(span)) {
    return { fault: "must give @every a time in whole numbers of d, h, m and s, like @every 1h30m" };
  }
  const everyMs = [...span.matchAll(/(\d+)([smhd])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (unitsMs[unit ?? ""] ?? 0),
    0,
  );
  if (everyMs < 1_000 || everyMs > longestEveryMs) {
    return { fault: "must give @every a time from 1s to 366d" };
  }
  return { type: "every", everyMs };
}

function wordsOfMs(ms: number): string {
  const parts = Object.entries({ d: "day", h: "hour", m: "minute", s: "second" }).reduce<{
    left: number;
    words: string[];
  }>(
    ({ left, words }, [unit, word]) => {
      const size = unitsMs[unit] ?? 1;
      const count = Math.floor(left / size);
      const named = count === 0 ? [] : [`${count} ${word}${count === 1 ? "" : "s"}`];
      return { left: left - count * size, words: [...words, ...named] };
    },
    { left: ms, words: [] },
  );
  return parts.words.join(" ");
}

const bounds = [
  ["second", 0, 59],
  ["minute", 0, 59],
  ["hour", 0, 23],
  ["day", 1, 31],
  ["month", 1, 12],
  ["weekday", 0, 7],
] as const;

// The library says what is wrong; but it counts days and months from 0, and fields, and begins with its own names.
function faultOf(pattern: string): string | null {
  try {
    const cron = new Cron(pattern, { paused: true, timezone: "UTC", mode: "5-or-6-parts" });
    if (cron.nextRun() === null) return "names no date that there is, like 30 February";
    return null;
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    const why =
      outOfBounds(pattern) ??
      message
        .replace(/^Cron\w*: /, "")
        .replace(
          /^configuration entry (\w+)/,
          (_, field: string) => `the ${bounds[Number(field)]?.[0] ?? field}`,
        )
        .replace("dayOfWeek", "weekday")
        .replace(/^./, (first) => first.toLowerCase());
    return `cannot be read: ${why.slice(0, 200)}`;
  }
}

function outOfBounds(pattern: string): string | null {
  const fields = pattern.split(" ");
  for (const [index, [name, least, most]] of bounds.slice(-fields.length).entries()) {
    const numbers = (fields[index] ?? "").replace(/[/#]\d*/g, "").match(/\d+/g) ?? [];
    const wrong = numbers.find((number) => Number(number) < least || Number(number) > most);
    if (wrong !== undefined) return `the ${name} ${wrong} is not from ${least} to ${most}`;
  }
  return null;
}

// A field without wildcards and steps: what the library takes for a time of the wall clock.
function writtenOut(field: string, max: number): string {
  const values = field.split(",").flatMap((part) => {
    const [, range = "", step = "1"] = /^([^/]+)(?:\/(\d+))?$/.exec(part) ?? [];
    const [from = "0", to = from] = range === "*" || range === "?" ? ["0", String(max)] : range.split("-");
    const found: number[] = [];
    for (let value = Number(from); value <= Number(to); value += Number(step)) found.push(value);
    return found;
  });
  return [...new Set(values)].sort((a, b) => a - b).join(",");
}
