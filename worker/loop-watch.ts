const tickMs = 100;

/**
 * Measures how late the event loop of this thread runs what is due; keeps no process alive. Not by the histogram of
 * `perf_hooks`: a reset of that one forgets the delay that has just ended.
 */
export class LoopWatch {
  readonly #timer: NodeJS.Timeout;
  #lookedMs = performance.now();
  #worstMs = 0;

  constructor() {
    this.#timer = setInterval(() => this.#look(), tickMs);
    this.#timer.unref();
  }

  /** The worst delay since the last call, in milliseconds. */
  takeMs(): number {
    // Messages that came during a delay are taken before the timer fires.
    this.#look();
    const worstMs = this.#worstMs;
    this.#worstMs = 0;
    return worstMs;
  }

  /** Measures no more. */
  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const nowMs = performance.now();
    this.#worstMs = Math.max(this.#worstMs, nowMs - this.#lookedMs - tickMs);
    this.#lookedMs = nowMs;
  }
}
