import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";

/*
 * What a run of faults leaves for the checker: a folder of JSON lines. Each process appends to files of its own, by
 * one `write` a line, so that `kill -9` takes nothing back. Ids are those of the wire (`job_…`, `wrk_…`, `lse_…`);
 * times are milliseconds of this machine's clock, and only say how long something took.
 *
 *   client-*.jsonl    what clients asked for, and what was acknowledged
 *   effects-*.jsonl   what handlers did: a line at their start and one at their end
 *   faults.jsonl      what was done to the system, by the runner
 *   changes.jsonl     the change feed, tailed while it runs, in the order of its revisions
 *   attempts.jsonl    the history table, read at the end
 *   final.jsonl       what was not terminal at the end, batches, late results, workers
 */

/** A line of a client's file. Written before the call (`intent`), and after its answer. */
export type ClientLine =
  | {
      readonly type: "submit";
      readonly at: number;
      /** Idempotency key: names the submission. */
      readonly key: string;
      /** Whose it is, where a run has several orgs. */
      readonly org?: string;
      readonly jobs: readonly AskedJob[];
    }
  | {
      readonly type: "submitted";
      readonly at: number;
      readonly key: string;
      readonly org?: string;
      /** In the order of the intent. */
      readonly jobIds: readonly string[];
      readonly batchId: string | null;
      readonly replayed: boolean;
    }
  | { readonly type: "cancel"; readonly at: number; readonly jobId: string }
  | {
      readonly type: "cancelled";
      readonly at: number;
      readonly jobId: string;
      readonly outcome: "cancelled" | "requested" | "already-terminal";
    }
  | { readonly type: "failed"; readonly at: number; readonly what: string; readonly error: string };

/** What the checker knows of a job beforehand. */
export interface AskedJob {
  readonly kind: string;
  readonly exclusive: boolean;
  readonly maxAttempts: number;
  /** Failures that the handler reports by itself before it succeeds; -1: it always fails. */
  readonly failures: number;
  /** It kills its worker whenever it runs. */
  readonly poison: boolean;
}

/** A line of a worker's effect journal. */
export type EffectLine =
  | {
      readonly type: "start";
      readonly at: number;
      readonly jobId: string;
      readonly attempt: number;
      readonly leaseId: string;
      readonly workerId: string;
      readonly bootId: string;
      readonly pid: number;
    }
  | {
      readonly type: "end";
      readonly at: number;
      readonly leaseId: string;
      /** What the handler made of it: `succeeded`, `failed`, `stopped:<kind of the stop>`. */
      readonly outcome: string;
    }
  /** Where it is seen: the coordinator said that the result of this lease is committed. */
  | { readonly type: "acknowledged"; readonly at: number; readonly leaseId: string };

/** A line of the runner's file. */
export interface FaultLine {
  readonly type: FaultType;
  readonly at: number;
  /** The worker, coordinator or connection that it was done to. */
  readonly target: string;
  /** How long it lasted, where it lasts. */
  readonly forMs?: number;
  /** For `recovered`: what came back, and after how long. */
  readonly detail?: string;
}

/** What can be done to the system, and what the runner saw of its recovery. */
export type FaultType =
  | "kill-worker"
  | "freeze-worker"
  | "thaw-worker"
  | "start-worker"
  | "drain-worker"
  | "kill-coordinator"
  | "start-coordinator"
  | "stop-coordinator"
  | "kill-postgres"
  | "start-postgres"
  | "terminate-backends"
  | "swallow-commit"
  | "partition"
  | "heal"
  | "reset"
  | "frame-fault"
  | "dispatch-resumed"
  /** A process ended that nobody had asked to. */
  | "crash";

/** One transition of the feed: job, state after it, attempt, worker or null. */
export type FeedEntry = readonly [jobId: string, state: number, attempt: number, workerId: string | null];

/** A row of the change feed. */
export interface ChangeLine {
  /** Transaction id and number in it: what the feed is ordered by. */
  readonly xid: string;
  readonly n: number;
  /** Time of the row by the database's clock. */
  readonly at: number;
  readonly entries: readonly FeedEntry[];
}

/** A row of the history. */
export interface AttemptLine {
  readonly jobId: string;
  /** Whose it is, where a run has several orgs. */
  readonly org?: string;
  readonly attempt: number;
  readonly generation: number;
  readonly workerId: string | null;
  readonly leaseId: string | null;
  readonly resultId: string | null;
  readonly grantedAt: number | null;
  readonly endedAt: number;
  /** As in `server/domain/rules/states.ts`. */
  readonly outcome: number;
  /** Terminal state, when the row is final. */
  readonly state: number | null;
  readonly failures: number;
  readonly losses: number;
  readonly releases: number;
  readonly final: boolean;
}

/** A row of `final.jsonl`. */
export type FinalLine =
  | {
      readonly type: "live";
      readonly jobId: string;
      readonly state: number;
      readonly attempt: number;
      readonly reason: string | null;
      readonly leaseId?: string | null;
      readonly org?: string;
    }
  | {
      readonly type: "batch";
      readonly batchId: string;
      readonly total: number;
      readonly pending: number;
      readonly succeeded: number;
      readonly cancelled: number;
      readonly dead: number;
      /** Terminal states of its jobs, counted from the history. */
      readonly recount: { readonly succeeded: number; readonly cancelled: number; readonly dead: number };
    }
  | {
      readonly type: "late";
      readonly resultId: string;
      readonly jobId: string;
      readonly attempt: number;
      readonly leaseId: string;
    }
  | { readonly type: "worker"; readonly workerId: string; readonly name: string; readonly slots: number };

/** Appends lines to a file, each by one `write`. */
export function openHistory<T>(
  folder: string,
  name: string,
): { readonly write: (line: T) => void; readonly close: () => void } {
  const file = openSync(join(folder, `${name}.jsonl`), "a");
  let isClosed = false;
  return {
    write: (line) => {
      if (!isClosed) writeSync(file, `${JSON.stringify(line)}\n`);
    },
    close: () => {
      if (!isClosed) closeSync(file);
      isClosed = true;
    },
  };
}
