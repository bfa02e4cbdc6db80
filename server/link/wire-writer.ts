import type { Duration } from "@bufbuild/protobuf/wkt";

/** Room that a field of no text needs at most: a tag of two bytes and a varint. */
const fieldBytes = 12;
/** Bytes that stand before a message whose length is not known yet. */
const lengthBytes = 2;

/**
 * Writes protobuf into one buffer that it keeps: a message is written where it will stand, and its length put before
 * it afterwards, so nothing is measured twice and nothing made but the bytes that go out. Not every message can be
 * written so: on a number that is negative it gives up, and `isWhole` is false from then on. Fields with the value
 * that proto3 leaves out are left out. Never throws.
 */
export class WireWriter {
  #bytes = Buffer.allocUnsafeSlow(64 * 1_024);
  #at = 0;
  #isWhole = true;

  /** Starts anew. */
  open(): void {
    this.#at = 0;
    this.#isWhole = true;
  }

  /** All that was written is as the generated codec would have it. */
  get isWhole(): boolean {
    return this.#isWhole;
  }

  /** What is to be written is not for this writer. */
  giveUp(): void {
    this.#isWhole = false;
  }

  /** A copy of what was written. */
  finish(): Buffer {
    const bytes = Buffer.allocUnsafe(this.#at);
    this.#bytes.copy(bytes, 0, 0, this.#at);
    return bytes;
  }

  /** A number that is not negative; 0 is left out. */
  number(tag: number, value: number): void {
    if (value === 0) return;
    if (!(value > 0 && Number.isSafeInteger(value))) {
      this.#isWhole = false;
      return;
    }
    this.#reserve(fieldBytes);
    this.#varint(tag);
    this.#varint(value);
  }

  /** Text; empty is left out. */
  string(tag: number, text: string): void {
    if (text.length > 0) this.stringAlways(tag, text);
  }

  /** Text, whatever it is. */
  stringAlways(tag: number, text: string): void {
    // A character has three bytes at most.
    this.#reserve(fieldBytes + 3 * text.length);
    this.#varint(tag);
    if (text.length < 0x80 && this.#ascii(text)) return;
    const length = Buffer.byteLength(text);
    this.#varint(length);
    this.#at += this.#bytes.write(text, this.#at);
  }

  /** Bytes, whatever they are. */
  bytes(tag: number, value: Uint8Array): void {
    this.#reserve(fieldBytes + value.length);
    this.#varint(tag);
    this.#varint(value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /** A duration; none is left out. */
  duration(tag: number, value: Duration | undefined): void {
    if (value === undefined) return;
    const start = this.begin(tag);
    this.number(1 << 3, Number(value.seconds));
    this.number(2 << 3, value.nanos);
    this.end(start);
  }

  /** Begins a message; to be ended with what it answers. */
  begin(tag: number): number {
    this.#reserve(fieldBytes);
    this.#varint(tag);
    this.#at += lengthBytes;
    return this.#at;
  }

  /** Ends the message that began there. */
  end(start: number): void {
    const length = this.#at - start;
    const needed = length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x20_0000 ? 3 : 4;
    const moved = needed - lengthBytes;
    if (moved !== 0) {
      this.#reserve(moved);
      this.#bytes.copyWithin(start + moved, start, this.#at);
    }
    this.#at = start - lengthBytes;
    this.#varint(length);
    this.#at += length;
  }

  // The length and the text, if it is short and ASCII: for so little a call into Node costs more than the loop.
  #ascii(text: string): boolean {
    const bytes = this.#bytes;
    const start = this.#at + 1;
    for (let index = 0; index < text.length; index++) {
      const code = text.charCodeAt(index);
      if (code >= 0x80) return false;
      bytes[start + index] = code;
    }
    bytes[start - 1] = text.length;
    this.#at = start + text.length;
    return true;
  }

  #varint(value: number): void {
    const bytes = this.#bytes;
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes[this.#at++] = (rest % 0x80) | 0x80;
    bytes[this.#at++] = rest;
  }

  #reserve(more: number): void {
    if (this.#at + more <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#at + more));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}
