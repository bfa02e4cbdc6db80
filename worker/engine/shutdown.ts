import type { Clock } from "../clock.ts";
import type { Leases } from "./leases.ts";
import type { PendingResults } from "./pending-results.ts";
import type { Reports } from "./reports.ts";

/** How long results and log tails may take to be acknowledged once nothing runs any more. */
const flushMs = 5000;
/** The most that a handler gets to stop when the worker stops. */
const maxKillMs = 5000;

/** How long after its grace a handler is given up at the latest. */
const releaseMs = 2000;

/** What an end of the worker depends on. */
export interface ShutdownOptions {
  readonly clock: Clock;
  readonly leases: Leases;
  readonly results: PendingResults;
  readonly reports: Reports;
  /** The worker takes one job and ends; without one after `idleMs`. */
  readonly once: { readonly idleMs: number } | undefined;
  /** The worker may end now. Called once. */
  readonly finish: (kind: "stopped" | "finished" | "idle", detail: string) => void;
  /** Sends a heartbeat if there is a link, and answers with its sequence. */
  readonly beat: () => bigint | undefined;
}

/**
 * How a worker ends by its own will.
 *
 *   running ──stop──► draining ──grace──► releasing ──► flushing ──► finished
 *      │                  └──── all ended ────────────────▲
 *      └──its one job ended (once), or none came──────────┘
 *
 * Flushing ends when everything is acknowledged, or after 5 s: what is in the outbox is safe.
 */
export class Shutdown {
  readonly #options: ShutdownOptions;
  #phase: "running" | "draining" | "releasing" | "flushing" | "finished" = "running";
  #kind: "stopped" | "finished" | "idle" = "stopped";
  #callOffGrace = () => {};
  #callOffIdle: (() => void) | undefined;
  #callOffFlush = () => {};
  /** The heartbeat that told of having found nothing to do. */
  #idleSequence: bigint | undefined;
  /** The heartbeat that told of the end, until it is echoed: before that, offers may be on their way. */
  #drainSequence: bigint | undefined;

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  /** Drains; what runs after `graceMs` is given back. A later call may shorten the grace. */
  stop(graceMs: number): void {
    const { leases, clock } = this.#options;
    if (this.#phase !== "running" && this.#phase !== "draining") return;
    this.#callOffIdle?.();
    leases.drain("closing");
    if (this.#phase === "running") this.#drainSequence = this.#options.beat();
    this.#phase = "draining";
    this.#callOffGrace();
    this.#callOffGrace = clock.after(graceMs, () => this.#release());
    this.check();
  }

  /** Something ended or was acknowledged: is the worker done? */
  check(): void {
    const { leases, once, results, reports } = this.#options;
    if (this.#phase === "running") {
      if (once === undefined || leases.taken === 0 || !leases.isIdle) return;
      this.#kind = "finished";
      this.#flush();
    } else if ((this.#phase === "draining" || this.#phase === "releasing") && leases.isIdle) this.#flush();
    const isTold = this.#drainSequence === undefined;
    if (this.#phase === "flushing" && isTold && results.size === 0 && reports.isEmpty) this.#finish();
  }

  /** A link stands: a worker that takes one job now waits for it. */
  attached(): void {
    const { once, clock, leases } = this.#options;
    // The Hello said so.
    this.#drainSequence = undefined;
    this.check();
    if (once === undefined || leases.taken > 0 || this.#phase !== "running") return;
    if (leases.isDraining) this.#nothingToDo();
    else this.#callOffIdle ??= clock.after(once.idleMs, () => this.#nothingToDo());
  }

  /** A heartbeat was echoed. */
  echoed(sequence: bigint): void {
    if (this.#drainSequence !== undefined && sequence >= this.#drainSequence) {
      this.#drainSequence = undefined;
      this.check();
    }
    if (this.#idleSequence === undefined || sequence < this.#idleSequence) return;
    if (this.#phase !== "running" || this.#options.leases.taken > 0) return;
    this.#kind = "idle";
    this.#finish();
  }

  /** Calls all timers off. */
  close(): void {
    this.#callOffGrace();
    this.#callOffIdle?.();
    this.#callOffFlush();
  }

  // Says that it wants nothing more, and believes it once that is echoed: an offer on its way is still taken.
  #nothingToDo(): void {
    const { leases, beat } = this.#options;
    if (this.#phase !== "running" || leases.taken > 0) return;
    leases.drain("draining");
    this.#idleSequence = beat();
  }

  #release(): void {
    const { leases, clock } = this.#options;
    if (this.#phase !== "draining") return;
    this.#phase = "releasing";
    const killMs = Math.min(leases.killGraceMs, maxKillMs);
    leases.releaseAll("the worker stops", killMs);
    // An exclusive job whose handler does not stop is never given back; its lease runs out.
    this.#callOffGrace = clock.after(killMs + releaseMs + flushMs, () => this.#finish());
    this.check();
  }

  #flush(): void {
    this.#phase = "flushing";
    this.#callOffGrace();
    this.#callOffFlush = this.#options.clock.after(flushMs, () => this.#finish());
  }

  #finish(): void {
    if (this.#phase === "finished") return;
    this.#phase = "finished";
    this.close();
    this.#options.finish(this.#kind, details[this.#kind]);
  }
}

const details = {
  stopped: "the worker was stopped",
  finished: "the one job that the worker takes has ended",
  idle: "there was nothing to do",
};
