import { randomFillSync } from "node:crypto";
import { invalidArgument } from "./errors.ts";

/** The prefix of each noun's ids on the wire. Released prefixes never change. */
export const idPrefixes = {
  job: "job",
  batch: "bat",
  worker: "wrk",
  lease: "lse",
  org: "org",
  invitation: "inv",
  result: "res",
  artifact: "art",
  project: "prj",
  session: "ses",
  schedule: "sch",
  key: "key",
  boot: "boot",
  link: "lnk",
  pool: "pol",
  request: "req",
  audit: "aud",
  person: "psn",
  alert: "alr",
  alertDelivery: "adl",
  delivery: "dlv",
} as const;

/** A noun that has ids of its own. */
export type IdNoun = keyof typeof idPrefixes;

/**
 * The TypeID (spec 0.3) of a uuid: `job_01h455vb4pex5vsknk084sn02q`. `uuid` is the text form, any version,
 * in either case. Throws a TypeError on anything else: a malformed uuid in our hands is a defect.
 */
export function encodeId(noun: IdNoun, uuid: string): string {
  if (uuid.length !== 36 || !hasDashes(uuid)) throw new TypeError("not a uuid");
  const a = hexWord(uuid, 0);
  const b = (hexHalf(uuid, 9) << 16) | hexHalf(uuid, 14);
  const c = (hexHalf(uuid, 19) << 16) | hexHalf(uuid, 24);
  const d = hexWord(uuid, 28);
  // 128 bits behind two zero bits, cut into groups of five. All digits in one call: a text that is put together of
  // pieces is copied once more by whoever reads it, and leaves the pieces as garbage.
  const digits = String.fromCharCode(
    digit(a >>> 29),
    digit(a >>> 24),
    digit(a >>> 19),
    digit(a >>> 14),
    digit(a >>> 9),
    digit(a >>> 4),
    digit(((a & 15) << 1) | (b >>> 31)),
    digit(b >>> 26),
    digit(b >>> 21),
    digit(b >>> 16),
    digit(b >>> 11),
    digit(b >>> 6),
    digit(b >>> 1),
    digit(((b & 1) << 4) | (c >>> 28)),
    digit(c >>> 23),
    digit(c >>> 18),
    digit(c >>> 13),
    digit(c >>> 8),
    digit(c >>> 3),
    digit(((c & 7) << 2) | (d >>> 30)),
    digit(d >>> 25),
    digit(d >>> 20),
    digit(d >>> 15),
    digit(d >>> 10),
    digit(d >>> 5),
    digit(d),
  );
  return `${idPrefixes[noun]}_${digits}`;
}

/**
 * The uuid (lowercase text) of a TypeID of this noun. Throws DomainError invalid_argument naming `field`
 * (proto3 JSON path; `jobId` for a job unless given) when it has another prefix or is not a TypeID.
 */
export function decodeId(noun: IdNoun, text: string, field: string = `${noun}Id`): string {
  const prefix = idPrefixes[noun];
  const start = prefix.length + 1;
  if (text.length !== start + suffixLength || text[start - 1] !== "_" || !text.startsWith(prefix)) {
    throw notAnId(noun, text, field);
  }
  let faults = 0;
  const bits = (at: number): number => {
    const value = digitOf(text.charCodeAt(start + at));
    faults |= value;
    return value & 31;
  };
  const first = bits(0);
  const a = ((first << 29) | (digits5(bits, 1) << 4) | (bits(6) >>> 1)) >>> 0;
  const b = (((bits(6) & 1) << 31) | (digits5(bits, 7) << 6) | (bits(12) << 1) | (bits(13) >>> 4)) >>> 0;
  const c = (((bits(13) & 15) << 28) | (digits5(bits, 14) << 3) | (bits(19) >>> 2)) >>> 0;
  const d = (((bits(19) & 3) << 30) | (digits5(bits, 20) << 5) | bits(25)) >>> 0;
  // The first digit carries two bits that must be zero: above 7 the suffix holds more than 128 bits.
  if (faults > 31 || first > 7) throw notAnId(noun, text, field);
  return String.fromCharCode(
    hexDigit(a >>> 28),
    hexDigit(a >>> 24),
    hexDigit(a >>> 20),
    hexDigit(a >>> 16),
    hexDigit(a >>> 12),
    hexDigit(a >>> 8),
    hexDigit(a >>> 4),
    hexDigit(a),
    dash,
    hexDigit(b >>> 28),
    hexDigit(b >>> 24),
    hexDigit(b >>> 20),
    hexDigit(b >>> 16),
    dash,
    hexDigit(b >>> 12),
    hexDigit(b >>> 8),
    hexDigit(b >>> 4),
    hexDigit(b),
    dash,
    hexDigit(c >>> 28),
    hexDigit(c >>> 24),
    hexDigit(c >>> 20),
    hexDigit(c >>> 16),
    dash,
    hexDigit(c >>> 12),
    hexDigit(c >>> 8),
    hexDigit(c >>> 4),
    hexDigit(c),
    hexDigit(d >>> 28),
    hexDigit(d >>> 24),
    hexDigit(d >>> 20),
    hexDigit(d >>> 16),
    hexDigit(d >>> 12),
    hexDigit(d >>> 8),
    hexDigit(d >>> 4),
    hexDigit(d),
  );
}

/** One UUIDv7 for the millisecond `nowMs`, with 74 bits from `random(10)`. Ids of one millisecond are unordered. */
export function newUuidV7(nowMs: number, random: (byteCount: number) => Uint8Array): string {
  const bytes = random(10);
  return uuidV7(Math.floor(nowMs), (((bytes[8] ?? 0) << 8) | (bytes[9] ?? 0)) & 4095, bytes, 0);
}

/**
 * A source of UUIDv7 text that only grows, whatever the clock (milliseconds since 1970) does: within a
 * millisecond a 12-bit count from a random start orders ids; when it is used up, or the clock goes back,
 * ids stay in, or move to the millisecond after, the latest one used. Randomness is drawn 512 ids at a time.
 */
export function createIdGenerator(clock: () => number): () => string {
  const randomBytes = new Uint8Array(512 * 8);
  let offset = randomBytes.length;
  let lastMs = -1;
  let sequence = 0;
  const draw = (): number => {
    if (offset === randomBytes.length) {
      randomFillSync(randomBytes);
      offset = 0;
    }
    offset += 8;
    return offset - 8;
  };
  return () => {
    const nowMs = Math.floor(clock());
    if (nowMs > lastMs || sequence === 4095) {
      lastMs = Math.max(nowMs, lastMs + 1);
      const at = draw();
      // Starts in the lower half, so that at least 2,048 ids fit before the time has to be borrowed.
      sequence = (((randomBytes[at] ?? 0) << 8) | (randomBytes[at + 1] ?? 0)) & 2047;
    } else {
      sequence++;
    }
    return uuidV7(lastMs, sequence, randomBytes, draw());
  };
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
const suffixLength = 26;
const invalid = 255;
const dash = 45;
const base32Codes = Uint8Array.from(alphabet, (character) => character.charCodeAt(0));
const hexCodes = Uint8Array.from("0123456789abcdef", (character) => character.charCodeAt(0));
const hexPairs: readonly string[] = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, "0"));
const base32Values = valuesByCharCode(alphabet);
const hexValues = valuesByCharCode("0123456789abcdef", "ABCDEF");

function valuesByCharCode(digits: string, upperFromTen = ""): Uint8Array {
  const values = new Uint8Array(128).fill(invalid);
  for (let n = 0; n < digits.length; n++) values[digits.charCodeAt(n)] = n;
  for (let n = 0; n < upperFromTen.length; n++) values[upperFromTen.charCodeAt(n)] = 10 + n;
  return values;
}

// The character of five bits, and of four.
function digit(bits: number): number {
  return base32Codes[bits & 31] ?? invalid;
}

function hexDigit(bits: number): number {
  return hexCodes[bits & 15] ?? invalid;
}

function digitOf(charCode: number): number {
  return base32Values[charCode] ?? invalid;
}

function digits5(bits: (at: number) => number, at: number): number {
  return (bits(at) << 20) | (bits(at + 1) << 15) | (bits(at + 2) << 10) | (bits(at + 3) << 5) | bits(at + 4);
}

function hasDashes(uuid: string): boolean {
  return uuid[8] === "-" && uuid[13] === "-" && uuid[18] === "-" && uuid[23] === "-";
}

function hexHalf(uuid: string, at: number): number {
  const a = hexValues[uuid.charCodeAt(at)] ?? invalid;
  const b = hexValues[uuid.charCodeAt(at + 1)] ?? invalid;
  const c = hexValues[uuid.charCodeAt(at + 2)] ?? invalid;
  const d = hexValues[uuid.charCodeAt(at + 3)] ?? invalid;
  if ((a | b | c | d) > 15) throw new TypeError("not a uuid");
  return (a << 12) | (b << 8) | (c << 4) | d;
}

function hexWord(uuid: string, at: number): number {
  return ((hexHalf(uuid, at) << 16) | hexHalf(uuid, at + 4)) >>> 0;
}

function hex16(value: number): string {
  return `${hexPairs[value >>> 8]}${hexPairs[value & 255]}`;
}

function hex32(value: number): string {
  return `${hexPairs[value >>> 24]}${hexPairs[(value >>> 16) & 255]}${hexPairs[(value >>> 8) & 255]}${hexPairs[value & 255]}`;
}

function uuidV7(ms: number, sequence: number, random: Uint8Array, at: number): string {
  const time = `${hex32(Math.floor(ms / 65536) >>> 0)}-${hex16(ms % 65536)}-${hex16(0x7000 | sequence)}`;
  const variant = `${hexPairs[0x80 | ((random[at] ?? 0) & 0x3f)]}${hexPairs[random[at + 1] ?? 0]}`;
  const tail = `${hexPairs[random[at + 2] ?? 0]}${hexPairs[random[at + 3] ?? 0]}${hexPairs[random[at + 4] ?? 0]}`;
  const end = `${hexPairs[random[at + 5] ?? 0]}${hexPairs[random[at + 6] ?? 0]}${hexPairs[random[at + 7] ?? 0]}`;
  return `${time}-${variant}-${tail}${end}`;
}

function notAnId(noun: IdNoun, text: string, field: string): Error {
  const prefix = idPrefixes[noun];
  const given = /^([a-z]+)_/.exec(text)?.[1];
  const other = Object.entries(idPrefixes).find(([, known]) => known === given && known !== prefix)?.[0];
  const example = `${prefix}_ and 26 characters of 0-9 a-z`;
  const message =
    other === undefined ? `must be a ${noun} id: ${example}` : `is a ${other} id; a ${noun} id is ${example}`;
  return invalidArgument([{ field, message }]);
}
