import { createHash, createHmac } from "node:crypto";

/** How a key was hashed elsewhere: SHA-256 of its whole text, or its HMAC-SHA-256 under a secret that both sides have. */
export const registeredSchemes = ["sha256", "hmac"] as const;

/** One of `registeredSchemes`. */
export type RegisteredScheme = (typeof registeredSchemes)[number];

/** A hash of a text by a scheme. */
export interface ForeignHash {
  readonly scheme: RegisteredScheme;
  readonly hash: Buffer;
}

/** What a key would be registered with, by every scheme that is configured. */
export function foreignHashes(text: string, hmacSecret: string | undefined): ForeignHash[] {
  const sha256 = { scheme: "sha256" as const, hash: createHash("sha256").update(text).digest() };
  if (hmacSecret === undefined) return [sha256];
  return [sha256, { scheme: "hmac" as const, hash: createHmac("sha256", hmacSecret).update(text).digest() }];
}

/** The hash by a scheme; null when it is not configured. */
export function schemeHash(hashes: readonly ForeignHash[], scheme: string): Buffer | null {
  return hashes.find((one) => one.scheme === scheme)?.hash ?? null;
}

/**
 * The 32 bytes of a hash as another system stores it: base64url without padding (43 characters, as better-auth has
 * it), base64 (44), or hex (64). Null when it is none of them.
 */
export function readForeignHash(text: string): Buffer | null {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, "hex");
  if (!/^[A-Za-z0-9_+/-]{43}=?$/.test(text)) return null;
  const bytes = Buffer.from(text, "base64");
  return bytes.length === 32 ? bytes : null;
}
