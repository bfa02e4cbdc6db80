import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto";

/** What seals secrets that must be read again: the newest first; all of them open. */
export type SealKeys = readonly [Uint8Array, ...Uint8Array[]];

/** The keys for one purpose, of the secrets of the coordinator, newest first. */
export function deriveSealKeys(secrets: readonly [string, ...string[]], purpose: string): SealKeys {
  const derive = (secret: string) => createHmac("sha256", secret).update(`muster seal ${purpose}`).digest();
  const [first, ...others] = secrets;
  return [derive(first), ...others.map(derive)];
}

/** Encrypts a text by AES-256-GCM. `place` says whose it is: it opens there alone. */
export function sealSecret([key]: SealKeys, place: string, text: string): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(place));
  const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
}

/** The text; null when no key opens it at this place. */
export function openSecret(keys: SealKeys, place: string, sealed: Uint8Array): string | null {
  for (const key of keys) {
    try {
      const opener = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, 12)).setAAD(Buffer.from(place));
      opener.setAuthTag(sealed.subarray(12, 28));
      return Buffer.concat([opener.update(sealed.subarray(28)), opener.final()]).toString("utf8");
    } catch {
      // Sealed by another key.
    }
  }
  return null;
}
