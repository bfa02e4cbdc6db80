import { clipBytes } from "../text.ts";

/** The last bytes of a stream, as clean text. */
export class Tail {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes a chunk; keeps a view of it until enough has followed. */
  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      // A few more than wanted, so that the cut can fall between two characters.
      if (this.#bytes - first.length < this.#maxBytes + 4) break;
      this.#bytes -= first.length;
      this.#chunks.shift();
    }
  }

  /** At most the given number of bytes as UTF-8, never cut inside a character. */
  text(): string {
    return clipBytes(Buffer.concat(this.#chunks).toString("utf8"), this.#maxBytes, "end");
  }
}
