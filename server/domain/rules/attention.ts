/** What is wrong. The numbers are those of the protocol. */
export const AttentionCause = {
  noRoute: 1,
  projectCap: 2,
  sessionMissing: 3,
  projectMissing: 4,
  jobTrouble: 5,
  workerStale: 6,
  leaseStale: 7,
  workerQuarantined: 8,
  workerSuspect: 9,
  queuePaused: 10,
  sessionConflict: 11,
  workerPending: 12,
  scheduleFailing: 13,
  channelFailing: 14,
  webhookFailing: 15,
} as const;
export type AttentionCause = (typeof AttentionCause)[keyof typeof AttentionCause];

/** How bad it is. The numbers are those of the protocol. */
export const AttentionSeverity = { notice: 1, warning: 2, critical: 3 } as const;
export type AttentionSeverity = (typeof AttentionSeverity)[keyof typeof AttentionSeverity];

/** One problem. */
export interface AttentionItem {
  /** Stable while the problem lasts. */
  readonly id: string;
  readonly cause: AttentionCause;
  readonly severity: AttentionSeverity;
  /** `job_…`, `wrk_…`, or `project:name`, `session:id`, `queue:name`, `kind:name`, `pool:name`, `channel:name`, `webhook:name`. */
  readonly target: string;
  /** Why it happens, what it does to work, and what an operator would do: for people. */
  readonly summary: string;
  readonly effect: string;
  readonly fix: string;
  /** Empty where there is none. */
  readonly command: string;
  readonly since: Date;
  /** Jobs that it holds: ready ones are counted up to 1,000 a line, fewer where there are many lines. */
  readonly jobs: number;
  /** At most 10. */
  readonly jobIds: readonly string[];
}

/** The worst first, then the oldest. */
export function worstFirst(a: AttentionItem, b: AttentionItem): number {
  return (
    b.severity - a.severity ||
    a.since.getTime() - b.since.getTime() ||
    (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
  );
}
