/** What a JobFailure says beyond its message. */
export interface JobFailureOptions {
  /** Trying again may help. Default true. */
  readonly retryable?: boolean;
  /** Short stable identifier of upper-case letters, digits and `_`. Default `HANDLER_ERROR`. */
  readonly code?: string;
  /** Try again after this long instead of the backoff. */
  readonly retryAfterMs?: number;
  /** For people; cut at 16 KiB. Default: the stack. */
  readonly detail?: string;
  /** What led to it. */
  readonly cause?: unknown;
}

/** Thrown by a handler to say how its job failed. Any other thrown value is a retryable failure. */
export class JobFailure extends Error {
  override readonly name = "JobFailure";
  readonly retryable: boolean;
  readonly code: string;
  readonly retryAfterMs: number | undefined;
  readonly detail: string | undefined;

  constructor(message: string, options: JobFailureOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.retryable = options.retryable ?? true;
    this.code = options.code ?? "HANDLER_ERROR";
    this.retryAfterMs = options.retryAfterMs;
    this.detail = options.detail;
  }
}

/** Thrown by `ctx.park`: the job is held without spending an attempt. Let it pass. */
export class ParkSignal extends Error {
  override readonly name = "ParkSignal";
  /** For people. */
  readonly reason: string;
  /** Ready again after this long; absent: when somebody unparks it. */
  readonly wakeAfterMs: number | undefined;
  /** With it all jobs of its pool. */
  readonly isPool: boolean;

  /** Where it goes on; empty: in the session that the attempt was given. */
  readonly session: string;

  constructor(reason: string, wakeAfterMs: number | undefined, isPool = false, session = "") {
    super(`the job is parked: ${reason}`);
    this.reason = reason;
    this.wakeAfterMs = wakeAfterMs;
    this.isPool = isPool;
    this.session = session;
  }
}

/** Thrown by `ctx.release`: the job is given back unfinished, without spending an attempt. Let it pass. */
export class ReleaseSignal extends Error {
  override readonly name = "ReleaseSignal";
  /** For people. */
  readonly reason: string;

  constructor(reason: string) {
    super(`the job is given back: ${reason}`);
    this.reason = reason;
  }
}
