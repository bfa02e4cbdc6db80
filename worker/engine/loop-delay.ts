import type { Clock } from "../clock.ts";

/**
 * How long the event loop on which handlers run was blocked. A ping goes over with each heartbeat; while it is not
 * answered, its age is the delay.
 */
export class LoopDelay {
  readonly #clock: Clock;
  readonly #ping: () => void;
  #sentAtMs: number | undefined;
  #worstMs = 0;

  /** `ping`: says so to the handlers' side. */
  constructor(clock: Clock, ping: () => void) {
    this.#clock = clock;
    this.#ping = ping;
  }

  /** The worst delay since the last call, in milliseconds; sends the next ping. */
  take(): number {
    const nowMs = this.#clock.nowMs();
    const worstMs = Math.max(this.#worstMs, this.#sentAtMs === undefined ? 0 : nowMs - this.#sentAtMs);
    this.#worstMs = 0;
    if (this.#sentAtMs === undefined) {
      this.#sentAtMs = nowMs;
      this.#ping();
    }
    return worstMs;
  }

  /** The ping was answered. */
  pong(delayMs: number): void {
    this.#sentAtMs = undefined;
    this.#worstMs = Math.max(this.#worstMs, delayMs);
  }
}
