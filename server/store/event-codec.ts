import zlib from "node:zlib";
import type { LogStream, StoredEvent } from "../domain/rules/event-record.ts";

export type { LogStream, StoredEvent } from "../domain/rules/event-record.ts";

/** The body of a chunk of events. */
export interface EventBody {
  readonly body: Uint8Array;
  readonly isCompressed: boolean;
}

/**
 * Writes events as the body of a chunk: JSON rows, with the times relative to the first one, in zstd when it
 * is larger than 512 bytes and this Node has zstd (22.15 and later).
 */
export function encodeEvents(events: readonly StoredEvent[]): EventBody {
  const startMs = events[0]?.timeMs ?? 0;
  const plain = Buffer.from(JSON.stringify([startMs, ...events.map((event) => rowOf(event, startMs))]));
  if (plain.length <= smallestCompressed || typeof zlib.zstdCompressSync !== "function") {
    return { body: plain, isCompressed: false };
  }
  return { body: zlib.zstdCompressSync(plain), isCompressed: true };
}

/** Reads the body of a chunk. Throws when it is not one: nothing else writes the column. */
export function decodeEvents(body: Uint8Array, isCompressed: boolean): StoredEvent[] {
  const rows: unknown = JSON.parse(Buffer.from(isCompressed ? decompress(body) : body).toString());
  if (!Array.isArray(rows) || typeof rows[0] !== "number") throw new Error("not a chunk of events");
  const [startMs, ...events] = rows;
  return events.map((row: unknown) => eventOf(row, startMs));
}

const smallestCompressed = 512;
/** Far above what a chunk holds; bounds what a damaged one can cost. */
const largestPlain = 64 * 1024 * 1024;

type Row = readonly [sequence: number, afterMs: number, type: string, ...rest: (string | number)[]];

function rowOf(event: StoredEvent, startMs: number): Row {
  const { sequence } = event;
  const afterMs = event.timeMs - startMs;
  switch (event.type) {
    case "log":
      return [sequence, afterMs, "l", event.stream, event.level, event.text];
    case "partial":
      return [sequence, afterMs, "p", event.json];
    case "message":
      return [sequence, afterMs, "m", event.text];
    case "event":
      return [sequence, afterMs, "e", event.name, event.json];
    case "gap":
      return [sequence, afterMs, "g", event.from, event.to, event.cause];
  }
}

function eventOf(row: unknown, startMs: number): StoredEvent {
  const [sequence, afterMs, type, a, b, c]: unknown[] = Array.isArray(row) ? row : [];
  if (typeof sequence === "number" && typeof afterMs === "number") {
    const said = { sequence, timeMs: startMs + afterMs };
    if (type === "l" && isLogStream(a) && typeof b === "string" && typeof c === "string") {
      return { ...said, type: "log", stream: a, level: b, text: c };
    }
    if (type === "p" && typeof a === "string") return { ...said, type: "partial", json: a };
    if (type === "m" && typeof a === "string") return { ...said, type: "message", text: a };
    if (type === "e" && typeof a === "string" && typeof b === "string") {
      return { ...said, type: "event", name: a, json: b };
    }
    if (type === "g" && typeof a === "number" && typeof b === "number" && typeof c === "string") {
      return { ...said, type: "gap", from: a, to: b, cause: c };
    }
  }
  throw new Error("not an event of a chunk");
}

function isLogStream(value: unknown): value is LogStream {
  return value === 1 || value === 2 || value === 3 || value === 4;
}

function decompress(body: Uint8Array): Uint8Array {
  if (typeof zlib.zstdDecompressSync !== "function") {
    throw new Error("this Node cannot read what attempts said: zstd needs 22.15 or later");
  }
  return zlib.zstdDecompressSync(body, { maxOutputLength: largestPlain });
}
