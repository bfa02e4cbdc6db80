import type { Duration } from "@bufbuild/protobuf/wkt";

/** No 32-bit number has more bytes as a varint; a negative one has ten, and is left to the generated codec. */
const maxShortBytes = 5;
/** Varints of so many bytes are whole numbers that a double holds exactly. */
const maxExactBytes = 7;

/**
 * Reads protobuf that has the usual form: short varints, well-formed text, nothing beyond its end. On anything else
 * it gives up: `isWhole` is false from then on, every further read answers with something of no meaning, and loops
 * over `isBefore` end. Never throws, so it costs nothing where everything is as usual.
 */
export class WireReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #isWhole = true;

  /** Starts to read at the beginning of other bytes. */
  open(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#at = 0;
    this.#isWhole = true;
  }

  /** All that was read was as expected. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** There is more to read before `end`. Reading across an end is not as expected. */
  isBefore(end: number): boolean {
    if (this.#at > end) this.#isWhole = false;
    return this.#isWhole && this.#at < end;
  }

  /** What follows is not for this reader. */
  giveUp(): void {
    this.#isWhole = false;
  }

  /** A tag, or another number without a sign of 32 bits. */
  uint32(): number {
    const first = this.#bytes[this.#at] ?? 0x80;
    if (first < 0x80) {
      this.#at += 1;
      return first;
    }
    return this.#varint(maxShortBytes) >>> 0;
  }

  /** A number of 32 bits that is not negative. */
  int32(): number {
    const value = this.uint32();
    if (value > 0x7fff_ffff) this.#isWhole = false;
    return value;
  }

  /** A number of 64 bits, as far as a double holds it. */
  uint(): number {
    return this.#varint(maxExactBytes);
  }

  /** The length of what follows; answers with where it ends. */
  length(): number {
    const end = this.uint32() + this.#at;
    if (end > this.#bytes.length) this.#isWhole = false;
    return end;
  }

  /** A view of a field of bytes. */
  bytes(): Buffer {
    const end = this.length();
    if (!this.#isWhole) return this.#bytes;
    const value = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return value;
  }

  /** Text; `expected` itself when it is that, which spares making it. */
  string(expected: string): string {
    const end = this.length();
    if (!this.#isWhole) return "";
    const start = this.#at;
    this.#at = end;
    if (start === end) return "";
    if (this.#isAscii(expected, start, end)) return expected;
    const text = this.#bytes.toString("utf8", start, end);
    // Either it says so, or it is malformed.
    if (text.includes("\uFFFD")) this.#isWhole = false;
    return text;
  }

  /** A duration that is not negative; `expected` itself when it is that. */
  duration(expected: Duration | undefined): Duration {
    const end = this.length();
    let [seconds, nanos] = [0, 0];
    while (this.isBefore(end)) {
      const tag = this.uint32();
      if (tag === secondsTag) seconds = this.uint();
      else if (tag === nanosTag) nanos = this.int32();
      else this.#isWhole = false;
    }
    if (expected !== undefined && Number(expected.seconds) === seconds && expected.nanos === nanos)
      return expected;
    return { $typeName: "google.protobuf.Duration", seconds: BigInt(seconds), nanos };
  }

  #varint(maxBytes: number): number {
    let value = 0;
    let scale = 1;
    for (let count = 0; count < maxBytes; count++) {
      const byte = this.#bytes[this.#at];
      if (byte === undefined) break;
      this.#at += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (maxBytes === maxShortBytes && value > 0xffff_ffff) break;
        return value;
      }
      scale *= 0x80;
    }
    this.#isWhole = false;
    return 0;
  }

  #isAscii(expected: string, start: number, end: number): boolean {
    if (expected.length !== end - start) return false;
    for (let at = 0; at < expected.length; at++) {
      const code = expected.charCodeAt(at);
      if (code !== this.#bytes[start + at] || code >= 0x80) return false;
    }
    return true;
  }
}

const secondsTag = 1 << 3;
const nanosTag = 2 << 3;
