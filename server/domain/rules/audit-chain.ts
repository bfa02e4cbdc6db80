import { createHash } from "node:crypto";

/** All that the hash of an entry of the audit log is of. */
export interface HashedEntry {
  readonly orgId: string;
  readonly auditId: string;
  /** Microseconds since 1970, in decimal. */
  readonly atMicros: string;
  readonly actor: string;
  readonly action: string;
  readonly target: string;
  readonly reason: string;
  readonly requestId: string;
  /** As the database writes its JSON. */
  readonly details: string;
}

/** An entry in a seal: its id, and its hash of 32 bytes. */
export interface SealedEntry {
  readonly auditId: string;
  readonly hash: Uint8Array;
}

/** What the first seal of an org follows. */
export const noHash: Uint8Array = new Uint8Array(32);

/**
 * The hash of an entry, as the database makes it (`muster.audit_hash`): SHA-256 of a canonical form, in which the
 * length of each text stands before it, in bytes.
 */
export function entryHash(entry: HashedEntry): Buffer {
  const { orgId, auditId, atMicros, actor, action, target, reason, requestId, details } = entry;
  const texts = [actor, action, target, reason, requestId, details];
  const sized = texts.map((text) => `${Buffer.byteLength(text)}:${text}`);
  return createHash("sha256")
    .update(["muster audit 1", orgId, auditId, atMicros, ...sized].join(";"))
    .digest();
}

/** The hash of a seal: of its place, of the seal before, and of its entries in their order. */
export function sealHash(
  { orgId, seal, before }: { readonly orgId: string; readonly seal: number; readonly before: Uint8Array },
  entries: readonly SealedEntry[],
): Buffer {
  const hash = createHash("sha256");
  hash.update(`muster seal 1;${orgId};${seal};${entries.length};`).update(before);
  for (const { auditId, hash: of } of entries) hash.update(auditId).update(of);
  return hash.digest();
}

/** The end of a chain: the number of its last seal, and that one's hash in hex. */
export interface ChainHead {
  readonly seal: number;
  readonly hash: string;
}

/** A head as people keep it: `12:ab…`. */
export function writeHead({ seal, hash }: ChainHead): string {
  return `${seal}:${hash}`;
}

/** The head in a text; null: it is none. */
export function readHead(text: string): ChainHead | null {
  const [, seal = "", hash = ""] = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text) ?? [];
  return hash === "" ? null : { seal: Number(seal), hash };
}
