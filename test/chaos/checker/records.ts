import type { AskedJob, FaultLine, FinalLine } from "../history.ts";
import { bytes, type Column, counts, times } from "./column.ts";
import { IdTable, NameTable } from "./id-table.ts";

/*
 * A run in memory: tables of numbers, about 300 bytes a job. Ids of jobs,
 * leases, results and keys are numbers from 1; 0 stands for none.
 */

/** Names of what happened to a lease's execution, as numbers. */
export const EffectEnd = { none: 0, succeeded: 1, failed: 2, stopped: 3 } as const;

/** What clients were told of a cancel, as numbers. */
export const CancelAnswer = { cancelled: 1, requested: 2, alreadyTerminal: 3 } as const;

/** A kill, a freeze or another fault, at what it was done to. */
export type Fault = FaultLine;

/** A batch as the store counts it, and counted again. */
export type BatchLine = Extract<FinalLine, { type: "batch" }>;

/** All that a run left behind. */
export interface Records {
  readonly jobIds: IdTable;
  readonly leaseIds: IdTable;
  readonly resultIds: IdTable;
  readonly keyIds: IdTable;
  readonly batchIds: NameTable;
  readonly workers: NameTable;
  readonly boots: NameTable;
  readonly orgs: NameTable;
  /** What was asked, each different wish once. */
  readonly asked: AskedJob[];
  /** By job. */
  readonly jobs: {
    /** Place in `asked`, from 1. */
    readonly asked: Column;
    readonly isAcknowledged: Column;
    readonly key: Column;
    readonly org: Column;
    /** State and attempt of its live row at the end; state 0: it has none. */
    readonly liveState: Column;
    readonly liveAttempt: Column;
    readonly liveLease: Column;
  };
  /** By key of a submission. */
  readonly intents: { readonly start: Column; readonly count: Column; readonly asked: Column };
  readonly acknowledgements: {
    readonly key: Column;
    readonly batch: Column;
    readonly org: Column;
    readonly start: Column;
    readonly count: Column;
    readonly job: Column;
  };
  /** By lease: what its execution came to. */
  readonly leases: {
    readonly endAt: Column;
    readonly end: Column;
    readonly isAcknowledged: Column;
  };
  readonly starts: {
    readonly job: Column;
    readonly attempt: Column;
    readonly lease: Column;
    readonly worker: Column;
    readonly boot: Column;
    readonly at: Column;
  };
  readonly cancels: { readonly job: Column; readonly at: Column; readonly answer: Column };
  /** Grants and ends of runs of the feed; the other transitions are not needed. */
  readonly feed: {
    readonly job: Column;
    readonly state: Column;
    readonly attempt: Column;
    readonly worker: Column;
  };
  readonly attempts: {
    readonly job: Column;
    readonly attempt: Column;
    readonly generation: Column;
    readonly worker: Column;
    readonly lease: Column;
    readonly result: Column;
    readonly org: Column;
    readonly grantedAt: Column;
    readonly endedAt: Column;
    readonly outcome: Column;
    /** Terminal state; 0: the run went on. */
    readonly state: Column;
    readonly failures: Column;
    readonly losses: Column;
    readonly releases: Column;
    readonly isFinal: Column;
  };
  readonly late: { readonly result: Column; readonly job: Column };
  readonly batches: BatchLine[];
  /** Slots by worker; 0: not known. */
  readonly slots: Column;
  /** In order of time. */
  readonly faults: Fault[];
  /** Numbers of workers by their names, which a fault may use for them. */
  readonly workersByName: Map<string, number>;
  /** Rows of the feed that were read; without any, nothing is judged by it. */
  feedRows: number;
  /** Lines that a kill cut off. */
  tornLines: number;
}

/** Nothing yet. */
export function emptyRecords(): Records {
  return {
    jobIds: new IdTable(),
    leaseIds: new IdTable(),
    resultIds: new IdTable(),
    keyIds: new IdTable(),
    batchIds: new NameTable(),
    workers: new NameTable(),
    boots: new NameTable(),
    orgs: new NameTable(),
    asked: [],
    jobs: {
      asked: counts(),
      isAcknowledged: bytes(),
      key: counts(),
      org: counts(),
      liveState: bytes(),
      liveAttempt: counts(),
      liveLease: counts(),
    },
    intents: { start: counts(), count: counts(), asked: counts() },
    acknowledgements: {
      key: counts(),
      batch: counts(),
      org: counts(),
      start: counts(),
      count: counts(),
      job: counts(),
    },
    leases: { endAt: times(), end: bytes(), isAcknowledged: bytes() },
    starts: {
      job: counts(),
      attempt: counts(),
      lease: counts(),
      worker: counts(),
      boot: counts(),
      at: times(),
    },
    cancels: { job: counts(), at: times(), answer: bytes() },
    feed: { job: counts(), state: bytes(), attempt: counts(), worker: counts() },
    attempts: {
      job: counts(),
      attempt: counts(),
      generation: counts(),
      worker: counts(),
      lease: counts(),
      result: counts(),
      org: counts(),
      grantedAt: times(),
      endedAt: times(),
      outcome: bytes(),
      state: bytes(),
      failures: counts(),
      losses: counts(),
      releases: counts(),
      isFinal: bytes(),
    },
    late: { result: counts(), job: counts() },
    batches: [],
    slots: counts(),
    faults: [],
    workersByName: new Map(),
    feedRows: 0,
    tornLines: 0,
  };
}

/** The worker that a fault was done to; 0 when it was something else. */
export function workerOf({ workers, workersByName }: Records, { target }: Fault): number {
  return workers.find(target) || (workersByName.get(target) ?? 0);
}
