import { readAttempts, readLeaseOf } from "../store/leases.ts";
import { call, type OrgTx } from "../store/statement.ts";
import { failedPrecondition } from "./errors.ts";
import { encodeId } from "./ids.ts";

/** What is known of jobs whose lease somebody no longer holds. */
export interface AttemptsOf {
  /** Result ids that were applied. */
  readonly results: ReadonlySet<string>;
  /** Leases that their own result ended. */
  readonly ended: ReadonlySet<string>;
  /** The current attempt of each job, or its last. */
  readonly current: ReadonlyMap<string, number>;
}

/** Reads why leases are no longer current. */
export async function readAttemptsOf(tx: OrgTx, jobIds: readonly string[]): Promise<AttemptsOf> {
  const jobs = [...new Set(jobIds)].sort();
  const bounds = { low: jobs.at(0), high: jobs.at(-1) };
  const [history, live] = await Promise.all([
    tx.run(call(readAttempts, { org: tx.orgId, jobs, ...bounds })),
    tx.run(call(readLeaseOf, { org: tx.orgId, jobs })),
  ]);
  const current = new Map<string, number>();
  for (const row of [...history, ...live]) {
    const jobId = String(row["job"]);
    current.set(jobId, Math.max(current.get(jobId) ?? 0, Number(row["attempt"])));
  }
  const own = history.filter((row) => row["result_id"] !== null);
  return {
    results: new Set(own.map((row) => String(row["result_id"]))),
    ended: new Set(own.map((row) => String(row["lease"]))),
    current,
  };
}

/** The refusal of what comes under a lease that is no longer current. */
export function superseded(lease: { readonly jobId: string; readonly attempt: number }, current: number) {
  return failedPrecondition("SUPERSEDED", {
    jobId: encodeId("job", lease.jobId),
    attempt: String(lease.attempt),
    currentAttempt: String(current),
  });
}
