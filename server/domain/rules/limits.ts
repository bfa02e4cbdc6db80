import { nameViolations, slugRule, type TextViolation, textViolations } from "./texts.ts";

/** What a name is the name of. */
export const queueTypes = ["queue", "kind", "pool"] as const;
export type QueueType = (typeof queueTypes)[number];

/** A queue, a kind or a pool. */
export interface QueueName {
  readonly type: QueueType;
  readonly name: string;
}

/** How much may run and start. */
export interface QueueLimits {
  /** Jobs that may be leased at once; null: no limit. */
  readonly running: number | null;
  /** So many starts a period; null: no limit. */
  readonly startRate: { readonly jobs: number; readonly periodMs: number } | null;
}

/** The most that a limit may say. */
const mostJobs = 1_000_000;
const shortestPeriodMs = 1_000;
const longestPeriodMs = 24 * 3_600_000;

/** The longest time that a pause may name. */
export const longestPauseMs = 366 * 24 * 3_600_000;

/** The key of its gate. */
export function gateKey({ type, name }: QueueName): string {
  return `${type}:${name}`;
}

/** What is wrong with a name, and with the reason that people give. */
export function queueViolations({ name }: Pick<QueueName, "name">, reason: string): TextViolation[] {
  return [
    ...nameViolations("name", name, slugRule),
    ...textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }),
  ];
}

/** All that is wrong with limits. */
export function limitViolations({ running, startRate }: QueueLimits): TextViolation[] {
  const violations: TextViolation[] = [];
  const check = (isRight: boolean, field: string, message: string) => {
    if (!isRight) violations.push({ field: `limits.${field}`, message });
  };
  const isCount = (count: number) => Number.isInteger(count) && count >= 1 && count <= mostJobs;
  if (running === 0)
    check(false, "running", "must be 1 to 1,000,000; to let nothing start, pause it instead");
  else if (running !== null) check(isCount(running), "running", "must be 1 to 1,000,000");
  if (startRate !== null) {
    const { jobs, periodMs } = startRate;
    check(isCount(jobs), "startRate.jobs", "must be 1 to 1,000,000");
    const isPeriod = periodMs >= shortestPeriodMs && periodMs <= longestPeriodMs;
    check(isPeriod, "startRate.per", "must be 1 s to 24 h");
  }
  return violations;
}
