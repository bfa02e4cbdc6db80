import { AlertRuleSchema } from "@muster/client/v1/alert_service";
import { z } from "zod";
import type { Violation } from "../errors.ts";
import { nearest } from "../input/suggest.ts";
import { documentOf, readOldFile } from "./old-file.ts";
import type { ReadOldFile } from "./scheduler-file.ts";

const texts = z.union([z.string(), z.array(z.string())]);

/** An `alerts.yaml`: rules, each with what it looks at and whom it tells. */
export const alertsForm = z.strictObject({
  rules: z.array(
    z.strictObject({
      on: z.string(),
      name: z.string().optional(),
      threshold: z.union([z.number(), z.string()]).optional(),
      window: z.string().optional(),
      channels: texts.optional(),
      throttle: z.string().optional(),
      kind: z.string().optional(),
      queue: z.string().optional(),
      project: z.string().optional(),
      enabled: z.boolean().optional(),
    }),
  ),
});

/** Words of other job runners, and ours. */
const conditions: Readonly<Record<string, string>> = {
  job_failed: "job_dead",
  job_failure: "job_dead",
  job_dead: "job_dead",
  failure: "job_dead",
  failed: "job_dead",
  failure_rate: "failure_rate",
  error_rate: "failure_rate",
  consecutive_failures: "consecutive_failures",
  queue_depth: "queue_depth",
  queue_size: "queue_depth",
  queue_age: "queue_age",
  job_slow: "job_slow",
  slow_job: "job_slow",
  schedule_missed: "schedule_missed",
  missed_schedule: "schedule_missed",
  no_route: "no_route",
  no_worker: "no_route",
  project_cap: "project_cap",
  worker_stale: "worker_stale",
  worker_offline: "worker_stale",
  stale_worker: "worker_stale",
  lease_stale: "lease_stale",
  stale_lease: "lease_stale",
  job_retried: "job_retried",
  disk: "disk",
  disk_low: "disk",
  database: "database",
};

/**
 * The alert rules of an `alerts.yaml`. A rule without a name has that of what it looks at. A failure rate of at most 1
 * is a share there: it becomes percent, with a warning.
 */
export function readAlerts(text: string, name: string, nowMs: number, violations: Violation[]): ReadOldFile {
  const file = readOldFile(text, name, alertsForm, violations);
  if (file === null) return { documents: [], warnings: [] };
  const seen = new Map<string, number>();
  const warnings: string[] = [];
  const documents = file.form.rules.flatMap((rule, index) => {
    const path = ["rules", index];
    const on = rule.on.toLowerCase().replaceAll(/[.\s-]+/g, "_");
    const condition = conditions[on];
    if (condition === undefined) {
      const near = nearest(on, Object.keys(conditions));
      const meant =
        near === undefined
          ? `use one of ${[...new Set(Object.values(conditions))].join(", ")}`
          : `did you mean ${near}?`;
      violations.push({
        field: file.locate([...path, "on"]),
        message: `on: ${JSON.stringify(rule.on)} is nothing that a rule looks at; ${meant}`,
      });
      return [];
    }
    const written = rule.threshold === undefined ? undefined : readThreshold(rule.threshold);
    if (written === null) {
      violations.push({
        field: file.locate([...path, "threshold"]),
        message: 'threshold: must be a number, or like "20%"',
      });
      return [];
    }
    const isShare = condition === "failure_rate" && written !== undefined && isShareOfOne(written);
    // 0.07 of 1 is 7 %, and not 7.000000000000001 %.
    const threshold = isShare ? Number((written.number * 100).toPrecision(12)) : written?.number;
    if (isShare) {
      warnings.push(
        `${file.locate([...path, "threshold"])}: threshold: ${written.number} is taken as a share: ${threshold} %. ` +
          `If you mean ${written.number} %, write "${written.number}%".`,
      );
    }
    const plain = condition.replaceAll("_", "-");
    const count = (seen.get(plain) ?? 0) + 1;
    seen.set(plain, count);
    const { kind, queue, project, window, throttle, channels, enabled = true } = rule;
    const filter = { ...(kind && { kind }), ...(queue && { queue }), ...(project && { project }) };
    const spec = {
      condition,
      ...(threshold === undefined ? {} : { threshold }),
      ...(window === undefined ? {} : { window }),
      ...(throttle === undefined ? {} : { throttle }),
      ...(channels === undefined ? {} : { channels: [channels].flat() }),
      ...(Object.keys(filter).length === 0 ? {} : { filter }),
      ...(enabled ? {} : { disabled: true }),
    };
    const ruleName = rule.name ?? (count === 1 ? plain : `${plain}-${count}`);
    const entry = { kind: "alert", schema: AlertRuleSchema, name: ruleName, spec, path, origins };
    return documentOf(entry, file, nowMs, violations) ?? [];
  });
  return { documents, warnings };
}

const origins = {
  name: "name",
  condition: "on",
  threshold: "threshold",
  window: "window",
  throttle: "throttle",
  channels: "channels",
  disabled: "enabled",
  "filter.kind": "kind",
  "filter.queue": "queue",
  "filter.project": "project",
};

interface Threshold {
  readonly number: number;
  readonly isPercent: boolean;
}

// What has another unit than percent is no number.
function readThreshold(value: number | string): Threshold | null {
  if (typeof value === "number") return { number: value, isPercent: false };
  const [, digits, percent] = /^(\d+(?:\.\d+)?)\s*(%?)$/.exec(value.trim()) ?? [];
  return digits === undefined ? null : { number: Number(digits), isPercent: percent === "%" };
}

function isShareOfOne({ number, isPercent }: Threshold): boolean {
  return !isPercent && number > 0 && number <= 1;
}
