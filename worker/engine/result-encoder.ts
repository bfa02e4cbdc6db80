import { toBinary } from "@bufbuild/protobuf";
import { type Result, ResultSchema } from "@muster/client/v1/link";

/*
 * A result as the outbox keeps it: what its owner puts before it, then the result as an element of Results without
 * its tag (its length as a varint, and the message), which goes on the wire as it stands.
 *
 * A success, which nearly all results are, is written by hand, into the one buffer that lives until the
 * acknowledgement: the generated codec makes several on the way. All else is left to it.
 */

/** The prefix, and behind it the length and the bytes of the result. */
export function encodeResult(prefix: Uint8Array, result: Result): Buffer {
  return encodeSuccess(prefix, result) ?? behindPrefix(prefix, toBinary(ResultSchema, result));
}

function encodeSuccess(prefix: Uint8Array, result: Result): Buffer | undefined {
  const { lease, resultId, outcome, usage, isolation, profile } = result;
  if (lease === undefined || outcome.case !== "success" || usage !== undefined || isolation !== 0 || profile)
    return undefined;
  const { result: payload, prUrl } = outcome.value;
  if (payload?.content.case !== "data" || prUrl !== "" || hasUnknown(result)) return undefined;
  const { jobId, leaseId, attempt } = lease;
  const lastSequence = Number(result.lastSequence);
  if (!isShort(jobId) || !isShort(leaseId) || !isShort(resultId)) return undefined;
  if (attempt === 0 || !isSmall(attempt) || !isSmall(lastSequence)) return undefined;

  const data = payload.content.value;
  const leaseBytes = 2 + jobId.length + 1 + varintBytes(attempt) + 2 + leaseId.length;
  const payloadBytes = 1 + varintBytes(data.length) + data.length;
  const successBytes = 1 + varintBytes(payloadBytes) + payloadBytes;
  const sequenceBytes = lastSequence === 0 ? 0 : 1 + varintBytes(lastSequence);
  const resultBytes =
    2 + leaseBytes + 2 + resultId.length + 1 + varintBytes(successBytes) + successBytes + sequenceBytes;

  const start = prefix.length + varintBytes(resultBytes);
  const buffer = Buffer.allocUnsafe(start + resultBytes);
  buffer.set(prefix);
  writeVarint(buffer, prefix.length, resultBytes);
  let at = start;
  buffer[at++] = tags.lease;
  buffer[at++] = leaseBytes;
  buffer[at++] = tags.jobId;
  at = writeAscii(buffer, at, jobId);
  buffer[at++] = tags.attempt;
  at = writeVarint(buffer, at, attempt);
  buffer[at++] = tags.leaseId;
  at = writeAscii(buffer, at, leaseId);
  buffer[at++] = tags.resultId;
  at = writeAscii(buffer, at, resultId);
  buffer[at++] = tags.success;
  at = writeVarint(buffer, at, successBytes);
  buffer[at++] = tags.payload;
  at = writeVarint(buffer, at, payloadBytes);
  buffer[at++] = tags.data;
  at = writeVarint(buffer, at, data.length);
  buffer.set(data, at);
  at += data.length;
  if (lastSequence > 0) {
    buffer[at++] = tags.lastSequence;
    writeVarint(buffer, at, lastSequence);
  }
  return buffer;
}

function behindPrefix(prefix: Uint8Array, message: Uint8Array): Buffer {
  const start = prefix.length + varintBytes(message.length);
  const buffer = Buffer.allocUnsafe(start + message.length);
  buffer.set(prefix);
  writeVarint(buffer, prefix.length, message.length);
  buffer.set(message, start);
  return buffer;
}

// A field of a newer coordinator in a lease goes back with the result.
function hasUnknown({ $unknown, lease, outcome }: Result): boolean {
  const isKnown = $unknown === undefined && lease?.$unknown === undefined;
  if (!isKnown || outcome.case !== "success") return true;
  return outcome.value.$unknown !== undefined || outcome.value.result?.$unknown !== undefined;
}

// Ids are ASCII and have 36 characters at most; of one that is short the length is one byte. Proto3 leaves out an
// empty one, and a number that is 0.
function isShort(id: string): boolean {
  if (id.length === 0 || id.length > 40) return false;
  for (let index = 0; index < id.length; index++) if (id.charCodeAt(index) >= 0x80) return false;
  return true;
}

function isSmall(value: number): boolean {
  return value >= 0 && value < 0x1000_0000;
}

function varintBytes(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4;
}

function writeVarint(buffer: Buffer, at: number, value: number): number {
  let [next, rest] = [at, value];
  for (; rest >= 0x80; rest >>>= 7) buffer[next++] = (rest & 0x7f) | 0x80;
  buffer[next++] = rest;
  return next;
}

// The length and the text. For so little text a call into Node costs more than the loop.
function writeAscii(buffer: Buffer, at: number, text: string): number {
  buffer[at] = text.length;
  for (let index = 0; index < text.length; index++) buffer[at + 1 + index] = text.charCodeAt(index);
  return at + 1 + text.length;
}

// Field numbers and wire types of link.proto, job_service.proto and payload.proto; the tests hold them against the
// generated codec.
const tags = {
  lease: (1 << 3) | 2,
  jobId: (1 << 3) | 2,
  attempt: (2 << 3) | 0,
  leaseId: (3 << 3) | 2,
  resultId: (2 << 3) | 2,
  success: (3 << 3) | 2,
  payload: (1 << 3) | 2,
  data: (1 << 3) | 2,
  lastSequence: (8 << 3) | 0,
} as const;
