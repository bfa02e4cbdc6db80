import { type AttemptRow, type LeaseRow, readAttempts, readLease } from "../store/attempts.ts";
import { hasJob } from "../store/job-views.ts";
import { readOrg } from "../store/snapshot.ts";
import type { StoredError } from "../store/transition.ts";
import type { Caller, Coordinator } from "./context.ts";
import { notFound } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { requireOwnJob } from "./job-tokens.ts";
import { storedError } from "./job-views.ts";
import { type ListIdentity, type Page, type PageRequest, pageOf, pageRows, readPageToken } from "./pages.ts";
import { type Isolation, readIsolation } from "./rules/isolations.ts";
import { type Profile, readProfile } from "./rules/profiles.ts";
import { Outcome } from "./rules/states.ts";

/** One execution of a job. */
export interface AttemptView {
  readonly jobId: string;
  readonly attempt: number;
  readonly generation: number;
  /** Null when the run ended without a lease. */
  readonly leaseId: string | null;
  readonly workerId: string | null;
  readonly workerName: string | null;
  readonly startedAt: Date | null;
  /** Null while it lasts, like the outcome. */
  readonly endedAt: Date | null;
  readonly outcome: Outcome | null;
  readonly error: StoredError | null;
  /** It ended the run. */
  readonly isFinal: boolean;
  readonly result: Uint8Array | null;
  readonly prUrl: string | null;
  /** The session that it ran in. */
  readonly sessionId: string | null;
  /** What its programs ran under; null while it lasts, and when it started none. */
  readonly isolation: Isolation | null;
  /** Where its time went; null while it lasts, and when its handler marked nothing. */
  readonly profile: Profile | null;
}

/** Lists the executions of a job, oldest first; the present one is the last. */
export async function listAttempts(
  c: Coordinator,
  caller: Caller,
  { jobId, ...page }: PageRequest & { readonly jobId: string },
): Promise<Page<AttemptView>> {
  const { orgId } = caller;
  requireOwnJob(caller, jobId);
  const identity: ListIdentity = { list: "attempts", orgId, filter: jobId };
  const limit = pageRows(page);
  const after = Number(readPageToken(identity, page, [/^\d{1,9}$/])?.[0] ?? 0);
  const { ended, lease } = await readOrg(c.db.app, orgId, async (tx) => {
    if (!(await hasJob(tx, orgId, jobId))) throw notFound("JOB_NOT_FOUND", encodeId("job", jobId));
    return {
      ended: await readAttempts(tx, orgId, jobId, { after, limit: limit + 1 }),
      lease: await readLease(tx, orgId, jobId),
    };
  });
  const present =
    lease !== null && lease.attempt > after && ended.length <= limit ? [lastingView(lease)] : [];
  const rows = [...ended.map(endedView), ...present];
  return pageOf(
    rows,
    limit,
    identity,
    (row) => [String(row.attempt)],
    (row) => row,
  );
}

function endedView({
  grantedAt,
  errorCode,
  errorMessage,
  errorDetail,
  outcome,
  isolation,
  profile,
  ...row
}: AttemptRow): AttemptView {
  return {
    ...row,
    startedAt: grantedAt,
    outcome: checkedOutcome(outcome),
    isolation: readIsolation(isolation),
    profile: readProfile(profile === null ? null : Buffer.from(profile).toString()),
    error: storedError({ errorCode, errorMessage, errorDetail }),
  };
}

function lastingView({ grantedAt, ...row }: LeaseRow): AttemptView {
  const open = { endedAt: null, outcome: null, error: null, isFinal: false, result: null, prUrl: null };
  return { ...row, ...open, isolation: null, profile: null, startedAt: grantedAt };
}

/** A number of the store as an outcome. Throws on any other: the column holds nothing else. */
function checkedOutcome(value: number): Outcome {
  const outcome = Object.values(Outcome).find((known) => known === value);
  if (outcome === undefined) throw new Error(`${value} is not the outcome of an attempt`);
  return outcome;
}
