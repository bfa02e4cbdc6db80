import type { Clock } from "../../worker/clock.ts";

/** A clock that a test moves. Timers fire in order, each at its own time. */
export class ManualClock implements Clock {
  #nowMs = 1_000_000;
  #timers: { readonly atMs: number; readonly then: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, then: () => void): () => void {
    const timer = { atMs: this.#nowMs + Math.max(0, delayMs), then };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** How many timers are armed. */
  get armed(): number {
    return this.#timers.length;
  }

  /** Moves the clock as a process sees it that did not run meanwhile: all timers that are due fire late, in order. */
  async freeze(ms: number): Promise<void> {
    this.#nowMs += ms;
    await this.advance(0);
  }

  /** Moves the clock; between two timers everything that is ready runs. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settled();
    for (;;) {
      const next = this.#timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.then();
      await settled();
    }
    this.#nowMs = endMs;
    await settled();
  }
}

/** Resolves when what is ready in this turn and the next few has run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}
