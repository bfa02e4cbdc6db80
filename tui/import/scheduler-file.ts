import { ScheduleSchema } from "@muster/client/v1/schedule_service";
import { z } from "zod";
import type { WantedDocument } from "../apply/documents.ts";
import type { Violation } from "../errors.ts";
import { documentOf, readOldFile } from "./old-file.ts";

const texts = z.union([z.string(), z.array(z.string())]);

/** A `scheduler.yaml`: jobs, each with its cron. */
export const schedulerForm = z.strictObject({
  timezone: z.string().optional(),
  jobs: z.array(
    z.strictObject({
      id: z.string(),
      kind: z.string(),
      cron: z.string(),
      timezone: z.string().optional(),
      priority: z.union([z.string(), z.int()]).optional(),
      depends_on: texts.optional(),
      retries: z.int().min(0).max(99).optional(),
      enabled: z.boolean().optional(),
      title: z.string().optional(),
      queue: z.string().optional(),
      timeout: z.string().optional(),
      payload: z.unknown().optional(),
    }),
  ),
});

/** What was read, and what cannot be said in schedules. */
export interface ReadOldFile {
  readonly documents: readonly WantedDocument[];
  readonly warnings: readonly string[];
}

/**
 * The schedules of a `scheduler.yaml`. `retries` are tries after the first; who is not enabled is paused. Jobs of
 * schedules do not wait for each other: what a job depends on is kept as the label `depends-on`, with a warning.
 */
export function readScheduler(
  text: string,
  name: string,
  nowMs: number,
  violations: Violation[],
): ReadOldFile {
  const file = readOldFile(text, name, schedulerForm, violations);
  if (file === null) return { documents: [], warnings: [] };
  const { form, locate } = file;
  const ids = form.jobs.map(({ id }) => id);
  const warnings: string[] = [];
  const documents = form.jobs.flatMap((job, index) => {
    const path = ["jobs", index];
    const { id, cron, timezone = form.timezone, enabled = true, retries, timeout } = job;
    const after = [job.depends_on ?? []].flat();
    for (const other of after) {
      if (!ids.includes(other)) {
        violations.push({
          field: locate([...path, "depends_on"]),
          message: `depends_on: there is no job ${JSON.stringify(other)}`,
        });
      }
    }
    if (after.length > 0) {
      warnings.push(
        `${locate([...path, "depends_on"])}: jobs of schedules do not wait for each other: ${id} will not wait for ` +
          `${after.join(", ")}. It is kept as the label depends-on; give it a later time, or submit both in a batch.`,
      );
    }
    const spec = {
      cron,
      ...(timezone === undefined ? {} : { zone: timezone }),
      ...(enabled ? {} : { paused: true }),
      ...(after.length === 0 ? {} : { labels: { "depends-on": after.join(",") } }),
      job: {
        kind: job.kind,
        ...(job.title === undefined ? {} : { title: job.title }),
        ...(job.queue === undefined ? {} : { queue: job.queue }),
        ...(job.priority === undefined ? {} : { priority: job.priority }),
        ...(retries === undefined ? {} : { retry: { maxAttempts: retries + 1 } }),
        ...(timeout === undefined ? {} : { softTimeout: timeout }),
        ...(job.payload === undefined ? {} : { payload: job.payload }),
      },
    };
    const entry = { kind: "schedule", schema: ScheduleSchema, name: id, spec, path, origins };
    return documentOf(entry, file, nowMs, violations) ?? [];
  });
  return { documents, warnings };
}

const origins = {
  name: "id",
  cron: "cron",
  zone: "timezone",
  paused: "enabled",
  labels: "depends_on",
  job: "kind",
  "job.priority": "priority",
  "job.retry.maxAttempts": "retries",
  "job.softTimeout": "timeout",
  "job.queue": "queue",
  "job.title": "title",
  "job.payload": "payload",
};
