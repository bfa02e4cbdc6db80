/**
 * Why a handler is asked to stop.
 * `cancelled`: somebody no longer wants the job. `timeout`: its hard timeout has passed. `cap`: the time that its
 * lease was given has passed.
 * `superseded`: the lease is no longer this worker's; nothing that the handler still does counts.
 * `shutdown`: the worker stops, and the job is given back. `deadline`: an exclusive job whose link was silent for
 * too long, so that another worker may get it soon.
 */
export type StopKind = "cancelled" | "timeout" | "cap" | "superseded" | "shutdown" | "deadline";

/** A Stop as plain data. */
export interface StopOrder {
  /** Why. */
  readonly kind: StopKind;
  /** For people. */
  readonly reason: string;
  /** Time that the handler has before its processes are to be killed. */
  readonly graceMs: number;
}

/** The reason of `ctx.signal`. A handler that stops rethrows it: `ctx.signal.throwIfAborted()`. */
export class Stop extends Error {
  override readonly name = "Stop";
  /** Why. */
  readonly kind: StopKind;
  /** For people. */
  readonly reason: string;
  /** Time that the handler has before its processes are to be killed. */
  readonly graceMs: number;
  /** Aborts when the grace ends before its time: the lease was lost, and another worker may do the work by now. */
  readonly hurry: AbortSignal;
  /** Set by a handler that had to kill its processes before it rethrows. */
  killed = false;

  constructor(order: StopOrder, hurry: AbortSignal = new AbortController().signal) {
    super(`the handler was asked to stop (${order.kind}): ${order.reason}`);
    this.kind = order.kind;
    this.reason = order.reason;
    this.graceMs = order.graceMs;
    this.hurry = hurry;
  }
}
