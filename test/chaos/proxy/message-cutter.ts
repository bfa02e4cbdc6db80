/** Cuts a stream of bytes into whole messages, whatever the chunks it comes in. */
export class MessageCutter {
  readonly #lengthOf: (head: Buffer) => number | undefined;
  readonly #maxBytes: number;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #wanted = 1;

  /**
   * `lengthOf` says how long the message is that begins with these bytes, or undefined when they are too few to
   * tell. A message above `maxBytes` is an error: it would have to be kept whole.
   */
  constructor(lengthOf: (head: Buffer) => number | undefined, maxBytes: number) {
    this.#lengthOf = lengthOf;
    this.#maxBytes = maxBytes;
  }

  /** The messages that are complete with this chunk. Throws a RangeError. */
  cut(chunk: Buffer): Buffer[] {
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    if (this.#keptBytes < this.#wanted) return [];
    let bytes = this.#kept.length === 1 ? chunk : Buffer.concat(this.#kept, this.#keptBytes);
    const messages: Buffer[] = [];
    for (;;) {
      const length = bytes.length === 0 ? undefined : this.#lengthOf(bytes);
      if (length !== undefined && length > this.#maxBytes) {
        throw new RangeError(`a message of ${length} bytes is above ${this.#maxBytes}`);
      }
      // Without a length each chunk is looked at: a head is short.
      this.#wanted = length ?? bytes.length + 1;
      if (length === undefined || bytes.length < length) break;
      messages.push(bytes.subarray(0, length));
      bytes = bytes.subarray(length);
    }
    this.#kept = bytes.length === 0 ? [] : [bytes];
    this.#keptBytes = bytes.length;
    return messages;
  }
}
