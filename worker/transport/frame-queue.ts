/**
 * Frames between who receives them and the one loop that reads them. Unbounded: its filler watches `size`.
 * Any number of iterators read on where the last one stopped.
 *
 * The iterator is written by hand: an async generator makes several promises a frame, and a frame may carry little.
 */
export class FrameQueue<T extends object> implements AsyncIterable<T> {
  #items: T[] = [];
  /** What the reader has taken, and how far it has read in it. */
  #taken: T[] = [];
  #next = 0;
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

  [Symbol.asyncIterator](): AsyncIterator<T, void, undefined> {
    return { next: () => this.#read() };
  }

  async #read(): Promise<IteratorResult<T, void>> {
    while (this.#next === this.#taken.length) {
      this.#taken = this.#items;
      this.#items = [];
      this.#next = 0;
      if (this.#taken.length > 0) break;
      if (this.#isEnded) return this.#last();
      this.#onDrain?.();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const value = this.#taken[this.#next++];
    return value === undefined ? this.#last() : { value, done: false };
  }

  #last(): IteratorResult<T, void> {
    const error = this.#error;
    this.#error = undefined;
    if (error !== undefined) throw error;
    return { value: undefined, done: true };
  }
}
