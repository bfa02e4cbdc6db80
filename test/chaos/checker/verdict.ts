/** What must hold, by the name under which a breach of it is counted. */
export const invariants = {
  lost: "I1: a submission that was acknowledged is in no state",
  stuck: "I1: a job is not terminal at the end",
  withoutIntent: "I1: a job exists that nobody asked for",
  answeredTwice: "I1: one key was acknowledged with different jobs",
  finishedTwice: "I2: a run has more than one end",
  attemptsNotGrowing: "I3: an attempt number, or a lease, was given out twice, or goes back",
  leasesOverlap: "I3: a lease was granted while the one before it was current",
  ungranted: "I4: an execution has no grant with its lease",
  startedBeforeGrant: "I4: an execution started before its lease was granted",
  missingFromFeed: "I4: what was granted or ended is not in the change feed",
  unexplainedDuplicates: "I5: a further execution that no loss, release, failure or park explains",
  staleApplied: "I6: what came from a lease that was not current was applied",
  takenBack: "I7: an end or a result that was acknowledged did not stay",
  startedAfterCancel: "I8: a start after the cancel of a waiting job was acknowledged",
  exclusiveOverlaps: "I9: two executions of an exclusive job at once, and no process was frozen",
  capacityExceeded: "I10: a worker held more leases than it has slots",
  batchesWrong: "I11: a batch is not whole, or counts wrongly",
  foreignOrg: "I15: one org's job in the hands of another",
  deadTooEarly: "I17: a job is dead without as many real failures as it was allowed",
  countersWrong: "I17: a counter differs from what the attempts say",
  poisonInnocents: "I17: a job that kills nobody is dead as poison",
  drainSpent: "I17: a drain cost an attempt",
} as const;

/** Name of what must hold. */
export type Invariant = keyof typeof invariants;

/** One line about a job, from one of the files. */
export interface Evidence {
  readonly file: string;
  /** Null: the line says how it was at the end. */
  readonly at: number | null;
  readonly line: unknown;
}

/** One breach. */
export interface Violation {
  readonly invariant: Invariant;
  /** Null where it is not about one job. */
  readonly jobId: string | null;
  /** Of what the sentence speaks. */
  readonly sentence: string;
  /** All that is known of the job, in order of time. */
  readonly history: readonly Evidence[];
}

/** How much there was, and how much was wrong: 0 under every name of `invariants` is a run without fault. */
export type Counts = Record<Invariant, number> & {
  jobs: number;
  acknowledged: number;
  /** Submissions that were never answered: their jobs may exist or not. */
  unanswered: number;
  succeeded: number;
  cancelled: number;
  dead: number;
  executions: number;
  /** Further executions, each explained by the end of the attempt before it. */
  explainedRestarts: number;
  attemptsFailed: number;
  attemptsReleased: number;
  attemptsParked: number;
  attemptsLost: number;
  attemptsTimedOut: number;
  offersTimedOut: number;
  /** Results of stale leases, kept and not applied. */
  lateResults: number;
  /** Starts under a lease that had ended: a worker that did not know it yet. */
  lateStarts: number;
  /** Executions of an exclusive job at once, the earlier of a worker that was frozen. */
  overlapsWhileFrozen: number;
  /** Jobs dead as poison that kill nobody: each time a fault took their worker. */
  poisonByFault: number;
  tornLines: number;
};

/** How long something took, in milliseconds. */
export interface Durations {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** What became of the attempts that were under way when something was done to the system. */
export interface Spared {
  readonly faults: number;
  /** They went on to an end of their own. */
  readonly resumed: number;
  /** They were taken away from their worker. */
  readonly reassigned: number;
}

/** I16. */
export interface Recovery {
  /** From the kill of a worker until its jobs ran again. */
  readonly killedWorkers: Durations & {
    readonly kills: number;
    /** Jobs whose result was in the outbox, or that ended otherwise than by a new execution. */
    readonly settledOtherwise: number;
    readonly byKill: readonly (Durations & { readonly at: number; readonly target: string })[];
  };
  /** By type of the fault. */
  readonly spared: Readonly<Record<string, Spared>>;
  /** What the runner measured: `dispatch-resumed`. */
  readonly dispatchResumed: Durations;
}

/** What the checker says of a run. */
export interface Verdict {
  readonly isRight: boolean;
  readonly counts: Readonly<Counts>;
  readonly recovery: Recovery;
  /** At most as many as asked for, of every name some. */
  readonly violations: readonly Violation[];
}

/** A breach before its evidence is read. */
export interface Finding {
  readonly invariant: Invariant;
  /** Number of the job; 0: of none. */
  readonly job: number;
  readonly sentence: string;
}

/** Collects breaches: all are counted, and some of every name are kept. */
export class Findings {
  readonly counts: Counts = emptyCounts();
  readonly #kept = new Map<Invariant, Finding[]>();
  readonly #keepOfEach: number;

  constructor(keepOfEach: number) {
    this.#keepOfEach = keepOfEach;
  }

  /** Notes a breach; `job` 0 where it is not about one. */
  add(invariant: Invariant, job: number, sentence: string): void {
    this.counts[invariant]++;
    const kept = this.#kept.get(invariant) ?? [];
    if (kept.length === 0) this.#kept.set(invariant, kept);
    if (kept.length < this.#keepOfEach) kept.push({ invariant, job, sentence });
  }

  /** Up to `limit` of them; every name has its turn. */
  list(limit: number): Finding[] {
    const chosen: Finding[] = [];
    for (let turn = 0; turn < this.#keepOfEach && chosen.length < limit; turn++) {
      for (const kept of this.#kept.values()) {
        const finding = kept[turn];
        if (finding && chosen.length < limit) chosen.push(finding);
      }
    }
    return chosen;
  }
}

/** Whether nothing is wrong. */
export function isRight(counts: Readonly<Counts>): boolean {
  return invariantNames().every((name) => counts[name] === 0);
}

/** The names of all invariants. */
export function invariantNames(): Invariant[] {
  return Object.keys(invariants).filter(isInvariant);
}

function isInvariant(name: string): name is Invariant {
  return name in invariants;
}

function emptyCounts(): Counts {
  return {
    jobs: 0,
    acknowledged: 0,
    unanswered: 0,
    succeeded: 0,
    cancelled: 0,
    dead: 0,
    lost: 0,
    stuck: 0,
    withoutIntent: 0,
    answeredTwice: 0,
    finishedTwice: 0,
    attemptsNotGrowing: 0,
    leasesOverlap: 0,
    ungranted: 0,
    startedBeforeGrant: 0,
    missingFromFeed: 0,
    unexplainedDuplicates: 0,
    staleApplied: 0,
    takenBack: 0,
    startedAfterCancel: 0,
    exclusiveOverlaps: 0,
    capacityExceeded: 0,
    batchesWrong: 0,
    foreignOrg: 0,
    deadTooEarly: 0,
    countersWrong: 0,
    poisonInnocents: 0,
    drainSpent: 0,
    executions: 0,
    explainedRestarts: 0,
    attemptsFailed: 0,
    attemptsReleased: 0,
    attemptsParked: 0,
    attemptsLost: 0,
    attemptsTimedOut: 0,
    offersTimedOut: 0,
    lateResults: 0,
    lateStarts: 0,
    overlapsWhileFrozen: 0,
    poisonByFault: 0,
    tornLines: 0,
  };
}
