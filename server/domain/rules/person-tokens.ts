import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

/** What a refresh token is for. */
export interface RefreshParts {
  readonly homeOrgId: string;
  readonly loginId: string;
  /** Which of the login's tokens it is, from 1. */
  readonly generation: number;
}

/**
 * The refresh token of a login, `mk_refresh.<what for>.<mac>`. Nothing of it is stored: it is the HMAC of what it is for
 * and of the login's seed, which only the database has, under a secret that only the coordinators have.
 */
export function writeRefreshToken(
  secret: Uint8Array,
  seed: Uint8Array,
  parts: RefreshParts,
  prefix: string,
): string {
  const generation = Buffer.alloc(4);
  generation.writeUInt32BE(parts.generation);
  const body = Buffer.concat([bytesOf(parts.homeOrgId), bytesOf(parts.loginId), generation]).toString(
    "base64url",
  );
  return `${prefix}_refresh.${body}.${mac(secret, seed, body).toString("base64url")}`;
}

/** What a refresh token says that it is for; null when it is none. Whether it is true, `isRefreshToken` tells. */
export function readRefreshToken(text: string): RefreshParts | null {
  const [, body] = refreshForm.exec(text.length > 200 ? "" : text) ?? [];
  const bytes = Buffer.from(body ?? "", "base64url");
  if (bytes.length !== 36) return null;
  return { homeOrgId: uuidAt(bytes, 0), loginId: uuidAt(bytes, 16), generation: bytes.readUInt32BE(32) };
}

/** Whether a refresh token was made for a login of this seed, under one of `secrets`. */
export function isRefreshToken(secrets: readonly Uint8Array[], seed: Uint8Array, text: string): boolean {
  const [, body = "", given = ""] = refreshForm.exec(text) ?? [];
  const bytes = Buffer.from(given, "base64url");
  return secrets.some((secret) => {
    const right = mac(secret, seed, body);
    return bytes.length === right.length && timingSafeEqual(bytes, right);
  });
}

/** A new invitation's code, `mk_invite.<which>.<secret>`: it says which org it is of. */
export function writeInvitation(orgId: string, invitationId: string, prefix: string): string {
  const which = Buffer.concat([bytesOf(orgId), bytesOf(invitationId)]).toString("base64url");
  return `${prefix}_invite.${which}.${randomBytes(24).toString("base64url")}`;
}

/** Which invitation a code is of; null when it is none. */
export function readInvitation(
  text: string,
): { readonly orgId: string; readonly invitationId: string } | null {
  const [, which] = inviteForm.exec(text.length > 200 ? "" : text) ?? [];
  const bytes = Buffer.from(which ?? "", "base64url");
  return bytes.length === 32 ? { orgId: uuidAt(bytes, 0), invitationId: uuidAt(bytes, 16) } : null;
}

/** What the code of a password is for. */
export interface ResetParts {
  readonly homeOrgId: string;
  readonly personId: string;
  /** When it ends, in seconds since 1970. */
  readonly endsAtSeconds: number;
}

/**
 * The code by which a person sets a password, `mk_reset.<what for>.<mac>`. Nothing of it is stored: it is the HMAC of
 * what it is for and of the present password's hash, so it is good until the password is another.
 */
export function writeResetCode(
  secret: Uint8Array,
  passwordHash: string,
  parts: ResetParts,
  prefix: string,
): string {
  const ends = Buffer.alloc(4);
  ends.writeUInt32BE(parts.endsAtSeconds);
  const body = Buffer.concat([bytesOf(parts.homeOrgId), bytesOf(parts.personId), ends]).toString("base64url");
  return `${prefix}_reset.${body}.${resetMac(secret, passwordHash, body).toString("base64url")}`;
}

/** What such a code says that it is for; null when it is none. Whether it is true, `isResetCode` tells. */
export function readResetCode(text: string): ResetParts | null {
  const [, body] = resetForm.exec(text.length > 200 ? "" : text) ?? [];
  const bytes = Buffer.from(body ?? "", "base64url");
  if (bytes.length !== 36) return null;
  return { homeOrgId: uuidAt(bytes, 0), personId: uuidAt(bytes, 16), endsAtSeconds: bytes.readUInt32BE(32) };
}

/** Whether such a code was made for an account with this password, under one of `secrets`. */
export function isResetCode(secrets: readonly Uint8Array[], passwordHash: string, text: string): boolean {
  const [, body = "", given = ""] = resetForm.exec(text) ?? [];
  const bytes = Buffer.from(given, "base64url");
  return secrets.some((secret) => {
    const right = resetMac(secret, passwordHash, body);
    return bytes.length === right.length && timingSafeEqual(bytes, right);
  });
}

const resetForm = /^[a-z]{2,8}_reset\.([\w-]{48})\.([\w-]{43})$/;
const refreshForm = /^[a-z]{2,8}_refresh\.([\w-]{48})\.([\w-]{43})$/;
const inviteForm = /^[a-z]{2,8}_invite\.([\w-]{43})\.[\w-]{32}$/;

function mac(secret: Uint8Array, seed: Uint8Array, body: string): Buffer {
  return createHmac("sha256", secret).update("muster refresh ").update(seed).update(body).digest();
}

function resetMac(secret: Uint8Array, passwordHash: string, body: string): Buffer {
  return createHmac("sha256", secret)
    .update("muster reset ")
    .update(body)
    .update(" ")
    .update(passwordHash)
    .digest();
}

function bytesOf(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll("-", ""), "hex");
}

function uuidAt(bytes: Buffer, start: number): string {
  const hex = bytes.toString("hex", start, start + 16);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
