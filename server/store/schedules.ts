import type { FireOutcome, ScheduleState } from "../domain/rules/schedules.ts";
import type { Tx } from "./database.ts";
import { and, asc, desc, eq, getTableColumns, gt, inArray, isNotNull, isNull, lt, sql } from "./drizzle.ts";
import { attempts, jobQueue } from "./schema.ts";
import { scheduleFires, schedules } from "./schema-schedules.ts";

/** A schedule as it is kept. */
export type ScheduleRow = Omit<typeof schedules.$inferSelect, "orgId">;

/** What became of a fire time, as it is kept. */
export type FireRow = Omit<typeof scheduleFires.$inferSelect, "orgId" | "scheduleId">;

/** Which schedules are on a list; null and empty: any. */
export interface ScheduleSelection {
  readonly text: string;
  readonly kind: string;
  readonly state: ScheduleState | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly afterName: string | null;
  readonly limit: number;
}

const { orgId: _ofSchedule, ...scheduleColumns } = getTableColumns(schedules);
const { orgId: _ofFire, scheduleId: _schedule, ...fireColumns } = getTableColumns(scheduleFires);

/** The schedule of a name; null: there is none. */
export async function readSchedule(tx: Tx, orgId: string, name: string): Promise<ScheduleRow | null> {
  const [row] = await tx
    .select(scheduleColumns)
    .from(schedules)
    .where(and(eq(schedules.orgId, orgId), eq(schedules.name, name)));
  return row ?? null;
}

/** The same, locked. */
export async function lockSchedule(tx: Tx, orgId: string, name: string): Promise<ScheduleRow | null> {
  const [row] = await tx
    .select(scheduleColumns)
    .from(schedules)
    .where(and(eq(schedules.orgId, orgId), eq(schedules.name, name)))
    .for("update");
  return row ?? null;
}

/** Schedules by name. */
export function readSchedules(tx: Tx, orgId: string, selection: ScheduleSelection): Promise<ScheduleRow[]> {
  const { text, kind, state, labels, afterName, limit } = selection;
  return tx
    .select(scheduleColumns)
    .from(schedules)
    .where(
      and(
        eq(schedules.orgId, orgId),
        afterName === null ? undefined : gt(schedules.name, afterName),
        text === "" ? undefined : sql`position(${text} in ${schedules.name}) > 0`,
        kind === "" ? undefined : eq(schedules.kind, kind),
        state === null ? undefined : stateTerms[state],
        Object.keys(labels).length === 0
          ? undefined
          : sql`${schedules.labels} @> ${JSON.stringify(labels)}::jsonb`,
      ),
    )
    .orderBy(asc(schedules.name))
    .limit(limit);
}

const stateTerms = {
  active: isNotNull(schedules.nextFireAt),
  paused: isNotNull(schedules.pausedAt),
  ended: and(isNull(schedules.nextFireAt), isNull(schedules.pausedAt)),
  failing: isNotNull(schedules.failingAt),
};

/** Keeps a new schedule. False when its name is taken: then nothing changed. */
export async function insertSchedule(tx: Tx, orgId: string, row: ScheduleRow): Promise<boolean> {
  const inserted = await tx
    .insert(schedules)
    .values({ orgId, ...row })
    .onConflictDoNothing()
    .returning({ name: schedules.name });
  return inserted.length > 0;
}

/** Whether an org has so many schedules. */
export async function hasSchedules(tx: Tx, orgId: string, number: number): Promise<boolean> {
  const found = await tx
    .select({ name: schedules.name })
    .from(schedules)
    .where(eq(schedules.orgId, orgId))
    .orderBy(asc(schedules.name))
    .offset(number - 1)
    .limit(1);
  return found.length > 0;
}

/** Changes a schedule. */
export async function updateSchedule(
  tx: Tx,
  orgId: string,
  scheduleId: string,
  change: Partial<ScheduleRow>,
): Promise<void> {
  await tx
    .update(schedules)
    .set(change)
    .where(and(eq(schedules.orgId, orgId), eq(schedules.scheduleId, scheduleId)));
}

/** Removes a schedule; its history stays until it is old. */
export async function deleteScheduleRow(tx: Tx, orgId: string, scheduleId: string): Promise<void> {
  await tx.delete(schedules).where(and(eq(schedules.orgId, orgId), eq(schedules.scheduleId, scheduleId)));
}

/** The latest entry of the history of each schedule that has one. */
export async function readLastFires(
  tx: Tx,
  orgId: string,
  scheduleIds: readonly string[],
): Promise<Map<string, FireRow>> {
  if (scheduleIds.length === 0) return new Map();
  const last = tx
    .select(fireColumns)
    .from(scheduleFires)
    .where(and(eq(scheduleFires.orgId, orgId), eq(scheduleFires.scheduleId, schedules.scheduleId)))
    .orderBy(desc(scheduleFires.fireAt))
    .limit(1)
    .as("last");
  const rows = await tx
    .select({
      scheduleId: schedules.scheduleId,
      last: {
        fireAt: last.fireAt,
        outcome: last.outcome,
        cause: last.cause,
        jobId: last.jobId,
        note: last.note,
        errorReason: last.errorReason,
        recordedAt: last.recordedAt,
        count: last.count,
        lastAt: last.lastAt,
      },
    })
    .from(schedules)
    .innerJoinLateral(last, sql`true`)
    .where(and(eq(schedules.orgId, orgId), inArray(schedules.scheduleId, [...scheduleIds])));
  return new Map(rows.map((row) => [row.scheduleId, row.last]));
}

/** The history of a schedule, newest first. */
export function readFires(
  tx: Tx,
  orgId: string,
  scheduleId: string,
  {
    outcome,
    before,
    limit,
  }: { readonly outcome: FireOutcome | null; readonly before: Date | null; readonly limit: number },
): Promise<FireRow[]> {
  return tx
    .select(fireColumns)
    .from(scheduleFires)
    .where(
      and(
        eq(scheduleFires.orgId, orgId),
        eq(scheduleFires.scheduleId, scheduleId),
        outcome === null ? undefined : eq(scheduleFires.outcome, outcome),
        before === null ? undefined : lt(scheduleFires.fireAt, before),
      ),
    )
    .orderBy(desc(scheduleFires.fireAt))
    .limit(limit);
}

/** Where jobs stand: those that live, or how their last run ended. What was deleted is left out. */
export async function readJobStates(
  tx: Tx,
  orgId: string,
  jobIds: readonly string[],
): Promise<Map<string, number>> {
  if (jobIds.length === 0) return new Map();
  const ended = await tx
    .selectDistinctOn([attempts.jobId], { jobId: attempts.jobId, state: attempts.state })
    .from(attempts)
    .where(and(eq(attempts.orgId, orgId), inArray(attempts.jobId, [...jobIds]), sql`${attempts.final}`))
    .orderBy(attempts.jobId, desc(attempts.generation));
  const live = await tx
    .select({ jobId: jobQueue.jobId, state: jobQueue.state })
    .from(jobQueue)
    .where(and(eq(jobQueue.orgId, orgId), inArray(jobQueue.jobId, [...jobIds])));
  return new Map([...ended, ...live].map((row) => [row.jobId, row.state ?? 0]));
}

/** Schedules whose jobs cannot be submitted, the longest first. */
export function readFailingSchedules(tx: Tx, orgId: string, limit: number) {
  return tx
    .select({
      name: schedules.name,
      failingAt: schedules.failingAt,
      failureText: schedules.failureText,
      failures: schedules.failures,
    })
    .from(schedules)
    .where(and(eq(schedules.orgId, orgId), isNotNull(schedules.failingAt)))
    .orderBy(asc(schedules.failingAt))
    .limit(limit);
}
