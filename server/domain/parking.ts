import { transact } from "../store/statement.ts";
import { insertAuditRows } from "../store/submit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { type DomainError, failedPrecondition, invalidArgument } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { auditRow, lockOne, takeRequest, writeSettled } from "./job-rows.ts";
import { getJob, type JobView } from "./job-views.ts";
import type { LockedJob } from "./locked-job.ts";
import type { JobEvent } from "./rules/lifecycle.ts";
import { type JobState, stateName } from "./rules/states.ts";
import { textViolations } from "./rules/texts.ts";
import { isSettled, noRemains, settle } from "./settle.ts";

/** The longest time that a park may name. */
const longestParkMs = 366 * 24 * 3_600_000;

/** A job to park or to unpark. */
export interface ParkRequest {
  readonly jobId: string;
  /** For people. */
  readonly reason: string;
  /** A repetition with the same id changes nothing; empty for none. */
  readonly requestId: string;
}

/** T16: parks a job that waits, without spending an attempt; `until` null: until it is unparked. Resolves after commit. */
export async function parkJob(
  c: Coordinator,
  caller: Caller,
  { until, ...request }: ParkRequest & { readonly until: Date | null },
): Promise<JobView> {
  const asked = { ...request, asked: [until?.getTime() ?? null, request.reason] };
  return steer(c, caller, "park", asked, ({ readAtMs }) => ({
    type: "held",
    wakeAfterMs: parkWakeMs(until, readAtMs),
  }));
}

/** How long a park takes that ends at `until`, seen from `nowMs`; null for one without an end. */
export function parkWakeMs(until: Date | null, nowMs: number): number | null {
  if (until === null) return null;
  const wakeAfterMs = Math.round(until.getTime() - nowMs);
  if (wakeAfterMs > 0 && wakeAfterMs <= longestParkMs) return wakeAfterMs;
  throw invalidArgument([{ field: "until", message: "must lie ahead, and not more than a year" }]);
}

/** T3: lets a parked job go on where it was: to its dependencies, its time or a worker. Resolves after commit. */
export async function unparkJob(c: Coordinator, caller: Caller, request: ParkRequest): Promise<JobView> {
  const job = await steer(c, caller, "unpark", request, () => ({ type: "unparked" }));
  c.wakes.ready(caller.orgId);
  return job;
}

async function steer(
  c: Coordinator,
  caller: Caller,
  verb: "park" | "unpark",
  { jobId, reason, requestId, asked = [reason] }: ParkRequest & { readonly asked?: readonly unknown[] },
  eventOf: (job: LockedJob) => Extract<JobEvent, { type: "held" | "unparked" }>,
): Promise<JobView> {
  const violations = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  if (violations.length > 0) throw invalidArgument(violations);
  await transact(c.db.hot, caller.orgId, async (tx) => {
    const job = await lockOne(tx, jobId);
    if (!(await takeRequest(c, tx, verb, jobId, requestId, { asked }))) return;
    if (!job) {
      const { state } = await getJob(c, caller, { jobId, externalId: null, isFull: false });
      throw refused(verb, jobId, state);
    }
    const event = eventOf(job);
    const remains = { ...noRemains, reason: verb === "park" ? reason : null };
    const answer = settle(job, event, remains, c.random());
    if (!isSettled(answer)) throw refused(verb, jobId, job.state);
    const details = { state: job.state, ...event };
    const row = auditRow(c, caller, `job.${verb}`, encodeId("job", jobId), details, reason);
    await writeSettled(c, tx, answer, [insertAuditRows(tx.orgId, [row])]);
  });
  c.wakes.changed(caller.orgId, [jobId]);
  return getJob(c, caller, { jobId, externalId: null, isFull: false });
}

function refused(verb: "park" | "unpark", jobId: string, state: JobState): DomainError {
  const details = { jobId: encodeId("job", jobId), state: stateName(state) };
  return failedPrecondition(verb === "park" ? "JOB_NOT_PARKABLE" : "JOB_NOT_PARKED", details);
}
