import { toBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import {
  type ConnectRequest,
  ConnectRequestSchema,
  DemandSchema,
  type Results,
} from "@muster/client/v1/link";
import { viewOf } from "../text.ts";

/*
 * Frames of results that are encoded already are put together in one buffer: the generated codec makes one for each
 * part, and one more of all. Every other frame is left to it.
 */

/** The bytes of a frame of a worker. */
export function encodeRequest(request: ConnectRequest): Buffer {
  return encodeResults(request) ?? viewOf(toBinary(ConnectRequestSchema, request));
}

function encodeResults({ frame, demand, $unknown }: ConnectRequest): Buffer | undefined {
  if (frame.case !== "results" || $unknown !== undefined) return undefined;
  const items = encodedItems(frame.value);
  if (items === undefined) return undefined;
  let itemBytes = items.length;
  for (const { length } of items) itemBytes += length;
  const told = demand === undefined ? undefined : toBinary(DemandSchema, demand);
  const toldBytes = told === undefined ? 0 : 1 + varintBytes(told.length) + told.length;

  const buffer = Buffer.allocUnsafe(1 + varintBytes(itemBytes) + itemBytes + toldBytes);
  buffer[0] = resultsTag;
  let at = writeVarint(buffer, 1, itemBytes);
  for (const item of items) {
    buffer[at++] = itemTag;
    buffer.set(item, at);
    at += item.length;
  }
  if (told !== undefined) {
    buffer[at++] = demandTag;
    buffer.set(told, writeVarint(buffer, at, told.length));
  }
  return buffer;
}

// Results whose elements are all encoded, each with its length before it.
function encodedItems({ results, $unknown }: Results): Uint8Array[] | undefined {
  if (results.length > 0 || $unknown === undefined) return undefined;
  const items: Uint8Array[] = [];
  for (const { no, wireType, data } of $unknown) {
    if (no !== 1 || wireType !== WireType.LengthDelimited) return undefined;
    items.push(data);
  }
  return items;
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

// Field numbers and wire types of link.proto; the tests hold them against the generated codec.
const resultsTag = (6 << 3) | 2;
const itemTag = (1 << 3) | 2;
const demandTag = (15 << 3) | 2;
