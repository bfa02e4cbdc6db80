import { inOrg, orgTxOf, type Tx } from "../store/database.ts";
import { readClockMs } from "../store/queues.ts";
import {
  deleteScheduleRow,
  hasSchedules,
  insertSchedule,
  lockSchedule,
  readSchedule,
  readSchedules,
  type ScheduleRow,
  updateSchedule,
} from "../store/schedules.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { alreadyExists, DomainError, invalidArgument, notFound, scopeMissing } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { takeRequest } from "./job-rows.ts";
import { requireKindScopes } from "./kind-scopes.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { requireProjects } from "./project-names.ts";
import { dueTime, fireTimesOf } from "./rules/fire-times.ts";
import {
  mostSchedules,
  type ScheduleSpec,
  type ScheduleState,
  scheduleViolations,
  timingOf,
} from "./rules/schedules.ts";
import { nameViolations, slugRule, textViolations } from "./rules/texts.ts";
import { type ScheduleView, scheduleEtag, specOf, viewsOf } from "./schedule-views.ts";
import { requireDocuments } from "./skill-documents.ts";
import { resolveTargets } from "./targets.ts";

/** How a schedule is put. */
export interface PutScheduleRequest {
  readonly spec: ScheduleSpec;
  /** Only when this is its etag; empty: whatever it is. */
  readonly etag: string;
  readonly mayCreate: boolean;
  readonly isOnlyNew: boolean;
  /** Check and answer, and change nothing. */
  readonly isDryRun: boolean;
  readonly reason: string;
  readonly requestId: string;
}

/** A schedule by its name, and why: for people. */
export interface ScheduleCommand {
  readonly name: string;
  readonly reason: string;
}

/** What a put came to. */
export interface PutSchedule {
  readonly schedule: ScheduleView;
  readonly isNew: boolean;
  readonly isChanged: boolean;
}

/**
 * Creates a schedule, or replaces all of it. What is there already is not touched. Changed times count from now on;
 * nothing of the past is made up. SCHEDULES_FULL when the org has as many as it may.
 */
export async function putSchedule(
  c: Coordinator,
  caller: Caller,
  request: PutScheduleRequest,
): Promise<PutSchedule> {
  const { spec, reason } = request;
  const violations = [...scheduleViolations(spec, "schedule", c.nowMs()), ...reasonViolations(reason)];
  if (violations.length > 0) throw invalidArgument(violations);
  // Who may not submit jobs does not get to by way of a schedule.
  if (!["submit", "admin"].some((scope) => caller.scopes.includes(scope))) throw scopeMissing("submit");
  requireKindScopes(caller, [spec.job.kind]);
  const { job } = spec;
  const named = job.project === null ? [] : [{ field: "schedule.job.project", name: job.project }];
  await requireProjects(c, caller, named, []);
  await requireDocuments(c, caller, [job], { pathOf: () => "schedule.job", keys: [] });
  await resolveTargets(c, caller.orgId, [job], () => "schedule.job", []);
  const { orgId } = caller;
  for (;;) {
    const put = await inOrg(c.db.app, orgId, (tx) => putOnce(c, tx, caller, request));
    // Another one was quicker to create it: now there is one to replace.
    if (put !== null) return put;
  }
}

/** Reads a schedule. */
export async function getSchedule(
  c: Pick<Coordinator, "db">,
  caller: Pick<Caller, "orgId">,
  name: string,
): Promise<ScheduleView> {
  refuse(nameViolations("name", name, slugRule));
  return inOrg(c.db.app, caller.orgId, async (tx) =>
    oneView(tx, caller.orgId, found(await readSchedule(tx, caller.orgId, name), name)),
  );
}

/** Lists schedules by name. */
export async function listSchedules(
  c: Pick<Coordinator, "db">,
  caller: Caller,
  {
    text,
    kind,
    state,
    labels,
    ...page
  }: PageRequest & {
    readonly text: string;
    readonly kind: string;
    readonly state: ScheduleState | null;
    readonly labels: Readonly<Record<string, string>>;
  },
): Promise<Page<ScheduleView>> {
  refuse(textViolations("text", text, { min: 0, max: 100 }));
  const { orgId } = caller;
  const identity: ListIdentity = { list: "schedules", orgId, filter: [text, kind, state, labels] };
  const limit = pageRows(page);
  const [afterName = null] = readPageToken(identity, page, [slugRule.form]) ?? [];
  const selection = { text, kind, state, labels, afterName, limit: limit + 1 };
  return inOrg(c.db.app, orgId, async (tx) => {
    const rows = await readSchedules(tx, orgId, selection);
    const views = await viewsOf(tx, orgId, rows);
    return pageOf(
      views,
      limit,
      identity,
      (view) => [view.name],
      (view) => view,
    );
  });
}

/** Deletes a schedule. Its jobs stay. False: there was none, and that may be. */
export async function deleteSchedule(
  c: Coordinator,
  caller: Caller,
  {
    name,
    etag,
    mayBeMissing,
    reason,
  }: ScheduleCommand & { readonly etag: string; readonly mayBeMissing: boolean },
): Promise<boolean> {
  refuse([...nameViolations("name", name, slugRule), ...reasonViolations(reason)]);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const row = await lockSchedule(tx, orgId, name);
    if (row === null && mayBeMissing) return false;
    const { scheduleId, cron, zone, kind } = refuseEtag(found(row, name), etag);
    await deleteScheduleRow(tx, orgId, scheduleId);
    const details = { scheduleId: encodeId("schedule", scheduleId), cron, zone, kind };
    await audit(tx, c, caller, { action: "schedule.delete", target: name, reason, details });
    return true;
  });
}

/** Pauses a schedule: it makes no jobs until it is resumed. One that is paused stays as it is. */
export function pauseSchedule(c: Coordinator, caller: Caller, command: ScheduleCommand) {
  return change(c, caller, "schedule.pause", command, (row, nowMs) =>
    row.pausedAt === null
      ? {
          ...{ pausedAt: new Date(nowMs), pauseReason: command.reason },
          ...{ nextFireAt: null, dueAt: null },
        }
      : null,
  );
}

/** Lets a schedule go on from now; what passed while it was paused is not made up. */
export function resumeSchedule(c: Coordinator, caller: Caller, command: ScheduleCommand) {
  return change(c, caller, "schedule.resume", command, (row, nowMs) =>
    row.pausedAt === null
      ? null
      : { pausedAt: null, pauseReason: "", ...nextOf(row.scheduleId, specOf(row), row.createdAt, nowMs) },
  );
}

/** The first fire time after a time, as a row has it. */
export function nextOf(
  scheduleId: string,
  spec: Pick<ScheduleSpec, "cron" | "zone" | "jitterMs" | "startAt" | "endAt" | "isPaused">,
  createdAt: Date,
  afterMs: number,
): { readonly nextFireAt: Date | null; readonly dueAt: Date | null } {
  const nextMs = fireTimesOf(timingOf(spec, createdAt)).after(afterMs);
  if (nextMs === null) return { nextFireAt: null, dueAt: null };
  return { nextFireAt: new Date(nextMs), dueAt: new Date(dueTime(scheduleId, nextMs, spec.jitterMs)) };
}

/** SCHEDULE_NOT_FOUND instead of nothing. */
export function found(row: ScheduleRow | null, name: string): ScheduleRow {
  if (row === null) throw notFound("SCHEDULE_NOT_FOUND", name);
  return row;
}

async function putOnce(
  c: Coordinator,
  tx: Tx,
  caller: Caller,
  { spec, etag, mayCreate, isOnlyNew, isDryRun, reason, requestId }: PutScheduleRequest,
): Promise<PutSchedule | null> {
  const { orgId } = caller;
  const orgTx = orgTxOf(tx, orgId);
  const { name } = spec;
  const isFirst =
    isDryRun ||
    (await takeRequest(c, orgTx, "schedule.put", name, requestId, { targetId: orgId, asked: [spec] }));
  const before = await lockSchedule(tx, orgId, name);
  if (!isFirst) {
    return { schedule: await oneView(tx, orgId, found(before, name)), isNew: false, isChanged: false };
  }
  if (before === null && !mayCreate && !isOnlyNew) throw notFound("SCHEDULE_NOT_FOUND", name);
  if (before !== null && isOnlyNew) throw alreadyExists("SCHEDULE_EXISTS", { name });
  if (before === null && etag !== "") throw new DomainError("ETAG_MISMATCH", { details: { name } });
  if (before !== null) refuseEtag(before, etag);
  else if (await hasSchedules(tx, orgId, mostSchedules)) {
    const message = `An org has at most ${mostSchedules.toLocaleString("en")} schedules`;
    throw new DomainError("SCHEDULES_FULL", { message, details: { name } });
  }
  const nowMs = await readClockMs(orgTx);
  const after = rowOf(c, before, spec, nowMs, reason);
  const isChanged = before === null || after !== before;
  const schedule = await oneView(tx, orgId, after);
  if (isDryRun || !isChanged) return { schedule, isNew: before === null, isChanged };
  if (before === null) {
    if (!(await insertSchedule(tx, orgId, after))) return null;
  } else await updateSchedule(tx, orgId, before.scheduleId, after);
  await audit(tx, c, caller, {
    action: "schedule.put",
    target: name,
    reason,
    details: { before: before === null ? null : audited(before), after: audited(after) },
  });
  return { schedule, isNew: before === null, isChanged };
}

// The row as it is to be; the very row that is there when nothing is new.
function rowOf(
  c: Coordinator,
  before: ScheduleRow | null,
  spec: ScheduleSpec,
  nowMs: number,
  reason: string,
): ScheduleRow {
  if (before !== null && isSame(specOf(before), spec)) return before;
  const now = new Date(nowMs);
  const scheduleId = before?.scheduleId ?? c.newId();
  const createdAt = before?.createdAt ?? now;
  const { isPaused, job, ...columns } = spec;
  const old = before === null ? null : specOf(before);
  const isTimed =
    old === null || old.isPaused !== isPaused || !isSame(timingOf(old, createdAt), timingOf(spec, createdAt));
  const next = isPaused ? { nextFireAt: null, dueAt: null } : nextOf(scheduleId, spec, createdAt, nowMs);
  const isNewlyPaused = isPaused && before?.pausedAt == null;
  return {
    ...{ liveJobs: [], nextFireAt: null, dueAt: null },
    ...before,
    ...columns,
    // Whether it can be submitted now, its next fire tells.
    ...{ failingAt: null, failure: "", failureText: "", failures: 0 },
    ...{ scheduleId, createdAt, updatedAt: now, kind: job.kind, job: JSON.stringify(job) },
    revision: (before?.revision ?? 0) + 1,
    pausedAt: isPaused ? (before?.pausedAt ?? now) : null,
    pauseReason: isPaused ? (isNewlyPaused ? reason : (before?.pauseReason ?? "")) : "",
    ...(isTimed ? next : {}),
  };
}

async function change(
  c: Coordinator,
  caller: Caller,
  action: string,
  { name, reason }: ScheduleCommand,
  changeOf: (row: ScheduleRow, nowMs: number) => Partial<ScheduleRow> | null,
): Promise<ScheduleView> {
  refuse([...nameViolations("name", name, slugRule), ...reasonViolations(reason)]);
  const { orgId } = caller;
  return inOrg(c.db.app, orgId, async (tx) => {
    const row = found(await lockSchedule(tx, orgId, name), name);
    const nowMs = await readClockMs(orgTxOf(tx, orgId));
    const changed = changeOf(row, nowMs);
    if (changed === null) return oneView(tx, orgId, row);
    const after = { ...row, ...changed, revision: row.revision + 1, updatedAt: new Date(nowMs) };
    await updateSchedule(tx, orgId, row.scheduleId, after);
    await audit(tx, c, caller, { action, target: name, reason });
    return oneView(tx, orgId, after);
  });
}

async function oneView(tx: Tx, orgId: string, row: ScheduleRow): Promise<ScheduleView> {
  const [view] = await viewsOf(tx, orgId, [row]);
  if (view === undefined) throw new Error("one row in, one view out");
  return view;
}

// For the audit log: a payload may be large, and is not of interest here.
function audited(row: ScheduleRow): Record<string, unknown> {
  const { job, ...spec } = specOf(row);
  const { payload, ...asked } = job;
  return { ...spec, job: asked };
}

function isSame(a: unknown, b: unknown): boolean {
  return sorted(a) === sorted(b);
}

// The same text for the same fields, whatever their order; what is undefined is not there.
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, one: unknown) =>
    typeof one === "object" && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}

function refuseEtag(row: ScheduleRow, etag: string): ScheduleRow {
  const present = scheduleEtag(row);
  if (etag === "" || etag === present) return row;
  throw new DomainError("ETAG_MISMATCH", { details: { name: row.name, etag: present } });
}

function refuse(violations: readonly { readonly field: string; readonly message: string }[]): void {
  if (violations.length > 0) throw invalidArgument(violations);
}

function reasonViolations(reason: string) {
  return textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
}
