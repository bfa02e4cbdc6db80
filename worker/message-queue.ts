import type { IncomingMessage } from "./context.ts";

/** Messages kept for a handler that does not read; beyond it the oldest go. */
const maxWaiting = 1000;
/** Ids remembered, because the coordinator repeats a message until it is acknowledged. */
const maxKnown = 10_000;

/** The messages to one attempt: each once, whoever reads them, until the end. */
export class MessageQueue implements AsyncIterable<IncomingMessage> {
  #waiting: IncomingMessage[] = [];
  #readers: (() => void)[] = [];
  readonly #known = new Set<string>();
  #isEnded = false;

  /** Takes a message unless it came before. */
  push(message: IncomingMessage): void {
    if (this.#isEnded || this.#known.has(message.messageId)) return;
    if (this.#known.size < maxKnown) this.#known.add(message.messageId);
    this.#waiting.push(message);
    if (this.#waiting.length > maxWaiting) this.#waiting.shift();
    this.#wake();
  }

  /** Ends every reader behind what is waiting. */
  end(): void {
    this.#isEnded = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<IncomingMessage, void, undefined> {
    for (;;) {
      const message = this.#waiting.shift();
      if (message !== undefined) yield message;
      else if (this.#isEnded) return;
      else await new Promise<void>((resolve) => this.#readers.push(resolve));
    }
  }

  #wake(): void {
    const readers = this.#readers;
    this.#readers = [];
    for (const resolve of readers) resolve();
  }
}
