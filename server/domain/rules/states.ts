/** Where a job stands. The numbers are those of the protocol and of the store. */
export const JobState = {
  blocked: 1,
  scheduled: 2,
  ready: 3,
  offered: 4,
  running: 5,
  parked: 6,
  succeeded: 7,
  cancelled: 8,
  dead: 9,
} as const;
export type JobState = (typeof JobState)[keyof typeof JobState];

/** The states that a run never leaves, except by a replay. */
export type TerminalState = typeof JobState.succeeded | typeof JobState.cancelled | typeof JobState.dead;

/** How one execution ended. The numbers are those of the protocol and of the store. */
export const Outcome = {
  succeeded: 1,
  failed: 2,
  released: 3,
  parked: 4,
  lost: 5,
  cancelled: 6,
  timedOut: 7,
  offerTimedOut: 8,
} as const;
export type Outcome = (typeof Outcome)[keyof typeof Outcome];

/** True for succeeded, cancelled and dead. */
export function isTerminal(state: number): state is TerminalState {
  return state >= JobState.succeeded;
}

/** True while a lease is current. */
export function isLeased(state: number): boolean {
  return state === JobState.offered || state === JobState.running;
}

/** The word for a state, as people read it. */
export function stateName(state: JobState): string {
  return (
    Object.entries(JobState)
      .find(([, value]) => value === state)?.[0]
      .toUpperCase() ?? String(state)
  );
}
