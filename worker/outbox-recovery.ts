import { type FileHandle, open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { unreadable } from "./outbox-error.ts";
import { decodeSegment } from "./outbox-segment.ts";

/** A segment file as the outbox keeps count of it. */
export interface Segment {
  readonly path: string;
  readonly mark: number;
  /** Where the next record goes; after a failed write less than the file's length. */
  endBytes: number;
  /** Entries in it that are not acknowledged. */
  unacknowledged: number;
  /** Ids whose acknowledgement is not written yet. */
  acknowledged: string[];
}

/** An entry that is not acknowledged, and where it stands. */
export interface Held {
  readonly entry: { readonly resultId: string; readonly body: Uint8Array };
  /** Undefined: it is not durable yet. */
  segment: Segment | undefined;
}

/** Names of segment files. */
export const segmentName = /^results-(\d{10})\.outbox$/;

/** Path of a segment; numbers grow, so the names sort by age. */
export function segmentPath(directory: string, number: number): string {
  return join(directory, `results-${String(number).padStart(10, "0")}.outbox`);
}

/** What a directory holds when it is opened. */
export interface Leftovers {
  readonly segments: Segment[];
  readonly pending: Map<string, Held>;
  readonly nextSegment: number;
  readonly tornBytes: number;
  readonly damagedBytes: number;
}

/**
 * Reads all segments of a directory. Throws on one that it cannot read, and has changed nothing then;
 * otherwise torn tails are cut, and what is pending is durable. Segments without anything unacknowledged are
 * listed too: they are to go.
 */
export async function readLeftovers(
  directory: string,
  fdatasync: (handle: FileHandle) => Promise<void>,
  signal: AbortSignal,
): Promise<Leftovers> {
  const names = (await readdir(directory)).filter((name) => segmentName.test(name)).sort();
  const segments: Segment[] = [];
  const pending = new Map<string, Held>();
  let tornBytes = 0;
  let damagedBytes = 0;
  for (const name of names) {
    signal.throwIfAborted();
    const path = join(directory, name);
    const bytes = await readFile(path);
    const contents = decodeSegment(bytes);
    if (contents.kind !== "records") throw unreadable(path, contents);
    const { mark, endBytes, records } = contents;
    const segment: Segment = { path, mark, endBytes, unacknowledged: 0, acknowledged: [] };
    const entries = new Map<string, Held["entry"]>();
    for (const { type, resultId, body } of records) {
      // A copy: a view would keep the whole file in memory.
      if (type === "entry") entries.set(resultId, { resultId, body: new Uint8Array(body) });
      else entries.delete(resultId);
    }
    for (const [resultId, entry] of entries) {
      // A failed append that could not be cut, and was tried again: the later one stands for both.
      const earlier = pending.get(resultId)?.segment;
      if (earlier !== undefined) {
        earlier.unacknowledged -= 1;
        earlier.acknowledged.push(resultId);
      }
      pending.set(resultId, { entry, segment });
    }
    segment.unacknowledged = entries.size;
    segments.push(segment);
    tornBytes += contents.tornBytes;
    damagedBytes += contents.damagedBytes;
  }
  // Only now, that all could be read, is anything changed.
  for (const segment of segments) {
    if (segment.unacknowledged === 0) continue;
    await using file = await open(segment.path, "r+");
    await file.truncate(segment.endBytes);
    // A write that a kill interrupted may be whole, and yet not durable.
    await fdatasync(file);
  }
  const last = Number(segmentName.exec(names.at(-1) ?? "")?.[1] ?? 0);
  return { segments, pending, nextSegment: last + 1, tornBytes, damagedBytes };
}
