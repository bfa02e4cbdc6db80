import type { MessageInitShape } from "@bufbuild/protobuf";
import type { HourWindowSchema, WeekHours, WorkerLimits, WorkerLimitsSchema } from "@muster/client/v1/worker";
import { InvalidArgumentError } from "commander";
import type { MusterCommand } from "../command.ts";
import { listOption, pairOption, wholeOption } from "./options.ts";

/** What the options of limits give. */
export interface LimitOptions {
  readonly skill?: readonly string[];
  readonly kind?: readonly string[];
  readonly slots?: number;
  readonly points?: number;
  readonly label?: Readonly<Record<string, string>>;
  readonly openPrs?: number;
}

/** Adds the options with which a command says what the server allows workers. */
export function withLimits(command: MusterCommand, skillsText: string): MusterCommand {
  return command
    .option("--skill <name>", skillsText, listOption)
    .option(
      "--kind <kind>",
      "the only kinds that they may run; repeat or use commas for more (any)",
      listOption,
    )
    .option("--slots <number>", "jobs at once at most", wholeOption(1, 10_000))
    .option("--points <number>", "points at once at most", wholeOption(1, 1_000_000))
    .option("--label <key=value>", "a label that they have, whatever they say; repeat for more", pairOption)
    .option(
      "--open-prs <number>",
      "pull requests of their jobs that may be open at once",
      wholeOption(1, 10_000),
    );
}

/** Limits as a message. */
export function limitsOf(options: LimitOptions): MessageInitShape<typeof WorkerLimitsSchema> {
  const { skill, kind, slots = 0, points = 0, label = {}, openPrs = 0 } = options;
  return {
    ...(skill === undefined ? {} : { skills: { names: [...skill] } }),
    ...(kind === undefined ? {} : { kinds: { names: [...kind] } }),
    ...{ slots, points, openPrs },
    labels: { ...label },
  };
}

/** Whether any of them was given. */
export function isAnyLimit(options: LimitOptions): boolean {
  const { skill, kind, slots, points, label, openPrs } = options;
  return [skill, kind, slots, points, label, openPrs].some((one) => one !== undefined);
}

/** Limits for people, in one line; undefined when there are none. */
export function limitsText(limits: WorkerLimits | undefined): string | undefined {
  if (limits === undefined) return undefined;
  const { skills, kinds, slots, points, labels, openPrs } = limits;
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const parts = [
    skills === undefined ? "" : `skills ${skills.names.join(",") || "none"}`,
    kinds === undefined ? "" : `kinds ${kinds.names.join(",") || "none"}`,
    slots === 0 ? "" : `slots ${slots}`,
    points === 0 ? "" : `points ${points}`,
    pairs.length === 0 ? "" : `labels ${pairs.join(",")}`,
    openPrs === 0 ? "" : `open pull requests ${openPrs}`,
  ].filter((part) => part !== "");
  return parts.length === 0 ? "any" : parts.join(", ");
}

const dayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const windowForm = /^([a-z,-]+) +(\d{1,2}):(\d{2}) *- *(\d{1,2}):(\d{2})$/;

/** Collects windows like `mon-fri 18:00-08:00` of an option that may be repeated. */
export function hoursOption(
  text: string,
  before: readonly MessageInitShape<typeof HourWindowSchema>[] = [],
): MessageInitShape<typeof HourWindowSchema>[] {
  const [, words = "", ...times] = windowForm.exec(text.trim().toLowerCase()) ?? [];
  const [startHour = -1, start = -1, endHour = -1, end = -1] = times.map(Number);
  const startMinute = startHour * 60 + start;
  const endMinute = endHour * 60 + end;
  const isTime =
    start >= 0 && start < 60 && end >= 0 && end < 60 && startMinute < 1_440 && endMinute <= 1_440;
  const days = words.split(",").flatMap(daysOf);
  if (!isTime || words === "" || days.includes(0)) {
    throw new InvalidArgumentError("It must be days and times: mon-fri 18:00-08:00, or sat,sun 00:00-24:00.");
  }
  // Midnight as an end is the end of the day on which the window begins, or of the next one.
  return [...before, { days, startMinute, endMinute: endMinute === 0 ? 1_440 : endMinute }];
}

/** Hours for people: `mon-fri 18:00-08:00 Europe/Berlin`. */
export function hoursText({ timeZone, windows }: WeekHours): string {
  const texts = windows.map(({ days, startMinute, endMinute }) => {
    const names = days.map((day) => dayNames[day - 1] ?? String(day)).join(",");
    return `${names} ${clockText(startMinute)}-${clockText(endMinute)}`;
  });
  return `${texts.join("; ") || "never"} ${timeZone}`;
}

// 0 for what is no day.
function daysOf(word: string): number[] {
  const [first = "", last = first, ...more] = word.split("-");
  const from = dayNames.indexOf(first) + 1;
  const to = dayNames.indexOf(last) + 1;
  if (from === 0 || to === 0 || more.length > 0) return [0];
  const count = ((to - from + 7) % 7) + 1;
  return Array.from({ length: count }, (_, n) => ((from - 1 + n) % 7) + 1);
}

function clockText(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}
