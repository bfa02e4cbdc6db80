import { readArray } from "../store/arrays.ts";
import { isConnectionLost } from "../store/connection-errors.ts";
import { lockDueSchedules, moveSchedules, readDueSchedules } from "../store/schedule-fires.ts";
import { call, type OrgTx, runInOrg, transactAgain } from "../store/statement.ts";
import type { JobTemplate } from "../store/submit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { DomainError, notFound } from "./errors.ts";
import { type FireEntry, type FireWork, type WrittenFires, writeFires } from "./fire-writes.ts";
import { cancelJob, templateOf } from "./jobs.ts";
import { systemCaller } from "./keys.ts";
import { type DueFires, dueFires, dueTime, type Timing } from "./rules/fire-times.ts";
import type { JobRequest } from "./rules/job-spec.ts";
import { templateKey } from "./rules/job-templates.ts";
import { type CatchUpPolicy, type OverlapPolicy, scheduleActor } from "./rules/schedules.ts";
import { internShape, type ShapeTarget } from "./rules/shapes.ts";
import { readJob } from "./schedule-views.ts";
import { countShapes } from "./submit.ts";
import { resolveTargets } from "./targets.ts";

/** Schedules of one transaction at most: what fits well into the time of a use. */
const batchSchedules = 500;

/** Jobs of one transaction, about. */
const batchJobs = 2_000;

/** A schedule whose time has come. */
interface DueSchedule {
  readonly scheduleId: string;
  readonly name: string;
  readonly timing: Timing;
  readonly overlap: OverlapPolicy;
  readonly job: JobRequest;
  readonly revision: number;
  /** The first fire time that nothing became of yet. */
  readonly firstMs: number;
  readonly live: readonly string[];
  readonly due: DueFires;
}

/** What is needed to submit the jobs of a schedule. */
export interface SubmittableSchedule {
  readonly name: string;
  readonly overlap: OverlapPolicy;
  readonly job: JobRequest;
}

/**
 * Makes the jobs of an org's schedules whose time has come, until none is left. Any number of coordinators may do so
 * at once: a schedule is one's while its row is locked, and a fire time has one entry in the history. What cannot be
 * submitted is written down, and stops no other schedule.
 */
export async function fireDueSchedules(c: Coordinator, orgId: string, signal: AbortSignal): Promise<void> {
  for (let more = true; more && !signal.aborted; ) {
    const [rows = []] = await runInOrg(c.db.sweepClient, orgId, [
      call(readDueSchedules, { org: orgId, limit: batchSchedules }),
    ]);
    const due = bounded(rows.map(readDue));
    if (due.length === 0) return;
    const fired = await fireBatch(c, orgId, due, await templatesOf(c, orgId, due));
    // Those that were locked are another coordinator's.
    more = fired > 0;
  }
}

/**
 * What the jobs of each schedule have in common, or why they cannot be submitted, in their order. Settings of jobs that
 * are asked for alike are resolved once.
 */
export async function templatesOf(
  c: Coordinator,
  orgId: string,
  schedules: readonly SubmittableSchedule[],
): Promise<(JobTemplate | DomainError)[]> {
  const named = new Set(schedules.flatMap(({ job }) => job.project ?? []));
  const unknown = named.size === 0 ? new Map() : await c.projects.unknown(orgId, named);
  const targets = await targetsOf(c, orgId, schedules);
  const found: (JobTemplate | DomainError)[] = [];
  const shared = new Map<string, JobTemplate>();
  for (const [index, { name, overlap, job }] of schedules.entries()) {
    const target = targets[index] ?? null;
    if (job.project !== null && unknown.has(job.project))
      found.push(notFound("PROJECT_NOT_FOUND", job.project));
    else if (target instanceof DomainError) found.push(target);
    else {
      // Shared but for the name of the schedule, by which its jobs are counted.
      const waits = overlap === "queue" || overlap === "replace";
      // The job before may end in any way.
      const asked: JobRequest = waits ? { ...job, dependencyPolicy: "release" } : job;
      const key = `${target} ${templateKey(asked)}`;
      const template = shared.get(key) ?? (await templateOf(c, firingCaller(orgId), asked, target));
      shared.set(key, template);
      found.push(madeBy(name, template));
    }
  }
  return found;
}

/** Cancels what a fire is to replace. What waits ends at once; what runs is asked to, and the fire waits for it. */
export async function cancelReplaced(
  c: Coordinator,
  orgId: string,
  name: string,
  live: readonly string[],
): Promise<void> {
  const reason = `replaced by the next fire of the schedule ${name}`;
  for (const jobId of live) {
    await cancelJob(c, scheduleCaller(orgId, name), { jobId, reason, isForced: false }).catch(
      (error: unknown) => {
        // Ended, and deleted.
        if (!(error instanceof DomainError) || error.code !== "not_found") throw error;
      },
    );
  }
}

/** Tells of fires whose transaction was committed. */
export function announceFires(
  c: Coordinator,
  orgId: string,
  { jobs, leavesEnds, entries }: WrittenFires,
): void {
  if (jobs.length > 0) c.wakes.ready(orgId, countShapes([{ jobs }]));
  if (leavesEnds) c.wakes.released(orgId);
  for (const { outcome, count } of entries) {
    c.counters.addOf(orgId, "muster_schedule_fires_total", { outcome }, count);
  }
}

// The same of jobs that a schedule makes: who submitted them outlasts the schedule, and says it of later runs, too.
function madeBy(name: string, template: JobTemplate): JobTemplate {
  const shape = internShape({ ...template.shape, schedule: name });
  return { ...template, shape, submittedBy: scheduleActor(name) };
}

// Whose settings they have.
function firingCaller(orgId: string): Caller {
  return { ...systemCaller(orgId), actor: "schedule" };
}

function scheduleCaller(orgId: string, name: string): Caller {
  return { ...systemCaller(orgId), actor: scheduleActor(name) };
}

// As many as make about so many jobs; always the first.
function bounded(due: readonly DueSchedule[]): DueSchedule[] {
  let jobs = 0;
  return due.filter(({ due: { made } }, index) => {
    jobs += made.length;
    return index === 0 || jobs <= batchJobs;
  });
}

async function fireBatch(
  c: Coordinator,
  orgId: string,
  due: readonly DueSchedule[],
  templates: readonly (JobTemplate | DomainError)[],
): Promise<number> {
  try {
    for (const { overlap, live, name, due: fires } of due) {
      if (overlap === "replace" && fires.made.length > 0) await cancelReplaced(c, orgId, name, live);
    }
    const fired = await transactAgain(c.db.hot, orgId, (tx) => fireLocked(c, tx, due, templates));
    announceFires(c, orgId, fired.written);
    return fired.schedules;
  } catch (error) {
    if (isConnectionLost(error)) throw error;
    const [first] = due;
    if (first === undefined) throw error;
    if (due.length > 1) {
      const half = Math.ceil(due.length / 2);
      const before = await fireBatch(c, orgId, due.slice(0, half), templates.slice(0, half));
      return before + (await fireBatch(c, orgId, due.slice(half), templates.slice(half)));
    }
    // It alone is the cause; it is written down as one that cannot be submitted.
    if (templates[0] instanceof DomainError) throw error;
    c.log.warn({ err: error, orgId, schedule: first.name }, "the job of a schedule could not be submitted");
    return fireBatch(c, orgId, due, [new DomainError("INTERNAL", { cause: error })]);
  }
}

async function fireLocked(
  c: Coordinator,
  tx: OrgTx,
  due: readonly DueSchedule[],
  templates: readonly (JobTemplate | DomainError)[],
): Promise<{ readonly schedules: number; readonly written: WrittenFires }> {
  const rows = await tx.run(
    call(lockDueSchedules, { org: tx.orgId, schedules: due.map((one) => one.scheduleId) }),
  );
  const locked = new Map(rows.map((row) => [String(row["schedule"]), row]));
  const works = due.flatMap((one, index): (FireWork & { readonly of: DueSchedule })[] => {
    const row = locked.get(one.scheduleId);
    const template = templates[index];
    const isSame =
      row !== undefined &&
      Number(row["revision"]) === one.revision &&
      Math.round(Number(row["next_ms"])) === one.firstMs;
    if (!isSame || template === undefined) return [];
    const { scheduleId, name, job, overlap } = one;
    const fires = one.due.made.map(({ ms, isCaughtUp }) => ({
      ms,
      cause: isCaughtUp ? ("catch-up" as const) : ("due" as const),
    }));
    const live = idsOf(row["live"]);
    return [{ scheduleId, name, job, template, overlap, fires, missed: one.due.missed, live, of: one }];
  });
  const written = await writeFires(c, tx, works, { mayRepeat: false });
  if (works.length > 0) {
    const last = lastOf(written.entries);
    const moves = works.map((work) => moveOf(work.of, written, last.get(work.scheduleId)));
    await tx.run(
      call(moveSchedules, {
        org: tx.orgId,
        schedules: moves.map((one) => one.scheduleId),
        nexts: moves.map((one) => one.next),
        dues: moves.map((one) => one.due),
        lives: moves.map((one) => one.live),
        faileds: moves.map((one) => one.failed),
        reasons: moves.map((one) => one.reason),
        texts: moves.map((one) => one.text),
      }),
    );
  }
  return { schedules: works.length, written };
}

function moveOf(
  { scheduleId, overlap, timing, due: { nextMs } }: DueSchedule,
  { live }: WrittenFires,
  last: FireEntry | undefined,
) {
  const says = last?.outcome === "submitted" || last?.outcome === "failed";
  return {
    scheduleId,
    next: nextMs,
    due: nextMs === null ? null : dueTime(scheduleId, nextMs, timing.jitterMs),
    // With `allow` nobody asks for them, and they may be any number.
    live: overlap === "allow" ? "" : (live.get(scheduleId) ?? []).join(","),
    failed: says ? last.outcome === "failed" : null,
    reason: last?.errorReason ?? "",
    text: last?.outcome === "failed" ? last.note : "",
  };
}

function lastOf(entries: readonly FireEntry[]): Map<string, FireEntry> {
  return new Map(
    entries.filter(({ outcome }) => outcome !== "missed").map((entry) => [entry.scheduleId, entry]),
  );
}

async function targetsOf(
  c: Coordinator,
  orgId: string,
  schedules: readonly SubmittableSchedule[],
): Promise<(ShapeTarget | null | DomainError)[]> {
  const resolve = (some: readonly SubmittableSchedule[]) =>
    resolveTargets(
      c,
      orgId,
      some.map(({ job }) => job),
      () => "job",
      [],
    );
  try {
    return await resolve(schedules);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    if (schedules.length === 1) return [error];
  }
  // One of them names what is gone: which, the halves tell.
  const half = Math.ceil(schedules.length / 2);
  const [before, after] = [schedules.slice(0, half), schedules.slice(half)];
  return [...(await targetsOf(c, orgId, before)), ...(await targetsOf(c, orgId, after))];
}

function readDue(row: Readonly<Record<string, unknown>>): DueSchedule {
  const scheduleId = String(row["schedule"]);
  const time = (name: string): Date | null =>
    row[name] === null ? null : new Date(Math.round(Number(row[name])));
  const timing: Timing = {
    cron: String(row["cron"]),
    zone: String(row["zone"]),
    jitterMs: Number(row["jitter_ms"]),
    startAt: time("start_ms"),
    endAt: time("end_ms"),
    createdAt: time("created_ms") ?? new Date(0),
  };
  const firstMs = Math.round(Number(row["next_ms"]));
  const asked = { firstMs, nowMs: Math.floor(Number(row["now_ms"])), limit: Number(row["catch_up_limit"]) };
  return {
    ...{ scheduleId, name: String(row["name"]), timing, firstMs },
    overlap: overlapOf(String(row["overlap"])),
    job: readJob(String(row["job"])),
    revision: Number(row["revision"]),
    live: idsOf(row["live"]),
    due: dueFires(scheduleId, timing, { ...asked, catchUp: catchUpOf(String(row["catch_up"])) }),
  };
}

/** Ids of a list as the driver reads it. */
export function idsOf(value: unknown): string[] {
  const list: unknown[] = Array.isArray(value) ? value : readArray(String(value));
  return list.map(String);
}

function overlapOf(text: string): OverlapPolicy {
  return overlapPolicies.find((one) => one === text) ?? "skip";
}

function catchUpOf(text: string): CatchUpPolicy {
  return catchUpPolicies.find((one) => one === text) ?? "one";
}

const overlapPolicies: readonly OverlapPolicy[] = ["skip", "queue", "replace", "allow"];
const catchUpPolicies: readonly CatchUpPolicy[] = ["none", "one", "all"];
