import type { LinksChanged, OfferedLease } from "@muster/client/v1/link";
import type { IsolationLevel } from "../isolation.ts";
import type { LogLevel } from "../logger.ts";
import type { PublishConflict } from "../published.ts";
import type { StopOrder } from "../stop.ts";

/*
 * What passes between the link engine and the side where handlers run. Plain data only, because it may
 * cross from one thread to another; offers are generated messages, which are plain data too.
 */

/** How a handler ended, as the side that ran it says. */
export type Outcome = HandlerEnd & {
  /** What its programs ran under; absent when it started none. */
  readonly isolation?: IsolationLevel;
  /** Where its time went; absent when its handler marked no span. */
  readonly profile?: JobProfile;
};

/** Where the time of an attempt went, by the spans that its handler marked. */
export interface JobProfile {
  /** A parent before what it holds; all of one name in one place are one of these. */
  readonly spans: readonly {
    readonly name: string;
    /** The place in the list of the one that it is in; null: none. */
    readonly parent: number | null;
    readonly count: number;
    /** How many threw. */
    readonly failed: number;
    readonly totalMs: number;
    /** Without the time in which one inside of it was open. */
    readonly selfMs: number;
  }[];
  /** Spans beyond the bounds. */
  readonly dropped: number;
  readonly runMs: number;
}

type HandlerEnd =
  | { readonly kind: "succeeded"; readonly result: Uint8Array; readonly prUrl: string }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      readonly detail: string;
      readonly retryable: boolean;
      readonly retryAfterMs: number | undefined;
    }
  /** It threw after it was asked to stop; the engine knows what that means. */
  | { readonly kind: "stopped"; readonly killed: boolean; readonly detail: string }
  | { readonly kind: "released"; readonly reason: string }
  | {
      readonly kind: "parked";
      readonly reason: string;
      readonly wakeAfterMs: number | undefined;
      /** With it all jobs of its pool. */
      readonly isPool: boolean;
      /** Where it goes on; empty: in the session that the attempt was given. */
      readonly session: string;
    };

/** Something that a handler says. Text is clean and within the limits. */
export type ReportBody =
  | { readonly kind: "progress"; readonly fraction: number | undefined; readonly message: string }
  | { readonly kind: "log"; readonly stream: LogSource; readonly level: LogLevel; readonly text: string }
  | { readonly kind: "partial"; readonly data: Uint8Array }
  | { readonly kind: "message"; readonly text: string }
  | { readonly kind: "event"; readonly name: string; readonly data: Uint8Array };

/** Where a log record came from. */
export type LogSource = "log" | "stdout" | "stderr" | "system";

/** How an attempt ended in the end: what the coordinator made of its result. */
export interface AttemptEnd {
  /** `job_…`. */
  readonly jobId: string;
  /** Number of the attempt. */
  readonly attempt: number;
  /** What was sent; `lost` when the lease was taken away before. */
  readonly outcome: "succeeded" | "failed" | "cancelled" | "released" | "parked" | "lost";
  /** `rejected`: malformed, with a failure sent instead; absent for `lost`. */
  readonly status: "committed" | "duplicate" | "superseded" | "rejected" | undefined;
}

/** Why a worker ended for good. */
export interface CloseReason {
  /**
   * `stopped`: by `stop()`. `finished`, `idle`: a worker that takes one job has ended it, or found none.
   * `refused`: the coordinator does not take this worker. `revoked`: its key was revoked, or it was disabled.
   * `replaced`: another process runs under its identity. `failed`: a defect, or the state directory is unusable.
   */
  readonly kind: "stopped" | "finished" | "idle" | "refused" | "revoked" | "replaced" | "failed";
  /** For people. */
  readonly detail: string;
  /** Reason of the coordinator's error, e.g. `KEY_INVALID`; empty when there was none. */
  readonly errorReason: string;
  /** Number of the coordinator's status code; 0 when there was none. */
  readonly errorCode: number;
}

/** What a link is, once it stands. */
export interface Attachment {
  /** `wrk_…`. */
  readonly workerId: string;
  /** The worker's name. */
  readonly workerName: string;
  /** Which transport it uses. */
  readonly transport: "stream" | "poll";
  /** Where artifacts and child jobs go; empty when the coordinator did not say. */
  readonly apiAddress: string;
  /** Bytes of one payload or result. */
  readonly payloadBytes: number;
  /** Bytes of one piece of log. */
  readonly logChunkBytes: number;
}

/** From the engine to the handlers' side. */
export type ToHandlers =
  | { readonly type: "start"; readonly offer: OfferedLease }
  | { readonly type: "stop"; readonly leaseId: string; readonly order: StopOrder }
  | { readonly type: "softTimeout"; readonly leaseId: string }
  | { readonly type: "message"; readonly leaseId: string; readonly messageId: string; readonly text: string }
  | { readonly type: "attached"; readonly attachment: Attachment }
  /** Answered by a pong: how long that takes is how long no handler can run. */
  | { readonly type: "ping" }
  | { readonly type: "ended"; readonly end: AttemptEnd }
  | { readonly type: "conflicts"; readonly conflicts: readonly PublishConflict[] }
  | { readonly type: "log"; readonly level: LogLevel; readonly message: string; readonly fields: LogFields }
  /** `isDone`: by its own will, and what it did is acknowledged or in the outbox. */
  | { readonly type: "closed"; readonly reason: CloseReason; readonly isDone: boolean };

/** Plain data beside a log line. */
export type LogFields = Readonly<Record<string, string | number | boolean>>;

/** From the handlers' side to the engine. */
export type ToEngine =
  | { readonly type: "settled"; readonly leaseId: string; readonly outcome: Outcome }
  | { readonly type: "report"; readonly leaseId: string; readonly body: ReportBody }
  /** `delayMs`: the worst delay of the handlers' event loop since the last one. */
  | { readonly type: "pong"; readonly delayMs: number }
  | { readonly type: "publish"; readonly links: LinksChanged }
  | { readonly type: "stop"; readonly graceMs: number };

/** One end of a duplex that keeps order. */
export interface Port<Out, In> {
  /** Sends soon; messages of one turn travel together. Nothing is sent after `close`. */
  post(message: Out): void;
  /** Says who takes what arrives; what came before is delivered then. Called once. */
  listen(take: (messages: readonly In[]) => void): void;
  /** Sends what is waiting and ends this side. */
  close(): void;
}
