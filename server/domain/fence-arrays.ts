import type { Fence } from "./rules/fences.ts";

/** The parallel arrays of fences, as the statements of `store/leases.ts` take them. */
export function fenceArrays(org: string, fences: readonly Fence[]) {
  return {
    org,
    jobs: fences.map((fence) => fence.jobId),
    attempts: fences.map((fence) => fence.attempt),
    leases: fences.map((fence) => fence.leaseId),
    workers: fences.map((fence) => fence.workerId),
  };
}

/** The lowest and highest job of fences: UUIDs in text form sort like the database sorts them. */
export function fenceBounds(fences: readonly Fence[]): { readonly low: string; readonly high: string } {
  let low = fences[0]?.jobId ?? "";
  let high = low;
  for (const { jobId } of fences) {
    if (jobId < low) low = jobId;
    if (jobId > high) high = jobId;
  }
  return { low, high };
}
