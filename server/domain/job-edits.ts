import { callOfJobs, readEdited, setPriorities, setTexts } from "../store/job-changes.ts";
import { noWorker } from "../store/leases.ts";
import { type Call, call, transact } from "../store/statement.ts";
import { insertAuditRows } from "../store/submit.ts";
import { appendChange } from "../store/transitions.ts";
import type { Caller, Coordinator } from "./context.ts";
import { failedPrecondition, invalidArgument, type Violation } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { auditRow, lockOne, takeRequest } from "./job-rows.ts";
import { getJob, type JobView } from "./job-views.ts";
import { changeNumbers } from "./rules/event-types.ts";
import { labelViolations } from "./rules/job-spec.ts";
import { stateName } from "./rules/states.ts";
import { textViolations } from "./rules/texts.ts";

/** What to change of a job; null leaves it as it is. */
export interface JobEdit {
  readonly jobId: string;
  /** 0 to 255. */
  readonly priority: number | null;
  readonly title: string | null;
  /** Labels to set; an empty value takes the label away. */
  readonly labels: Readonly<Record<string, string>>;
  /** For people. */
  readonly reason: string;
  /** A repetition with the same id changes nothing; empty for none. */
  readonly requestId: string;
}

/** Changes what may be changed of a job that has not ended. Resolves after commit. */
export async function updateJob(c: Coordinator, caller: Caller, edit: JobEdit): Promise<JobView> {
  const { jobId, priority, title, reason, requestId } = edit;
  const { orgId } = caller;
  const violations = editViolations(edit);
  if (violations.length > 0) throw invalidArgument(violations);
  const asked = [priority, title, Object.entries(edit.labels).sort(), reason];
  const read = () => getJob(c, caller, { jobId, externalId: null, isFull: false });
  await transact(c.db.hot, orgId, async (tx) => {
    const job = await lockOne(tx, jobId);
    if (!(await takeRequest(c, tx, "edit", jobId, requestId, { asked }))) return;
    if (!job) {
      const { state } = await read();
      throw failedPrecondition("JOB_ALREADY_TERMINAL", {
        jobId: encodeId("job", jobId),
        state: stateName(state),
      });
    }
    // What others edited before is there once the row is locked.
    const [row] = await tx.run(callOfJobs(readEdited, orgId, [jobId]));
    const before = {
      priority: Number(row?.["priority"]),
      title: String(row?.["title"]),
      labels: (row?.["labels"] ?? {}) as Record<string, string>,
    };
    const labels = mergeLabels(before.labels, edit.labels);
    const tooMany = labelViolations("labels", labels);
    if (tooMany.length > 0) throw invalidArgument(tooMany);
    const after = { priority: priority ?? before.priority, title: title ?? before.title, labels };
    const audited = auditRow(c, caller, "job.update", encodeId("job", jobId), { before, after }, reason);
    const calls: Call[] = [
      insertAuditRows(orgId, [audited]),
      callOfJobs(setTexts, orgId, [jobId], {
        title: after.title,
        labels: Object.keys(labels).length > 0 ? JSON.stringify(labels) : null,
      }),
      // Watchers see it by the feed: the job is what it was, and is to be read again.
      call(appendChange, {
        ...{ org: orgId, n: changeNumbers.edit, jobs: [jobId], states: [job.state], attempts: [job.attempt] },
        workers: [job.workerId ?? noWorker],
      }),
    ];
    if (priority !== null) calls.push(callOfJobs(setPriorities, orgId, [jobId], { priority }));
    await Promise.all(calls.map((one) => tx.run(one)));
  });
  if (priority !== null) c.wakes.ready(orgId);
  c.wakes.changed(orgId, [jobId]);
  return read();
}

/** What is wrong with a priority. */
export function priorityViolations(priority: number): Violation[] {
  if (Number.isInteger(priority) && priority >= 0 && priority <= 255) return [];
  return [{ field: "priority", message: "must be from 0 to 255" }];
}

function editViolations({ priority, title, labels, reason }: JobEdit): Violation[] {
  const isEmpty = priority === null && title === null && Object.keys(labels).length === 0;
  return [
    ...(isEmpty ? [{ field: "priority", message: "or title or labels must be given" }] : []),
    ...(priority === null ? [] : priorityViolations(priority)),
    ...(title === null ? [] : textViolations("title", title, { min: 0, max: 200 })),
    ...labelViolations("labels", labels),
    ...textViolations("reason", reason, { min: 0, max: 500, isMultiline: true }),
  ];
}

function mergeLabels(
  before: Readonly<Record<string, string>>,
  given: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(Object.entries({ ...before, ...given }).filter(([, value]) => value !== ""));
}
