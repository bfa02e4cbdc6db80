import type { Tx } from "../store/database.ts";
import { type FireRow, readJobStates, readLastFires, type ScheduleRow } from "../store/schedules.ts";
import { wordsOfCron } from "./rules/cron.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import type { ScheduleSpec } from "./rules/schedules.ts";
import { JobState } from "./rules/states.ts";

/** A schedule as it is shown. */
export interface ScheduleView extends ScheduleSpec {
  readonly scheduleId: string;
  readonly etag: string;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Without jitter; null while it is paused, and after its end. */
  readonly nextFireAt: Date | null;
  readonly lastFire: FireView | null;
  readonly pausedAt: Date | null;
  readonly pauseReason: string;
  /** Its cron in words. */
  readonly words: string;
}

/** What became of a fire time, as it is shown. */
export interface FireView extends FireRow {
  /** Where its job stands; null when there is none, or it was deleted. */
  readonly jobState: JobState | null;
}

/** Schedules as they are shown, in their order. */
export async function viewsOf(tx: Tx, orgId: string, rows: readonly ScheduleRow[]): Promise<ScheduleView[]> {
  const last = await readLastFires(
    tx,
    orgId,
    rows.map((row) => row.scheduleId),
  );
  const fires = await fireViewsOf(tx, orgId, [...last.values()]);
  const shown = new Map([...last.keys()].map((id, index) => [id, fires[index] ?? null]));
  return rows.map((row) => ({
    ...specOf(row),
    scheduleId: row.scheduleId,
    etag: scheduleEtag(row),
    createdAt: row.createdAt,
    updatedAt: row.updatedAt,
    nextFireAt: row.nextFireAt,
    lastFire: shown.get(row.scheduleId) ?? null,
    pausedAt: row.pausedAt,
    pauseReason: row.pauseReason,
    words: wordsOfCron(row.cron),
  }));
}

/** Entries of history as they are shown, in their order. */
export async function fireViewsOf(tx: Tx, orgId: string, rows: readonly FireRow[]): Promise<FireView[]> {
  const ids = rows.flatMap(({ jobId }) => jobId ?? []);
  const states = await readJobStates(tx, orgId, ids);
  return rows.map((row) => {
    const state = row.jobId === null ? undefined : states.get(row.jobId);
    return { ...row, jobState: Object.values(JobState).find((one) => one === state) ?? null };
  });
}

/** What changes with every change of a schedule. */
export function scheduleEtag({ scheduleId, revision }: ScheduleRow): string {
  return `${scheduleId.replaceAll("-", "").slice(-8)}-${revision}`;
}

/** What was asked of a schedule. */
export function specOf(row: ScheduleRow): ScheduleSpec {
  const { name, cron, zone, jitterMs, startAt, endAt, overlap, catchUp, catchUpLimit, labels } = row;
  return {
    ...{ name, cron, zone, jitterMs, startAt, endAt, overlap, catchUp, catchUpLimit, labels },
    isPaused: row.pausedAt !== null,
    job: readJob(row.job),
  };
}

/** The job of a schedule. What a put wrote has no times, so that JSON keeps all of it. */
export function readJob(text: string): JobRequest {
  const job: unknown = JSON.parse(text);
  return job as JobRequest;
}
