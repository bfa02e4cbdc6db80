import { createHmac, randomBytes, randomInt, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";

/** What a key is for: calls of people and services, a worker, the enrolment of a worker, one attempt. */
export const keyTypes = ["api", "worker", "enrol", "job"] as const;

/** One of `keyTypes`. */
export type KeyType = (typeof keyTypes)[number];

/** The parts of a well-formed key. `id` may be stored and shown; `secret` may not. */
export interface KeyParts {
  readonly type: KeyType;
  readonly id: string;
  readonly secret: string;
}

/** A new key: its parts, and the text that is shown to its owner once. */
export interface GeneratedKey extends KeyParts {
  readonly text: string;
}

/**
 * A new key `mk_<type>_<id>_<secret>_<crc>`: a 12-character random id, a secret of 32 random bytes, and the
 * CRC-32 of all before it, so that a mistyped key is refused without asking the database.
 */
export function generateKey(type: KeyType): GeneratedKey {
  const id = Array.from({ length: idLength }, () => base62[randomInt(base62.length)]).join("");
  const secret = toBase62(BigInt(`0x${randomBytes(32).toString("hex")}`), secretLength);
  const body = `mk_${type}_${id}_${secret}`;
  return { type, id, secret, text: `${body}_${checksum(body)}` };
}

/**
 * The parts of a key whose form and checksum are right, else null. Never throws. The work is bounded whatever
 * comes in: text longer than any key is refused by its length.
 */
export function parseKey(text: string): KeyParts | null {
  if (text.length > longestKey) return null;
  const match = keyForm.exec(text);
  const [, type, id, secret, crc] = match ?? [];
  if (id === undefined || secret === undefined || crc === undefined || !isKeyType(type)) return null;
  if (checksum(text.slice(0, -crcLength - 1)) !== crc) return null;
  return { type, id, secret };
}

/** What is stored of a secret: its HMAC-SHA-256 under the pepper (at least 32 bytes, never in the database). */
export function hashKey(pepper: Uint8Array, secret: string): Buffer {
  return createHmac("sha256", pepper).update(secret).digest();
}

/**
 * Whether `secret` is the one whose hash is `stored`. Takes the same time for a wrong secret and for no stored
 * hash at all (null: the id is unknown), so that the answer's time does not tell which ids exist.
 */
export function verifyKey(pepper: Uint8Array, secret: string, stored: Uint8Array | null): boolean {
  const given = hashKey(pepper, secret);
  const isComparable = stored !== null && stored.length === given.length;
  const isEqual = timingSafeEqual(given, isComparable ? stored : new Uint8Array(given.length));
  return isEqual && isComparable;
}

/**
 * A key as it may be shown again: prefix with id, and the last four characters, `mk_api_<id>_…4fQz`. Text that
 * is not a key shows its last four characters if it is long, nothing of itself if it is short.
 */
export function maskKey(text: string): string {
  const parts = parseKey(text);
  if (parts !== null) return `mk_${parts.type}_${parts.id}_…${text.slice(-4)}`;
  return text.length >= 32 ? `…${text.slice(-4)}` : "…";
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const idLength = 12;
// 62^43 > 2^256 and 62^6 > 2^32: the shortest lengths that hold every value.
const secretLength = 43;
const crcLength = 6;
const keyForm = /^mk_([a-z]+)_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})_([0-9A-Za-z]{6})$/;
const longestKey = "mk_worker_".length + idLength + 1 + secretLength + 1 + crcLength;

function isKeyType(text: string | undefined): text is KeyType {
  return keyTypes.some((type) => type === text);
}

function checksum(body: string): string {
  return toBase62(BigInt(crc32(body)), crcLength);
}

function toBase62(value: bigint, length: number): string {
  let rest = value;
  let digits = "";
  for (let n = 0; n < length; n++) {
    digits = `${base62[Number(rest % 62n)]}${digits}`;
    rest /= 62n;
  }
  return digits;
}
