/** Frames between who receives them and the one loop that reads them. Unbounded: its filler watches `size`. */
export class FrameQueue<T> implements AsyncIterable<T> {
  #items: T[] = [];
  #isEnded = false;
  #error: unknown;
  #wake: (() => void) | undefined;
  readonly #onDrain: (() => void) | undefined;

  /** `onDrain` is called when the reader has taken everything. */
  constructor(onDrain?: () => void) {
    this.#onDrain = onDrain;
  }

  /** How many wait. */
  get size(): number {
    return this.#items.length;
  }

  /** Adds a frame; dropped after the end. */
  push(item: T): void {
    if (this.#isEnded) return;
    this.#items.push(item);
    this.#wake?.();
  }

  /** Ends the queue behind what it holds; with an error the reader gets that. Later ends change nothing. */
  end(error?: unknown): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const items = this.#items;
      this.#items = [];
      yield* items;
      if (this.#items.length > 0) continue;
      if (this.#isEnded) break;
      this.#onDrain?.();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    if (this.#error !== undefined) throw this.#error;
  }
}
