/** What a worker does now. The numbers are those of the protocol. */
export const WorkerState = {
  idle: 1,
  busy: 2,
  draining: 3,
  stale: 4,
  offline: 5,
  disabled: 6,
  quarantined: 7,
  pending: 8,
} as const;
export type WorkerState = (typeof WorkerState)[keyof typeof WorkerState];
