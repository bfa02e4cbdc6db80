import { createHmac, hash, randomBytes, randomInt, timingSafeEqual } from "node:crypto";
import { crc32 } from "node:zlib";

/** What a key is for: calls of people and services, a worker, the enrolment of a worker, one attempt. */
export const keyTypes = ["api", "worker", "enrol", "job"] as const;

/** One of `keyTypes`. */
export type KeyType = (typeof keyTypes)[number];

/** What a key begins with, unless configured. */
export const defaultKeyPrefix = "mk";

/** What a key may begin with: 2 to 8 lower-case letters. */
export const keyPrefixForm = /^[a-z]{2,8}$/;

/** The parts of a well-formed key. `id` may be stored and shown; `secret` may not. */
export interface KeyParts {
  readonly prefix: string;
  readonly type: KeyType;
  readonly id: string;
  readonly secret: string;
}

/** A new key: its parts, and the text that is shown to its owner once. */
export interface GeneratedKey extends KeyParts {
  readonly text: string;
}

/**
 * A new key `<prefix>_<type>_<id>_<secret>_<crc>`: a 12-character random id, a secret of 32 random bytes, and the
 * CRC-32 of all before it, so that a mistyped key is refused without asking the database.
 */
export function generateKey(type: KeyType, prefix: string = defaultKeyPrefix): GeneratedKey {
  const id = Array.from({ length: keyIdLength }, () => base62[randomInt(base62.length)]).join("");
  const secret = toBase62(randomBytes(32), secretLength);
  return { prefix, type, id, secret, text: writeKey({ prefix, type, id, secret }) };
}

/** The text of a key. */
export function writeKey({ prefix, type, id, secret }: KeyParts): string {
  const body = `${prefix}_${type}_${id}_${secret}`;
  return `${body}_${checksum(body)}`;
}

/**
 * The parts of a key whose form and checksum are right, whatever its prefix, else null. Never throws. The work is
 * bounded whatever comes in: text longer than any key is refused by its length. The id of a job's token is longer
 * than that of a key: it says what the token is for.
 */
export function parseKey(text: string): KeyParts | null {
  if (text.length > longestKey) return null;
  const match = keyForm.exec(text);
  const [, prefix, type, id, secret, crc] = match ?? [];
  if (prefix === undefined || id === undefined || secret === undefined || crc === undefined) return null;
  if (!isKeyType(type) || id.length !== (type === "job" ? jobIdLength : keyIdLength)) return null;
  if (checksum(text.slice(0, -crcLength - 1)) !== crc) return null;
  return { prefix, type, id, secret };
}

/** Whether text begins like a key of ours, of whatever prefix: then it is one, or none at all. */
export function beginsLikeKey(text: string): boolean {
  return /^[a-z]{2,8}_(api|worker|enrol|job)_/.test(text);
}

/** The last four characters of a key: what is shown of it once it is made. */
export function lastFour(text: string): string {
  return text.slice(-4);
}

/** Names a pepper in a row, and tells nothing of it: 8 hex digits. */
export function pepperVersion(pepper: Uint8Array): string {
  return createHmac("sha256", pepper).update("version").digest("hex").slice(0, 8);
}

/** What is stored of a secret: its HMAC-SHA-256 under the pepper (at least 32 bytes, never in the database). */
export function hashKey(pepper: Uint8Array, secret: string): Buffer {
  return createHmac("sha256", pepper).update(secret).digest();
}

/**
 * What a key is known by in the memory of one process, whose salt it is: what is kept there is no key. It is made at
 * each call, and in one go: an HMAC with a key was a twelfth of what a small call cost.
 */
export function digestOf(salt: string, text: string): string {
  return hash("sha256", `${salt} ${text}`, "base64");
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
  if (parts !== null) return `${parts.prefix}_${parts.type}_${parts.id}_…${lastFour(text)}`;
  return text.length >= 32 ? `…${text.slice(-4)}` : "…";
}

/** What a job's token is for: one attempt, while its lease is current. */
export interface TokenLease {
  readonly orgId: string;
  readonly jobId: string;
  readonly leaseId: string;
  readonly attempt: number;
}

/**
 * The token of an attempt, of the form of a key. Nothing is stored of it: its id says what it is for, and its secret
 * is the HMAC-SHA-256 of the id under `secret`, which the coordinators alone know.
 */
export function writeJobToken(secret: Uint8Array, lease: TokenLease, prefix: string): string {
  const attempt = Buffer.alloc(4);
  attempt.writeUInt32BE(lease.attempt);
  const ids = [lease.orgId, lease.jobId, lease.leaseId].map((id) =>
    Buffer.from(id.replaceAll("-", ""), "hex"),
  );
  const id = toBase62(Buffer.concat([...ids, attempt]), jobIdLength);
  return writeKey({ prefix, type: "job", id, secret: tokenSecret(secret, id) });
}

/** What a token is for whose secret is right under one of `secrets`; else null. */
export function readJobToken(secrets: readonly Uint8Array[], parts: KeyParts): TokenLease | null {
  const given = Buffer.from(parts.secret);
  const isOurs = secrets.some((secret) => timingSafeEqual(given, Buffer.from(tokenSecret(secret, parts.id))));
  let value = 0n;
  for (const digit of parts.id) value = value * 62n + BigInt(base62.indexOf(digit));
  const hex = value.toString(16).padStart(2 * jobBytes, "0");
  if (!isOurs || hex.length > 2 * jobBytes) return null;
  const [orgId = "", jobId = "", leaseId = ""] = [0, 32, 64].map((at) =>
    hex.slice(at, at + 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
  );
  return { orgId, jobId, leaseId, attempt: Number.parseInt(hex.slice(96), 16) };
}

function tokenSecret(secret: Uint8Array, id: string): string {
  return toBase62(createHmac("sha256", secret).update(`job ${id}`).digest(), secretLength);
}

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const keyIdLength = 12;
// 62^43 > 2^256 and 62^6 > 2^32: the shortest lengths that hold every value.
const secretLength = 43;
const crcLength = 6;
// An org, a job and a lease, of 16 bytes each, and the number of the attempt: 52 bytes.
const jobBytes = 52;
const jobIdLength = 70;
const keyForm = /^([a-z]{2,8})_([a-z]+)_([0-9A-Za-z]{12,70})_([0-9A-Za-z]{43})_([0-9A-Za-z]{6})$/;
const longestKey = "prefixes_worker_".length + jobIdLength + 1 + secretLength + 1 + crcLength;

/** Whether text is the type of a key. */
export function isKeyType(text: string | undefined): text is KeyType {
  return keyTypes.some((type) => type === text);
}

function checksum(body: string): string {
  return digitsOf(BigInt(crc32(body)), crcLength);
}

function toBase62(bytes: Uint8Array, length: number): string {
  return digitsOf(BigInt(`0x${Buffer.from(bytes).toString("hex")}`), length);
}

function digitsOf(value: bigint, length: number): string {
  let rest = value;
  let digits = "";
  for (let n = 0; n < length; n++) {
    digits = `${base62[Number(rest % 62n)]}${digits}`;
    rest /= 62n;
  }
  return digits;
}
