/** What every write of a worker about a job repeats. */
export interface Fence {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string;
  readonly workerId: string;
}

/** What a live row says of its lease; nulls without one. */
export interface HeldLease {
  readonly jobId: string;
  readonly attempt: number;
  readonly leaseId: string | null;
  readonly workerId: string | null;
}

/**
 * The fence: true when a lease that somebody names is the current one. The
 * statements of the store compare the same four; boot and epoch are no part
 * of it, so that a worker keeps its work through a reconnect.
 */
export function isCurrentLease(row: HeldLease, fence: Fence): boolean {
  return (
    row.leaseId !== null &&
    row.jobId === fence.jobId &&
    row.attempt === fence.attempt &&
    row.leaseId === fence.leaseId &&
    row.workerId === fence.workerId
  );
}
