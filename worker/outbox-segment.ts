import { randomBytes } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { crc32 } from "node:zlib";

/*
 * A segment: a header, then records, all numbers little-endian.
 *
 *   header   "MUSTEROB" | u32 version | u32 mark
 *   record   u32 crc32 of all that follows | u32 mark | u32 length of the payload | payload
 *   payload  u8 type (1 entry, 2 acknowledgement) | u16 length of the id | id, UTF-8 | body
 *
 * Behind the records the file may go on in zeros, into which later ones are written.
 * The mark is random in each segment. It makes a record recognisable behind a damaged one, and it keeps the
 * body of a result from passing for a record.
 */

/** Bytes before the first record. */
export const segmentHeaderBytes = 16;
/** Largest body of an entry: the largest message of the link. */
export const maxBodyBytes = 4 * 1024 * 1024;
/** Longest id of an entry, in UTF-8. */
export const maxResultIdBytes = 256;

const magic = Buffer.from("MUSTEROB");
const currentVersion = 1;
const markBytes = 4;
const markOffset = 4;
const recordHeaderBytes = 12;
const payloadHeaderBytes = 3;
const maxPayloadBytes = payloadHeaderBytes + maxResultIdBytes + maxBodyBytes;
const typeCodes = { entry: 1, acknowledgement: 2 } as const;

/** One record of a segment; an acknowledgement has an empty body. */
export interface SegmentRecord {
  readonly type: "entry" | "acknowledgement";
  readonly resultId: string;
  readonly body: Uint8Array;
}

/** Bytes that this version cannot read. */
export type UnreadableSegment =
  /** Not an outbox segment at all. */
  | { readonly kind: "foreign" }
  /** Written by another version of Muster. */
  | { readonly kind: "unknown version"; readonly version: number };

/** What the bytes of a segment hold. */
export type SegmentContents =
  | UnreadableSegment
  | {
      readonly kind: "records";
      readonly mark: number;
      /** The whole records, in order; bodies are views of the given bytes. */
      readonly records: readonly SegmentRecord[];
      /** Where the last whole record ends; what follows is to be cut. */
      readonly endBytes: number;
      /** Bytes of a torn tail: what follows, without the zeros at the end. */
      readonly tornBytes: number;
      /** Bytes of damaged records that whole ones follow: a failing disk, not a crash. */
      readonly damagedBytes: number;
    };

/** A fresh mark. */
export function newMark(): number {
  // Not 0: a hole in a file is zeros.
  return randomBytes(4).readUInt32LE() || 1;
}

/** The header of a new segment. */
export function encodeSegmentHeader(mark: number): Buffer {
  const header = Buffer.allocUnsafe(segmentHeaderBytes);
  magic.copy(header);
  header.writeUInt32LE(currentVersion, 8);
  header.writeUInt32LE(mark, 12);
  return header;
}

/** What an entry record is made of. */
export type SegmentEntry = Omit<SegmentRecord, "type">;

/**
 * Records as they stand in the file, in one buffer: acknowledgements of these ids, then these entries. Ids and bodies
 * must be within the limits.
 */
export function encodeRecords(
  acknowledged: readonly string[],
  entries: readonly SegmentEntry[],
  mark: number,
): Buffer {
  let total = 0;
  for (const resultId of acknowledged) total += recordBytes(resultId, noBody);
  for (const { resultId, body } of entries) total += recordBytes(resultId, body);
  const buffer = Buffer.allocUnsafe(total);
  let at = 0;
  for (const resultId of acknowledged)
    at = writeRecord(buffer, at, mark, typeCodes.acknowledgement, resultId, noBody);
  for (const { resultId, body } of entries)
    at = writeRecord(buffer, at, mark, typeCodes.entry, resultId, body);
  return buffer;
}

const noBody = new Uint8Array();

function recordBytes(resultId: string, body: Uint8Array): number {
  return recordHeaderBytes + payloadHeaderBytes + Buffer.byteLength(resultId) + body.length;
}

function writeRecord(
  buffer: Buffer,
  at: number,
  mark: number,
  code: number,
  resultId: string,
  body: Uint8Array,
): number {
  const payloadAt = at + recordHeaderBytes;
  const bodyAt = writeId(buffer, payloadAt + payloadHeaderBytes, resultId);
  const end = bodyAt + body.length;
  buffer.writeUInt32LE(mark, at + 4);
  buffer.writeUInt32LE(end - payloadAt, at + 8);
  buffer.writeUInt8(code, payloadAt);
  buffer.writeUInt16LE(bodyAt - payloadAt - payloadHeaderBytes, payloadAt + 1);
  if (body.length > 0) buffer.set(body, bodyAt);
  buffer.writeUInt32LE(crc32(buffer.subarray(at + 4, end)), at);
  return end;
}

// Ids are UUIDs: for so little text a call into Node costs more than the loop.
function writeId(buffer: Buffer, at: number, resultId: string): number {
  for (let index = 0; index < resultId.length; index++) {
    const code = resultId.charCodeAt(index);
    if (code >= 0x80) return at + buffer.write(resultId, at, "utf8");
    buffer[at + index] = code;
  }
  return at + resultId.length;
}

/**
 * Reads a segment. Never returns a record that was not written whole, and never misses one that was and is
 * undamaged, whatever stands before it.
 */
export function decodeSegment(bytes: Buffer): SegmentContents {
  if (isTornHeader(bytes))
    return { kind: "records", mark: 0, records: [], endBytes: 0, tornBytes: 0, damagedBytes: 0 };
  const isSegment =
    bytes.length >= segmentHeaderBytes - markBytes && bytes.subarray(0, magic.length).equals(magic);
  if (!isSegment) return { kind: "foreign" };
  const version = bytes.readUInt32LE(8);
  if (version !== currentVersion) return { kind: "unknown version", version };

  const mark = readMark(bytes);
  const records: SegmentRecord[] = [];
  let endBytes = segmentHeaderBytes;
  let damagedBytes = 0;
  let at = nextRecord(bytes, mark, endBytes);
  while (at !== -1) {
    const length = wholeRecordLength(bytes, at);
    const record =
      length === null ? null : decodePayload(bytes.subarray(at + recordHeaderBytes, at + length));
    if (length === null || record === null) {
      at = nextRecord(bytes, mark, at + 1);
      continue;
    }
    records.push(record);
    damagedBytes += at - endBytes;
    endBytes = at + length;
    at = nextRecord(bytes, mark, endBytes);
  }
  const tornBytes = Math.max(0, bytes.findLastIndex((byte) => byte !== 0) + 1 - endBytes);
  return { kind: "records", mark: mark.readUInt32LE(), records, endBytes, tornBytes, damagedBytes };
}

/** Writes all of a buffer at a place of a file; a short write is continued, so that its error appears. */
export async function writeFully(file: FileHandle, bytes: Buffer, positionBytes: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, positionBytes + done);
    done += bytesWritten;
  }
}

/** A crash while the file was made: the start of a header, or a length without contents. No record follows. */
function isTornHeader(bytes: Buffer): boolean {
  const known = encodeSegmentHeader(0).subarray(0, Math.min(bytes.length, segmentHeaderBytes - markBytes));
  const isPrefix = bytes.length < segmentHeaderBytes && bytes.subarray(0, known.length).equals(known);
  return isPrefix || bytes.every((byte) => byte === 0);
}

/** A whole first record proves its own mark; only without one the header's is believed. */
function readMark(bytes: Buffer): Buffer {
  const isFirstWhole = wholeRecordLength(bytes, segmentHeaderBytes) !== null;
  const at = isFirstWhole ? segmentHeaderBytes + markOffset : segmentHeaderBytes - markBytes;
  return bytes.subarray(at, at + markBytes);
}

function nextRecord(bytes: Buffer, mark: Buffer, from: number): number {
  const at = bytes.indexOf(mark, from + markOffset);
  return at === -1 ? -1 : at - markOffset;
}

function wholeRecordLength(bytes: Buffer, at: number): number | null {
  if (at + recordHeaderBytes > bytes.length) return null;
  const payloadLength = bytes.readUInt32LE(at + 8);
  const end = at + recordHeaderBytes + payloadLength;
  if (payloadLength < payloadHeaderBytes || payloadLength > maxPayloadBytes || end > bytes.length)
    return null;
  return crc32(bytes.subarray(at + 4, end)) === bytes.readUInt32LE(at) ? end - at : null;
}

function decodePayload(payload: Buffer): SegmentRecord | null {
  const code = payload.readUInt8(0);
  const type =
    code === typeCodes.entry ? "entry" : code === typeCodes.acknowledgement ? "acknowledgement" : null;
  const bodyAt = payloadHeaderBytes + payload.readUInt16LE(1);
  if (type === null || bodyAt > payload.length) return null;
  return {
    type,
    resultId: payload.toString("utf8", payloadHeaderBytes, bodyAt),
    body: payload.subarray(bodyAt),
  };
}
