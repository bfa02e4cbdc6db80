import { inOrg } from "../store/database.ts";
import {
  deleteDeadLetter,
  hasMoreThanGrouped,
  readDeadLetterGroups,
  readDeadLetters,
} from "../store/dead-letters.ts";
import { readJobs } from "../store/job-views.ts";
import { readOrg } from "../store/snapshot.ts";
import type { StoredError } from "../store/transition.ts";
import { audit } from "./audit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { invalidArgument, notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { type JobView, jobView } from "./job-views.ts";
import {
  type ListIdentity,
  type Page,
  type PageRequest,
  pageRows,
  readPageToken,
  uuidForm,
  writePageToken,
} from "./pages.ts";
import { nameViolations, slugRule, textViolations } from "./rules/texts.ts";

/** A run that ended without success and waits for a decision. */
export interface DeadLetterView {
  readonly job: JobView;
  /** `failures`, `final`, `poison` or `lost`. */
  readonly cause: string;
  /** Groups equal errors. */
  readonly fingerprint: string;
  readonly deadAt: Date;
}

/** Lists dead letters, newest first; `kind` null for all kinds. */
export async function listDeadLetters(
  c: Coordinator,
  caller: Caller,
  { kind, ...page }: PageRequest & { readonly kind: string | null },
): Promise<Page<DeadLetterView>> {
  const { orgId } = caller;
  const violations = kind === null ? [] : nameViolations("kind", kind, slugRule);
  if (violations.length > 0) throw invalidArgument(violations);
  const identity: ListIdentity = { list: "dead-letters", orgId, filter: kind };
  const limit = pageRows(page);
  const [deadAt, jobId] = readPageToken(identity, page, [timeForm, uuidForm]) ?? [];
  const after = deadAt === undefined || jobId === undefined ? null : { deadAt, jobId };
  const { rows, jobs } = await readOrg(c.db.app, orgId, async (tx) => {
    const found = await readDeadLetters(tx, orgId, { kind, after, limit: limit + 1 });
    const ids = found.slice(0, limit).map((row) => row.jobId);
    return { rows: found, jobs: await readJobs(tx, orgId, ids, { isFull: false }) };
  });
  const views = new Map(jobs.map((job) => [job.asked.jobId, jobView(job)]));
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return {
    // A job that retention removes in this moment is left out.
    items: shown.flatMap(({ jobId: id, cause, fingerprint, deadAt: at }) => {
      const job = views.get(id);
      return job === undefined ? [] : [{ job, cause, fingerprint, deadAt: at }];
    }),
    nextPageToken:
      rows.length > limit && last !== undefined ? writePageToken(identity, [last.position, last.jobId]) : "",
  };
}

/** Dead letters of one kind with equal errors. */
export interface DeadLetterGroup {
  readonly fingerprint: string;
  readonly kind: string;
  readonly count: number;
  /** Of the latest; null when its job is being removed. */
  readonly error: StoredError | null;
  readonly firstAt: Date;
  readonly lastAt: Date;
  /** The latest. */
  readonly sampleJobId: string;
  /** How many died in each of the last 24 hours, the present one last. */
  readonly hourly: readonly number[];
}

/** Groups the newest 100,000 dead letters by equal errors, largest group first; `kind` null for all kinds. */
export async function listDeadLetterGroups(
  c: Coordinator,
  caller: Caller,
  { kind, pageSize }: { readonly kind: string | null; readonly pageSize: number },
): Promise<{ readonly groups: readonly DeadLetterGroup[]; readonly isTruncated: boolean }> {
  const { orgId } = caller;
  const violations = kind === null ? [] : nameViolations("kind", kind, slugRule);
  if (violations.length > 0) throw invalidArgument(violations);
  const limit = pageRows({ pageSize, pageToken: "" });
  return readOrg(c.db.app, orgId, async (tx) => {
    const rows = await readDeadLetterGroups(tx, orgId, { kind, limit });
    const ids = rows.map((row) => row.sampleJobId);
    const jobs = await readJobs(tx, orgId, ids, { isFull: false });
    const errors = new Map(jobs.map((job) => [job.asked.jobId, jobView(job).error]));
    return {
      groups: rows.map((row) => ({ ...row, error: errors.get(row.sampleJobId) ?? null })),
      isTruncated: await hasMoreThanGrouped(tx, orgId, kind),
    };
  });
}

/** Takes a dead letter off the list without running it again; the job stays dead. */
export async function discardDeadLetter(
  c: Coordinator,
  caller: Caller,
  { jobId, reason }: { readonly jobId: string; readonly reason: string },
): Promise<void> {
  const violations = textViolations("reason", reason, { min: 0, max: 500, isMultiline: true });
  if (violations.length > 0) throw invalidArgument(violations);
  const { orgId } = caller;
  const target = encodeId("job", jobId);
  await inOrg(c.db.app, orgId, async (tx) => {
    const discarded = await deleteDeadLetter(tx, orgId, jobId);
    if (discarded === null) throw notFound("DEAD_LETTER_NOT_FOUND", target);
    await audit(tx, c, caller, {
      action: "dead_letter.discard",
      target,
      reason,
      details: { cause: discarded.cause, generation: discarded.generation },
    });
  });
}

const timeForm = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;
