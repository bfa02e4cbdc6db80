import type { HalfSentWatch } from "./half-sent.ts";
import type { HttpRequest } from "./http.ts";

/** What is read of a body that is refused, so that its sender gets to read the answer. */
const discardBytesMax = 16 * 1024 * 1024;

/**
 * The body of a request, read as it is asked for. Iterating a request itself destroys it when the reader stops early,
 * and its connection with it: a client that still sends would see a broken connection instead of why it was refused.
 * By hand, as an iterator of Node with a generator around it was a twentieth of what a small call cost.
 */
export function bodyOf(request: HttpRequest, halfSent: HalfSentWatch): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => new BodyReader(request, halfSent) };
}

/** Reads on to the end of a request, within a bound, and keeps nothing of it. */
export function discardRest(request: HttpRequest): void {
  let left = discardBytesMax;
  request.on("error", () => request.destroy());
  request.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
}

class BodyReader implements AsyncIterator<Uint8Array, undefined, undefined> {
  readonly #request: HttpRequest;
  readonly #halfSent: HalfSentWatch;
  #state: "new" | "reading" | "over" = "new";
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(request: HttpRequest, halfSent: HalfSentWatch) {
    this.#request = request;
    this.#halfSent = halfSent;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    const request = this.#request;
    if (this.#state === "new") this.#open();
    while (this.#state === "reading") {
      const chunk: Buffer | null = request.destroyed ? null : request.read();
      if (chunk !== null) {
        this.#halfSent.saw(chunk);
        return { value: chunk, done: false };
      }
      if (request.readableEnded) this.#close();
      else if (this.#error !== undefined || request.destroyed) {
        this.#close();
        throw this.#error ?? endedEarly();
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
    return { value: undefined, done: true };
  }

  async return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#close();
    return { value: undefined, done: true };
  }

  #open(): void {
    this.#state = "reading";
    const request = this.#request;
    for (const event of news) request.on(event, this.#look);
    request.on("error", this.#fail);
  }

  #close(): void {
    if (this.#state === "over") return;
    this.#state = "over";
    this.#halfSent.stop();
    const request = this.#request;
    for (const event of news) request.off(event, this.#look);
    // An error that comes later has no other listener.
    if (request.readableEnded) request.off("error", this.#fail);
    else if (!request.destroyed) discardRest(request);
    this.#look();
  }

  readonly #look = (): void => this.#wake?.();

  readonly #fail = (error: unknown): void => {
    this.#error = error;
    this.#look();
  };
}

const news = ["readable", "end", "close"] as const;

// As Node says it of its own iterators.
function endedEarly(): Error {
  return Object.assign(new Error("Premature close"), { code: "ERR_STREAM_PREMATURE_CLOSE" });
}
