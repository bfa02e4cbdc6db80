import { nameViolations, slugRule, type TextViolation, textViolations } from "./texts.ts";
import type { OwnerLimits, WeekHours, WorkerLimits } from "./worker-limits.ts";

const mostNames = 100;
const mostLabels = 64;
const mostWindows = 50;
const dayMinutes = 24 * 60;

/** What is wrong with limits, field by field under `field`. */
export function limitViolations(field: string, limits: WorkerLimits): TextViolation[] {
  const { skills, kinds, slots, points, labels, openPrs } = limits;
  return [
    ...namesViolations(`${field}.skills.names`, skills ?? []),
    ...namesViolations(`${field}.kinds.names`, kinds ?? []),
    ...countViolations(`${field}.slots`, slots, 10_000),
    ...countViolations(`${field}.points`, points, 1_000_000),
    ...labelViolations(`${field}.labels`, labels),
    ...countViolations(`${field}.openPrs`, openPrs, 10_000),
  ];
}

/** What is wrong with how much an owner gives. */
export function ownerLimitViolations(field: string, { slots, points }: OwnerLimits): TextViolation[] {
  return [
    ...countViolations(`${field}.slots`, slots, 10_000),
    ...countViolations(`${field}.points`, points, 1_000_000),
  ];
}

/** What is wrong with hours; whether the database knows their zone is not judged here. */
export function hoursViolations(field: string, { zone, windows }: WeekHours): TextViolation[] {
  const violations: TextViolation[] = [];
  if (!/^[A-Za-z0-9_+/-]{1,100}$/.test(zone)) {
    violations.push({ field: `${field}.timeZone`, message: "must be an IANA name like Europe/Berlin" });
  }
  if (windows.length > mostWindows) {
    violations.push({ field: `${field}.windows`, message: `must have at most ${mostWindows} entries` });
  }
  for (const [n, { days, start, end }] of windows.slice(0, mostWindows).entries()) {
    const at = `${field}.windows[${n}]`;
    if (days.length === 0 || days.length > 7 || !days.every((day) => isWithin(day, 1, 7))) {
      violations.push({ field: `${at}.days`, message: "must be 1 to 7 days: 1 is Monday, 7 is Sunday" });
    }
    if (!isWithin(start, 0, dayMinutes - 1)) {
      violations.push({ field: `${at}.startMinute`, message: `must be 0 to ${dayMinutes - 1}` });
    }
    if (!isWithin(end, 1, dayMinutes)) {
      violations.push({ field: `${at}.endMinute`, message: `must be 1 to ${dayMinutes}` });
    }
  }
  return violations;
}

/** What is wrong with a pattern of names. */
export function patternViolations(field: string, pattern: string): TextViolation[] {
  return textViolations(field, pattern, { min: 0, max: 100 });
}

function namesViolations(field: string, names: readonly string[]): TextViolation[] {
  if (names.length > mostNames) return [{ field, message: `must have at most ${mostNames} entries` }];
  return names.flatMap((name, n) => nameViolations(`${field}[${n}]`, name, slugRule));
}

function labelViolations(field: string, labels: Readonly<Record<string, string>>): TextViolation[] {
  const entries = Object.entries(labels);
  if (entries.length > mostLabels) return [{ field, message: `must have at most ${mostLabels} entries` }];
  return entries.flatMap(([key, value]) => [
    ...textViolations(`${field}.key`, key, { min: 1, max: 100 }),
    ...textViolations(`${field}.value`, value, { min: 0, max: 500 }),
  ]);
}

function countViolations(field: string, count: number | null, most: number): TextViolation[] {
  if (count === null || isWithin(count, 1, most)) return [];
  return [{ field, message: `must be 1 to ${most.toLocaleString("en-US")}, or 0 for no limit` }];
}

function isWithin(number: number, least: number, most: number): boolean {
  return Number.isInteger(number) && number >= least && number <= most;
}
