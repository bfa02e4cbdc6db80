import { StringDecoder } from "node:string_decoder";

/** U+FFFD, which stands for what text may not hold. */
const replacement = "\uFFFD";

/** The text with NUL and unpaired surrogates replaced: what the coordinator stores and other languages can read. */
export function cleanText(text: string): string {
  const wellFormed = text.isWellFormed() ? text : text.toWellFormed();
  return wellFormed.includes("\0") ? wellFormed.replaceAll("\0", replacement) : wellFormed;
}

/** Clean text of at most `maxChars` UTF-16 units; a longer one ends in `…`, never inside a surrogate pair. */
export function clipText(text: string, maxChars: number): string {
  if (text.length <= maxChars) return cleanText(text);
  return `${cleanText(text.slice(0, maxChars - 1).replace(/[\uD800-\uDBFF]$/, ""))}…`;
}

/** Clean text of at most `maxBytes` as UTF-8: its beginning, or its end with `keep: "end"`. */
export function clipBytes(text: string, maxBytes: number, keep: "start" | "end" = "start"): string {
  const clean = cleanText(text);
  if (clean.length * 3 <= maxBytes) return clean;
  const bytes = Buffer.from(clean, "utf8");
  if (bytes.length <= maxBytes) return clean;
  if (keep === "start") return bytes.toString("utf8", 0, borderBefore(bytes, maxBytes));
  return bytes.toString("utf8", borderAfter(bytes, bytes.length - maxBytes));
}

/** Cuts text into pieces of at most `maxBytes` (at least 4) as UTF-8, never inside a character. Empty text: none. */
export function splitBytes(text: string, maxBytes: number): string[] {
  if (text === "") return [];
  if (text.length * 3 <= maxBytes) return [text];
  const bytes = Buffer.from(text, "utf8");
  const pieces: string[] = [];
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.length - start <= maxBytes ? bytes.length : borderBefore(bytes, start + maxBytes);
    pieces.push(bytes.toString("utf8", start, end));
    start = end;
  }
  return pieces;
}

/** Turns chunks of a byte stream into clean text; holds back a character that a chunk cuts in two. */
export class TextDecoding {
  readonly #decoder = new StringDecoder("utf8");

  /** The text that is complete with this chunk. A string passes as it is. */
  push(chunk: Uint8Array | string): string {
    if (typeof chunk === "string") return cleanText(this.end() + chunk);
    return cleanText(this.#decoder.write(viewOf(chunk)));
  }

  /** What was held back, as a replacement character, or nothing. */
  end(): string {
    return this.#decoder.end();
  }
}

/** A duration for people, in the largest unit that fits it: `250ms`, `1.5s`, `2m`, `4h`. */
export function durationText(ms: number): string {
  const units = [
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1000],
  ] as const;
  const [name, unitMs] = units.find(([, unit]) => ms >= unit) ?? ["ms", 1];
  return `${Math.round((ms / unitMs) * 10) / 10}${name}`;
}

/** A Buffer over the same memory. */
export function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

// A byte 10xxxxxx continues a character.
function borderBefore(bytes: Uint8Array, at: number): number {
  let border = at;
  while (border > 0 && isContinuation(bytes[border])) border--;
  return border;
}

function borderAfter(bytes: Uint8Array, at: number): number {
  let border = at;
  while (border < bytes.length && isContinuation(bytes[border])) border++;
  return border;
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
