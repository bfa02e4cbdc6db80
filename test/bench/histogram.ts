/** How many times what was seen, in steps of 1 %: as small for a million times as for ten. */
export class Histogram {
  readonly #counts = new Map<number, number>();
  #total = 0;

  get total(): number {
    return this.#total;
  }

  /** Counts one; what is below a microsecond counts as that. */
  add(ms: number, times = 1): void {
    const step = Math.round(Math.log(Math.max(ms, floorMs)) / stepLog);
    this.#counts.set(step, (this.#counts.get(step) ?? 0) + times);
    this.#total += times;
  }

  /** Adds what another process counted. */
  merge(entries: HistogramEntries): void {
    for (const [step, times] of entries) {
      this.#counts.set(step, (this.#counts.get(step) ?? 0) + times);
      this.#total += times;
    }
  }

  /** In milliseconds, within 1 %; NaN when nothing was counted. */
  quantile(q: number): number {
    let left = Math.min(this.#total - 1, Math.floor(this.#total * q));
    for (const [step, times] of [...this.#counts].sort(([a], [b]) => a - b)) {
      if (left < times) return Math.exp(step * stepLog);
      left -= times;
    }
    return Number.NaN;
  }

  clear(): void {
    this.#counts.clear();
    this.#total = 0;
  }

  /** What `merge` takes. */
  entries(): HistogramEntries {
    return [...this.#counts];
  }
}

/** Counts by step. */
export type HistogramEntries = readonly (readonly [step: number, times: number])[];

const stepLog = Math.log(1.01);
const floorMs = 0.001;
