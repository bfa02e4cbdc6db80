/** So many at once, and so many a second. */
export class Allowance {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #nowMs: () => number;
  #left: number;
  #atMs: number;

  constructor(burst: number, perSecond: number, nowMs: () => number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1_000;
    this.#nowMs = nowMs;
    this.#left = burst;
    this.#atMs = nowMs();
  }

  /** Takes one; false when none is left. */
  take(): boolean {
    this.#grow();
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  refill(): void {
    this.#left = this.#burst;
  }

  /** Nothing is taken of it: forgetting it changes nothing. */
  get isFull(): boolean {
    this.#grow();
    return this.#left === this.#burst;
  }

  #grow(): void {
    const now = this.#nowMs();
    this.#left = Math.min(this.#burst, this.#left + (now - this.#atMs) * this.#perMs);
    this.#atMs = now;
  }
}
