import { inOrg } from "../store/database.ts";
import { readLeaseViews } from "../store/lease-views.ts";
import { call, transactAgain } from "../store/statement.ts";
import { insertAuditRows, readKeys } from "../store/submit.ts";
import type { Caller, Coordinator } from "./context.ts";
import { announceRelease, noRelease, releaseDependants } from "./dependants.ts";
import { DomainError, failedPrecondition } from "./errors.ts";
import { encodeId } from "./ids.ts";
import { auditRow, lockOne, requestKey, takeRequest, writeSettled } from "./job-rows.ts";
import { isTerminal } from "./rules/states.ts";
import { isSettled, noRemains, settle } from "./settle.ts";

/** A lease to take back. */
export interface RevokeRequest {
  readonly leaseId: string;
  /** For people. */
  readonly reason: string;
  /** A repetition with the same id changes nothing; empty for none. */
  readonly requestId: string;
}

/**
 * T11 by an operator: takes a job back from its worker. The lease is fenced off, the attempt counts as released, the
 * job is ready again, elsewhere first. A job that was to be cancelled is. Resolves after commit with the id of the job.
 * A lease that is not current, or never was, is SUPERSEDED.
 */
export async function revokeLease(
  c: Coordinator,
  caller: Caller,
  { leaseId, reason, requestId }: RevokeRequest,
): Promise<string> {
  const { orgId } = caller;
  const [row] = await inOrg(c.db.app, orgId, (tx) =>
    readLeaseViews(tx, orgId, { leaseId }, c.config.staleMs),
  );
  let release = noRelease;
  const jobId = await transactAgain(c.db.hot, orgId, async (tx) => {
    release = noRelease;
    const job = row === undefined ? null : await lockOne(tx, row.jobId);
    if (job?.leaseId !== leaseId) {
      const key = requestKey("revoke", leaseId, requestId);
      const [taken] = await tx.run(call(readKeys, { org: orgId, types: ["request"], keys: [key] }));
      if (requestId !== "" && taken) return String(taken["target"]);
      throw notCurrent(leaseId);
    }
    const settled = settle(job, { type: "revoked" }, { ...noRemains, reason: reasonOf(reason) }, c.random());
    if (!isSettled(settled)) throw failedPrecondition("JOB_RUNS_ONCE", { jobId: encodeId("job", job.jobId) });
    await takeRequest(c, tx, "revoke", leaseId, requestId, { targetId: job.jobId });
    const isEnd = isTerminal(settled.transition.state);
    release = await releaseDependants(c, tx, isEnd && job.hasDependants ? [settled.transition] : []);
    const details = {
      job: encodeId("job", job.jobId),
      attempt: job.attempt,
      state: job.state,
      worker: job.workerId === null ? null : encodeId("worker", job.workerId),
    };
    const audit = auditRow(c, caller, "lease.revoke", encodeId("lease", leaseId), details, reason);
    await writeSettled(c, tx, settled, [insertAuditRows(orgId, [audit])], release);
    return job.jobId;
  });
  c.wakes.revoked(orgId);
  c.wakes.ready(orgId);
  c.wakes.changed(orgId, [jobId]);
  announceRelease(c, orgId, release);
  return jobId;
}

function reasonOf(reason: string): string {
  return reason === "" ? "an operator revoked the lease" : reason;
}

function notCurrent(leaseId: string): DomainError {
  return new DomainError("SUPERSEDED", {
    message: "The lease is not current: its job has ended or goes on without it",
    details: { leaseId: encodeId("lease", leaseId) },
    suggestion: "List the leases that are with `muster lease list`.",
  });
}
