import { listed } from "./routing.ts";

/** What a server allows a worker, whatever it says of itself; null: anything. Kept as JSON. */
export interface WorkerLimits {
  readonly skills: readonly string[] | null;
  readonly kinds: readonly string[] | null;
  readonly slots: number | null;
  readonly points: number | null;
  /** Instead of its own of the same keys. */
  readonly labels: Readonly<Record<string, string>>;
  /** With those that its running jobs may open. */
  readonly openPrs: number | null;
}

/** How much of a machine its owner gives; null: all. */
export interface OwnerLimits {
  readonly slots: number | null;
  readonly points: number | null;
}

/** When a machine may get new offers. Kept as JSON, and judged by the database's clock. */
export interface WeekHours {
  /** IANA name. */
  readonly zone: string;
  readonly windows: readonly HourWindow[];
}

/** A time of some days. */
export interface HourWindow {
  /** On which it begins: 1 is Monday. */
  readonly days: readonly number[];
  /** Minutes after midnight; an end that is not after the start is on the next day. */
  readonly start: number;
  readonly end: number;
}

/** What a worker says of itself, as far as it can be limited. */
export interface Claimed {
  readonly skills: { name: string; digest: string }[];
  readonly kinds: string[];
  readonly slots: number;
  readonly points: number;
  readonly labels: Record<string, string>;
}

/** No limit at all. */
export const noLimits: WorkerLimits = {
  skills: null,
  kinds: null,
  slots: null,
  points: null,
  labels: {},
  openPrs: null,
};

/** What several limits allow together: the least of each. */
export function bothLimits(one: WorkerLimits, other: WorkerLimits): WorkerLimits {
  return {
    skills: commonNames(one.skills, other.skills),
    kinds: commonNames(one.kinds, other.kinds),
    slots: least(one.slots, other.slots),
    points: least(one.points, other.points),
    labels: { ...one.labels, ...other.labels },
    openPrs: least(one.openPrs, other.openPrs),
  };
}

/**
 * What a worker gets of what it says of itself, and what it does not get, for people. What its owner keeps for other
 * things is no refusal.
 */
export function limitClaims<Said extends Claimed>(
  said: Said,
  { limits, owner }: { readonly limits: WorkerLimits; readonly owner: OwnerLimits },
): { readonly declared: Said; readonly refusals: readonly string[] } {
  const skills = said.skills.filter(({ name }) => limits.skills?.includes(name) !== false);
  const kinds = said.kinds.filter((kind) => limits.kinds?.includes(kind) !== false);
  // Each job may open a pull request: more at once than may be open would exceed it.
  const mostSlots = least(limits.slots, limits.openPrs);
  const slots = Math.min(said.slots, mostSlots ?? said.slots);
  const points = Math.min(said.points, limits.points ?? said.points);
  const changed = Object.keys(limits.labels).filter(
    (key) => Object.hasOwn(said.labels, key) && said.labels[key] !== limits.labels[key],
  );
  const lost = said.skills.filter((skill) => !skills.includes(skill)).map(({ name }) => name);
  const unrun = said.kinds.filter((kind) => !kinds.includes(kind));
  return {
    declared: {
      ...said,
      skills,
      kinds,
      slots: Math.min(slots, owner.slots ?? slots),
      points: Math.min(points, owner.points ?? points),
      labels: { ...said.labels, ...limits.labels },
    },
    refusals: [
      ...(lost.length === 0 ? [] : [`may not have the ${plural("skill", lost)} ${listed(lost)}`]),
      ...(unrun.length === 0 ? [] : [`may not run the ${plural("kind", unrun)} ${listed(unrun)}`]),
      ...(slots === said.slots ? [] : [`may have ${slots} of its ${said.slots} slots`]),
      ...(points === said.points ? [] : [`may have ${points} of its ${said.points} points`]),
      ...(changed.length === 0 ? [] : [`may not choose the ${plural("label", changed)} ${listed(changed)}`]),
    ],
  };
}

/** Whether a name is like a pattern in which `*` stands for any text. In time that is linear in both. */
export function isLikePattern(name: string, pattern: string): boolean {
  const [first = "", ...others] = pattern.split("*");
  const last = others.pop();
  if (last === undefined) return name === pattern;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last))
    return false;
  let at = first.length;
  for (const part of others) {
    const found = name.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= name.length - last.length;
}

/** Hours for people: `Mon-Fri 18:00-08:00 Europe/Berlin`. */
export function hoursText({ zone, windows }: WeekHours): string {
  const texts = windows.map(
    ({ days, start, end }) => `${daysText(days)} ${clockText(start)}-${clockText(end)}`,
  );
  return `${texts.length === 0 ? "never" : texts.join(", ")} ${zone}`;
}

const dayNames = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

function daysText(days: readonly number[]): string {
  const sorted = [...new Set(days)].sort((a, b) => a - b);
  const runs: number[][] = [];
  for (const day of sorted) {
    const run = runs.at(-1);
    if (run?.at(-1) === day - 1) run.push(day);
    else runs.push([day]);
  }
  const name = (day: number | undefined) => dayNames[(day ?? 1) - 1] ?? "";
  return runs
    .map((run) => (run.length === 1 ? name(run[0]) : `${name(run[0])}-${name(run.at(-1))}`))
    .join(",");
}

function clockText(minute: number): string {
  return `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
}

function commonNames(
  one: readonly string[] | null,
  other: readonly string[] | null,
): readonly string[] | null {
  if (one === null || other === null) return one ?? other;
  return one.filter((name) => other.includes(name));
}

function least(one: number | null, other: number | null): number | null {
  return one === null || other === null ? (one ?? other) : Math.min(one, other);
}

function plural(noun: string, items: readonly string[]): string {
  return items.length === 1 ? noun : `${noun}s`;
}
