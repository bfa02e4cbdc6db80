import { inOrg } from "../store/database.ts";
import { readClockMs } from "../store/queues.ts";
import { keepLiveJobs, lockFiring, readMadeFires } from "../store/schedule-fires.ts";
import { readFires, readSchedule, type ScheduleRow } from "../store/schedules.ts";
import { call, type OrgTx, transact, transactAgain } from "../store/statement.ts";
import { insertAuditRows, readKeys } from "../store/submit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, invalidArgument, type Violation } from "./errors.ts";
import { announceFires, cancelReplaced, idsOf, templatesOf } from "./fire-schedules.ts";
import { type FireEntry, type WrittenFires, writeFires } from "./fire-writes.ts";
import { newUuidV7 } from "./ids.ts";
import { auditRow, requestKey, takeRequest } from "./job-rows.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { fireTimesOf, nextFireTimes } from "./rules/fire-times.ts";
import { type FireOutcome, maxFireTimes, type OverlapPolicy, timingOf } from "./rules/schedules.ts";
import { nameViolations, slugRule, textViolations } from "./rules/texts.ts";
import { type FireView, fireViewsOf, specOf } from "./schedule-views.ts";
import { found, type ScheduleCommand } from "./schedules.ts";

/** What a backfill came to. */
export interface Backfill {
  readonly submitted: number;
  readonly skipped: number;
  /** Times that had made a job before. */
  readonly existing: number;
  /** What was written, oldest first. */
  readonly fires: readonly FireView[];
}

/** Lists what became of the fire times of a schedule, newest first; null: whatever it was. */
export async function listFires(
  c: Pick<Coordinator, "db">,
  { orgId }: Pick<Caller, "orgId">,
  { name, outcome, ...page }: PageRequest & { readonly name: string; readonly outcome: FireOutcome | null },
): Promise<Page<FireView>> {
  refuse(nameViolations("name", name, slugRule));
  const identity: ListIdentity = { list: "fires", orgId, filter: [name, outcome] };
  const limit = pageRows(page);
  const [beforeMs] = readPageToken(identity, page, [/^\d{1,15}$/]) ?? [];
  const before = beforeMs === undefined ? null : new Date(Number(beforeMs));
  return inOrg(c.db.app, orgId, async (tx) => {
    const { scheduleId } = found(await readSchedule(tx, orgId, name), name);
    const rows = await readFires(tx, orgId, scheduleId, { outcome, before, limit: limit + 1 });
    const views = await fireViewsOf(tx, orgId, rows);
    return pageOf(
      views,
      limit,
      identity,
      (view) => [String(view.fireAt.getTime())],
      (view) => view,
    );
  });
}

/**
 * Makes a job of a schedule now, also of one that is paused. What its policy skips is answered as skipped; what cannot
 * be submitted is refused. The same request id again answers with the first fire.
 */
export async function triggerSchedule(
  c: Coordinator,
  caller: Caller,
  {
    name,
    overlap: asked,
    reason,
    requestId,
  }: ScheduleCommand & { readonly overlap: OverlapPolicy | null; readonly requestId: string },
): Promise<FireView> {
  refuse([...nameViolations("name", name, slugRule), ...reasonViolations(reason)]);
  const { orgId } = caller;
  const earlier = await earlierTrigger(c, orgId, name, requestId);
  if (earlier !== null) return fireAt(c, orgId, name, earlier);
  const row = await inOrg(c.db.app, orgId, (tx) => readSchedule(tx, orgId, name));
  const schedule = found(row, name);
  const written = await fireNow(c, caller, schedule, asked ?? schedule.overlap, async (tx, write, nowMs) => {
    const isFirst = await takeRequest(c, tx, "schedule.trigger", name, requestId, {
      // Tells a repetition when it fired.
      targetId: newUuidV7(nowMs, (count) => new Uint8Array(count)),
      asked: [asked],
    });
    if (!isFirst) return null;
    // Never a whole second, which is a time of the cron; another trigger may have had the same.
    for (let ms = nowMs; ; ms++) {
      if (ms % 1_000 === 0) continue;
      const one = await write([{ ms, cause: "trigger" }]);
      if (one.entries.length === 0) continue;
      const [entry] = one.entries;
      refuseFailed(one.entries);
      const details = { fire: new Date(ms).toISOString(), outcome: entry?.outcome, overlap: asked };
      await tx.run(insertAuditRows(orgId, [auditRow(c, caller, "schedule.trigger", name, details, reason)]));
      return one;
    }
  });
  const [entry] = written?.entries ?? [];
  return fireAt(c, orgId, name, entry?.ms ?? (await earlierTrigger(c, orgId, name, requestId)) ?? 0);
}

/** Makes the jobs of past fire times that made none; at most 1,000 times a call. */
export async function backfillSchedule(
  c: Coordinator,
  caller: Caller,
  {
    name,
    startAt,
    endAt,
    overlap,
    isDryRun,
    reason,
  }: ScheduleCommand & {
    readonly startAt: Date;
    readonly endAt: Date;
    readonly overlap: OverlapPolicy;
    readonly isDryRun: boolean;
  },
): Promise<Backfill> {
  const { orgId } = caller;
  const nowMs = await transact(c.db.hot, orgId, readClockMs);
  refuse([
    ...nameViolations("name", name, slugRule),
    ...reasonViolations(reason),
    ...(endAt.getTime() > nowMs ? [{ field: "endTime", message: "must have passed" }] : []),
    ...(endAt <= startAt ? [{ field: "endTime", message: "must be after startTime" }] : []),
  ]);
  const row = await inOrg(c.db.app, orgId, (tx) => readSchedule(tx, orgId, name));
  const schedule = found(row, name);
  const times = pastTimes(schedule, startAt.getTime(), endAt.getTime());
  const { scheduleId } = schedule;
  const readMade = async (tx: OrgTx): Promise<Set<number>> => {
    const rows = await tx.run(call(readMadeFires, { org: orgId, schedule: scheduleId, times }));
    return new Set(rows.map((one) => Math.round(Number(one["ms"]))));
  };
  if (isDryRun) {
    const made = await transact(c.db.hot, orgId, readMade);
    return { submitted: times.length - made.size, skipped: 0, existing: made.size, fires: [] };
  }
  const written = await fireNow(c, caller, schedule, overlap, async (tx, write) => {
    const made = await readMade(tx);
    const left = times.filter((ms) => !made.has(ms));
    const one = await write(left.map((ms) => ({ ms, cause: "backfill" as const })));
    refuseFailed(one.entries);
    const details = {
      ...{ from: startAt.toISOString(), to: endAt.toISOString(), overlap },
      ...{ submitted: one.jobs.length, existing: made.size },
    };
    await tx.run(insertAuditRows(orgId, [auditRow(c, caller, "schedule.backfill", name, details, reason)]));
    return one;
  });
  const entries = written?.entries ?? [];
  const fires = await inOrg(c.db.app, orgId, (tx) => fireViewsOf(tx, orgId, entries.map(rowOfEntry)));
  const submitted = entries.filter(({ outcome }) => outcome === "submitted").length;
  const skipped = entries.length - submitted;
  return { submitted, skipped, existing: times.length - entries.length, fires };
}

type Write = (
  fires: readonly { readonly ms: number; readonly cause: "trigger" | "backfill" }[],
) => Promise<WrittenFires>;

// Fires a schedule out of turn: its next time stays what it is.
async function fireNow(
  c: Coordinator,
  { orgId }: Caller,
  row: ScheduleRow,
  overlap: OverlapPolicy,
  body: (tx: OrgTx, write: Write, nowMs: number) => Promise<WrittenFires | null>,
): Promise<WrittenFires | null> {
  const { scheduleId, name, liveJobs } = row;
  const { job } = specOf(row);
  const [template] = await templatesOf(c, orgId, [{ name, overlap, job }]);
  if (template === undefined || template instanceof DomainError) throw template;
  if (overlap === "replace") await cancelReplaced(c, orgId, name, liveJobs);
  const written = await transactAgain(c.db.hot, orgId, async (tx) => {
    const [locked] = await tx.run(call(lockFiring, { org: orgId, schedule: scheduleId }));
    found(locked === undefined ? null : row, name);
    const live = idsOf(locked?.["live"]);
    const write: Write = (fires) =>
      writeFires(c, tx, [{ scheduleId, name, job, template, overlap, fires, missed: [], live }], {
        mayRepeat: true,
      });
    const one = await body(tx, write, Math.floor(Number(locked?.["now_ms"])));
    const after = one?.live.get(scheduleId);
    // Of a schedule that allows overlaps nobody asks for them.
    if (after !== undefined && row.overlap !== "allow") {
      await tx.run(call(keepLiveJobs, { org: orgId, schedule: scheduleId, live: after }));
    }
    return one;
  });
  if (written !== null) announceFires(c, orgId, written);
  return written;
}

function pastTimes(row: ScheduleRow, startMs: number, endMs: number): number[] {
  // Before it was there, too: `@every` counts on from its first time alone.
  const times = nextFireTimes(fireTimesOf(timingOf(row, row.createdAt)), startMs - 1, maxFireTimes + 1);
  const within = times.filter((ms) => ms < endMs);
  if (within.length > maxFireTimes) {
    throw invalidArgument([
      {
        field: "endTime",
        message: `leaves more than ${maxFireTimes} fire times: take them in several calls`,
      },
    ]);
  }
  return within;
}

// When the trigger of a request id fired; null: it has not, or there is none.
async function earlierTrigger(
  c: Coordinator,
  orgId: string,
  name: string,
  requestId: string,
): Promise<number | null> {
  if (requestId === "") return null;
  const keys = [requestKey("schedule.trigger", name, requestId)];
  const rows = await transact(c.db.hot, orgId, (tx) =>
    tx.run(call(readKeys, { org: orgId, types: ["request"], keys })),
  );
  const target = rows[0]?.["target"];
  return target === undefined ? null : Number.parseInt(String(target).replaceAll("-", "").slice(0, 12), 16);
}

async function fireAt(c: Coordinator, orgId: string, name: string, ms: number): Promise<FireView> {
  return inOrg(c.db.app, orgId, async (tx) => {
    const { scheduleId } = found(await readSchedule(tx, orgId, name), name);
    // The first from then on: another trigger may have had the same millisecond.
    const before = new Date(ms + 50);
    const rows = await readFires(tx, orgId, scheduleId, { outcome: null, before, limit: 50 });
    const trigger = rows.findLast((row) => row.fireAt.getTime() >= ms && row.cause === "trigger");
    const [view] = await fireViewsOf(tx, orgId, trigger === undefined ? rows.slice(0, 1) : [trigger]);
    if (view === undefined) throw new Error("a fire that was written is not there");
    return view;
  });
}

function refuseFailed(entries: readonly FireEntry[]): void {
  const failed = entries.find(({ outcome }) => outcome === "failed");
  if (failed === undefined) return;
  throw new DomainError("VALIDATION_FAILED", { message: failed.note });
}

function rowOfEntry({ ms, lastMs, ...entry }: FireEntry) {
  const { outcome, cause, jobId, note, errorReason, count } = entry;
  return {
    ...{ outcome, cause, jobId, note, errorReason, count },
    ...{ fireAt: new Date(ms), lastAt: new Date(lastMs), recordedAt: new Date(lastMs) },
  };
}

function refuse(violations: readonly Violation[]): void {
  if (violations.length > 0) throw invalidArgument(violations);
}

function reasonViolations(reason: string): Violation[] {
  return textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
}
