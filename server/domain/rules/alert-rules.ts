import { projectRule, slugRule, type TextViolation, textViolations } from "./texts.ts";

/** What a rule may look at. */
export const alertConditions = [
  "job-dead",
  "failure-rate",
  "consecutive-failures",
  "queue-depth",
  "queue-age",
  "job-slow",
  "schedule-missed",
  "no-route",
  "project-cap",
  "worker-stale",
  "lease-stale",
  "job-retried",
  "disk",
  "database",
  "forced-act",
] as const;

/** One of them. */
export type AlertCondition = (typeof alertConditions)[number];

/** How bad an alert is. */
export type AlertSeverity = "notice" | "warning" | "critical";

/** What is counted apart; `natural` is what the condition is about. */
export type AlertGroupBy = "natural" | "none" | "kind" | "queue" | "project";

/** Which jobs count; a text that ends with `*` stands for all that begin so, an empty one for all. */
export interface AlertFilter {
  readonly queue: string;
  readonly kind: string;
  readonly project: string;
}

/** When to tell whom. */
export interface AlertRuleDefinition {
  readonly condition: AlertCondition;
  readonly threshold: number;
  readonly windowMs: number;
  /** Runs before a rate or a percentile means anything. */
  readonly least: number;
  readonly filter: AlertFilter;
  readonly channels: readonly string[];
  readonly throttleMs: number;
  readonly groupBy: AlertGroupBy;
  readonly resolveMessage: boolean;
  readonly severity: AlertSeverity;
  readonly note: string;
}

/** What a condition counts, in which unit, and what it takes where nothing is said. */
export interface ConditionFacts {
  readonly threshold: number;
  readonly min: number;
  readonly max: number;
  readonly unit: "count" | "percent" | "seconds" | "milliseconds" | "factor";
  /** Where it is read: runs that ended, lines of ready jobs, attention items, the host, the audit log, schedules. */
  readonly source: "runs" | "queues" | "slow" | "attention" | "host" | "acts" | "schedules";
  /** Its window means something. */
  readonly hasWindow: boolean;
}

const count = { min: 1, max: 1_000_000_000, unit: "count" } as const;

/** The facts of each condition. */
export const conditionFacts: Readonly<Record<AlertCondition, ConditionFacts>> = {
  "job-dead": { ...count, threshold: 1, source: "runs", hasWindow: true },
  "failure-rate": { threshold: 50, min: 0.01, max: 100, unit: "percent", source: "runs", hasWindow: true },
  "consecutive-failures": { ...count, threshold: 3, source: "runs", hasWindow: false },
  "queue-depth": { ...count, threshold: 1_000, source: "queues", hasWindow: false },
  "queue-age": {
    threshold: 600,
    min: 1,
    max: 31_536_000,
    unit: "seconds",
    source: "queues",
    hasWindow: false,
  },
  "job-slow": { threshold: 3, min: 1.1, max: 1_000, unit: "factor", source: "slow", hasWindow: false },
  "schedule-missed": { ...count, threshold: 1, source: "schedules", hasWindow: true },
  "no-route": { ...count, threshold: 1, source: "attention", hasWindow: false },
  "project-cap": { ...count, threshold: 1, source: "attention", hasWindow: false },
  "worker-stale": { ...count, threshold: 1, source: "attention", hasWindow: false },
  "lease-stale": { ...count, threshold: 1, source: "attention", hasWindow: false },
  "job-retried": { ...count, threshold: 3, min: 3, max: 1_000, source: "attention", hasWindow: false },
  disk: { threshold: 10, min: 0.1, max: 99, unit: "percent", source: "host", hasWindow: false },
  database: { threshold: 500, min: 1, max: 60_000, unit: "milliseconds", source: "host", hasWindow: false },
  "forced-act": { ...count, threshold: 1, source: "acts", hasWindow: true },
};

/** The conditions that count runs that ended. */
export const runConditions: readonly AlertCondition[] = alertConditions.filter(
  (condition) => conditionFacts[condition].source === "runs",
);

/** What a rule is where nothing is said. */
export const ruleDefaults = { windowMs: 300_000, least: 10, throttleMs: 900_000 };

/** What is wrong with a rule; paths begin with `rule.`. */
export function ruleViolations(name: string, rule: AlertRuleDefinition): TextViolation[] {
  const { min, max, source } = conditionFacts[rule.condition];
  const isByRuns = source === "runs";
  const wrong: TextViolation[] = [
    ...(slugRule.form.test(name) ? [] : [{ field: "rule.name", message: `must have ${slugRule.words}` }]),
    ...textViolations("rule.note", rule.note, { min: 0, max: 500, isMultiline: true }),
    ...filterViolations(rule.filter),
  ];
  const refuse = (isWrong: boolean, field: string, message: string) => {
    if (isWrong) wrong.push({ field: `rule.${field}`, message });
  };
  const isThreshold = Number.isFinite(rule.threshold) && rule.threshold >= min && rule.threshold <= max;
  refuse(!isThreshold, "threshold", `must be ${min} to ${max} for this condition`);
  refuse(!isWithin(rule.windowMs, 60_000, 86_400_000), "window", "must be 1 min to 24 h");
  refuse(!isWithin(rule.least, 1, 100_000), "least", "must be 1 to 100,000, or 0 for 10");
  refuse(!isWithin(rule.throttleMs, 0, 86_400_000), "throttle", "must be 0 to 24 h");
  refuse(rule.channels.length > 10, "channels", "must be at most 10");
  refuse(new Set(rule.channels).size < rule.channels.length, "channels", "must not repeat a name");
  const isGrouped = rule.groupBy !== "natural" && rule.groupBy !== "none";
  refuse(isGrouped && !isByRuns, "groupBy", "is for conditions on runs that end: leave it out, or use NONE");
  const isFiltered = Object.values(rule.filter).some((text) => text !== "");
  const hasJobs = isByRuns || source === "queues" || source === "slow";
  refuse(isFiltered && !hasJobs, "filter", "is for conditions on runs, queues and slow jobs");
  refuse(
    source === "queues" && (rule.filter.kind !== "" || rule.filter.project !== ""),
    "filter",
    "of a condition on queues names a queue alone",
  );
  return wrong;
}

/** A text of a filter as a pattern of SQL's `like`; null: all. */
export function likePattern(text: string): string | null {
  if (text === "" || text === "*") return null;
  const escaped = text.replace(/\*$/, "").replaceAll(/[\\%_]/g, "\\$&");
  return text.endsWith("*") ? `${escaped}%` : escaped;
}

/** Whether a name passes a text of a filter. */
export function passesFilter(text: string, name: string): boolean {
  return text.endsWith("*") ? name.startsWith(text.slice(0, -1)) : text === "" || text === name;
}

/** Whether what was counted of one rule means nothing for the other. */
export function countsApart(one: AlertRuleDefinition, other: AlertRuleDefinition): boolean {
  const of = ({ condition, windowMs, filter, groupBy }: AlertRuleDefinition) =>
    JSON.stringify([condition, windowMs, filter.queue, filter.kind, filter.project, groupBy]);
  return of(one) !== of(other);
}

function filterViolations({ queue, kind, project }: AlertFilter): TextViolation[] {
  const fields = [
    ["queue", queue, slugRule],
    ["kind", kind, slugRule],
    ["project", project, projectRule],
  ] as const;
  return fields.flatMap(([name, text, rule]) => {
    const isRight = text === "" || text === "*" || rule.form.test(text.replace(/\*$/, ""));
    return isRight
      ? []
      : [{ field: `rule.filter.${name}`, message: `must have ${rule.words}, and * at its end alone` }];
  });
}

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isFinite(value) && value >= min && value <= max;
}
