import { inOrg } from "../store/database.ts";
import { readSchedule } from "../store/schedules.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument } from "./errors.ts";
import { clockChanges, effectOf, offsetsOf, offsetText, wallText } from "./rules/clock-changes.ts";
import { readCron, wordsOfCron } from "./rules/cron.ts";
import { dueTime, fireTimesOf, nextFireTimes } from "./rules/fire-times.ts";
import { maxFireTimes, type TimingSpec, timingOf, timingViolations } from "./rules/schedules.ts";
import { nameViolations, slugRule } from "./rules/texts.ts";
import { specOf } from "./schedule-views.ts";
import { found } from "./schedules.ts";

/** Which schedule a preview is of: a saved one, or one that need not be. */
export type PreviewOf =
  | { readonly type: "saved"; readonly name: string }
  | { readonly type: "spec"; readonly spec: TimingSpec };

/** When a schedule fires. */
export interface SchedulePreview {
  readonly words: string;
  readonly fires: readonly {
    readonly at: Date;
    readonly wall: string;
    readonly offset: string;
    readonly dueAt: Date;
    readonly note: string;
  }[];
  readonly clockChanges: readonly {
    readonly at: Date;
    readonly fromWall: string;
    readonly toWall: string;
    readonly affects: boolean;
    readonly note: string;
  }[];
}

/** How far ahead changes of the clocks are told. */
const changesAheadMs = 400 * 86_400_000;

/** Tells when a schedule fires after `from`, as if it were not paused; 0 times mean 5. */
export async function previewSchedule(
  c: Coordinator,
  caller: Pick<Caller, "orgId">,
  { of, count, from }: { readonly of: PreviewOf; readonly count: number; readonly from: Date | null },
): Promise<SchedulePreview> {
  const nowMs = c.nowMs();
  const violations = [
    ...(Number.isInteger(count) && count >= 0 && count <= maxFireTimes
      ? []
      : [{ field: "count", message: `must be from 0 to ${maxFireTimes}` }]),
    ...(of.type === "saved"
      ? nameViolations("name", of.name, slugRule)
      : timingViolations(of.spec, "schedule", nowMs)),
  ];
  if (violations.length > 0) throw invalidArgument(violations);
  const { scheduleId, spec, createdAt } = await timed(c, caller, of, nowMs);
  const fromMs = from?.getTime() ?? nowMs;
  const timing = timingOf(spec, createdAt);
  const changes = clockChanges(spec.zone, fromMs, fromMs + changesAheadMs);
  const offsetAt = offsetsOf(spec.zone);
  const isHourly = goesByHours(spec.cron);
  return {
    words: wordsOfCron(spec.cron),
    fires: nextFireTimes(fireTimesOf(timing), fromMs, count === 0 ? 5 : count).map((ms) => ({
      at: new Date(ms),
      wall: wallText(ms + offsetAt(ms)),
      offset: offsetText(offsetAt(ms)),
      dueAt: new Date(dueTime(scheduleId, ms, spec.jitterMs)),
      note: isHourly ? "" : noteOf(ms, changes, spec.cron),
    })),
    clockChanges: changes.map((change) => ({
      at: new Date(change.ms),
      fromWall: wallText(change.ms + change.fromOffsetMs).slice(0, 16),
      toWall: wallText(change.ms + change.toOffsetMs).slice(0, 16),
      ...effectOf(spec.cron, change),
    })),
  };
}

async function timed(c: Coordinator, { orgId }: Pick<Caller, "orgId">, of: PreviewOf, nowMs: number) {
  if (of.type === "spec") {
    return { scheduleId: "", spec: of.spec, createdAt: new Date(nowMs) };
  }
  const row = await inOrg(c.db.app, orgId, (tx) => readSchedule(tx, orgId, of.name));
  const { scheduleId, createdAt } = found(row, of.name);
  return { scheduleId, spec: specOf(found(row, of.name)), createdAt };
}

function goesByHours(cron: string): boolean {
  const read = readCron(cron);
  return "fault" in read || read.type === "every" || read.isHourly;
}

// A fire at the very end of a gap stands for times in it; one in a repeated hour is the first of two.
function noteOf(ms: number, changes: ReturnType<typeof clockChanges>, cron: string): string {
  for (const change of changes) {
    const repeatedMs = change.fromOffsetMs - change.toOffsetMs;
    if (ms === change.ms && repeatedMs < 0) {
      const { affects, note } = effectOf(cron, change);
      return affects ? note : "";
    }
    if (repeatedMs > 0 && ms < change.ms && ms >= change.ms - repeatedMs) {
      return "this wall time happens twice on this day: it fires the first time only";
    }
  }
  return "";
}
