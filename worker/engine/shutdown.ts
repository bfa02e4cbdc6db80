import type { Clock } from "../clock.ts";
import type { Leases } from "./leases.ts";
import type { PendingResults } from "./pending-results.ts";
import type { Reports } from "./reports.ts";

/** How long log tails, a goodbye, and results after the grace may take to be acknowledged once nothing runs any more. */
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
 *   running ──stop──► draining ──grace──► releasing ──► flushing ──► leaving ──► finished
 *      │                  └──── all ended ────────────────▲
 *      └──its one job ended (once), or none came──────────┘
 *
 * Flushing ends when everything is acknowledged. Then it says goodbye: the coordinator gives back what it still counts for
 * this worker, such as offers that never arrived, before it echoes. Over any number of links, both take as long as the
 * grace while results wait, and 5 s at least; then the worker ends without: what is in the outbox is safe.
 */
export class Shutdown {
  readonly #options: ShutdownOptions;
  #phase: "running" | "draining" | "releasing" | "flushing" | "leaving" | "finished" = "running";
  #kind: "stopped" | "finished" | "idle" = "stopped";
  #callOffGrace = () => {};
  #callOffIdle: (() => void) | undefined;
  #callOffFlush = () => {};
  /** The heartbeat that told of having found nothing to do. */
  #idleSequence: bigint | undefined;
  /** The goodbye; undefined while it waits for a link. */
  #goodbyeSequence: bigint | undefined;
  /** A coordinator may count something for this worker. */
  #wasAttached = false;
  #graceEndsMs = 0;

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  /** It was told to end, or ends by itself. */
  get isEnding(): boolean {
    return this.#phase !== "running";
  }

  /** It said goodbye, or is about to: every heartbeat says so. */
  get isLeaving(): boolean {
    return this.#phase === "leaving" || this.#phase === "finished";
  }

  /** Ended by its own will, and holds nothing: what it did is acknowledged or in the outbox. */
  get isDone(): boolean {
    return this.#phase === "finished" && this.#options.leases.isIdle;
  }

  /** Drains; what runs after `graceMs` is given back. A later call may shorten the grace. */
  stop(graceMs: number): void {
    const { leases, clock } = this.#options;
    this.#graceEndsMs = clock.nowMs() + graceMs;
    if (this.#phase === "flushing" || this.#phase === "leaving") this.#limitFlush();
    if (this.#phase !== "running" && this.#phase !== "draining") return;
    this.#callOffIdle?.();
    leases.drain("closing");
    if (this.#phase === "running") this.#options.beat();
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
    if (this.#phase === "flushing" && results.size === 0 && reports.isEmpty) this.#leave();
  }

  /** A link stands: a worker that takes one job now waits for it. */
  attached(): void {
    const { once, clock, leases } = this.#options;
    this.#wasAttached = true;
    if (this.#phase === "leaving") this.#goodbyeSequence = this.#options.beat();
    this.check();
    if (once === undefined || leases.taken > 0 || this.#phase !== "running") return;
    if (leases.isDraining) this.#nothingToDo();
    else this.#callOffIdle ??= clock.after(once.idleMs, () => this.#nothingToDo());
  }

  /** A heartbeat was echoed. */
  echoed(sequence: bigint): void {
    if (
      this.#phase === "leaving" &&
      this.#goodbyeSequence !== undefined &&
      sequence >= this.#goodbyeSequence
    ) {
      this.#finish();
      return;
    }
    if (this.#idleSequence === undefined || sequence < this.#idleSequence) return;
    if (this.#phase !== "running" || this.#options.leases.taken > 0) return;
    this.#kind = "idle";
    this.#flush();
    this.check();
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
    this.#limitFlush();
    this.#options.leases.drain("closing");
  }

  // Results are worth all of the grace.
  #limitFlush(): void {
    const { clock, results } = this.#options;
    this.#callOffFlush();
    const leftMs = results.size === 0 ? 0 : this.#graceEndsMs - clock.nowMs();
    this.#callOffFlush = clock.after(Math.max(flushMs, leftMs), () => this.#finish());
  }

  #leave(): void {
    this.#phase = "leaving";
    this.#limitFlush();
    if (this.#wasAttached) this.#goodbyeSequence = this.#options.beat();
    else this.#finish();
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
