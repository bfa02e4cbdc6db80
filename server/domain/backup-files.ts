import { createHash } from "node:crypto";
import { pipeline, Readable, type Transform } from "node:stream";
import { constants, createGunzip, createGzip } from "node:zlib";
import { type BackupPlace, backupNameForm, manifestFile } from "../outbound/backup-place.ts";
import { linesIn } from "../store/restores.ts";
import { DomainError, invalidArgument } from "./errors.ts";
import { type Manifest, readManifest } from "./rules/backups.ts";

/** Keeps a file, compressed on the way; answers with the digest of what is kept. */
export async function writeFile(
  place: BackupPlace,
  name: string,
  file: string,
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal,
): Promise<{ readonly sizeBytes: number; readonly sha256: string }> {
  const hash = createHash("sha256");
  const packed = through(
    Readable.from(body, { objectMode: false }),
    createGzip({ level: constants.Z_BEST_SPEED }),
  );
  async function* hashed() {
    for await (const chunk of packed) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const { sizeBytes } = await place.write(name, file, hashed(), signal);
  return { sizeBytes, sha256: hash.digest("hex") };
}

// A stream behind another one, which fails with it. Its reader hears of that; a failure that comes when nobody reads
// any more must not be nobody's.
function through(source: Readable, next: Transform): AsyncIterable<Buffer> {
  for (const stream of [source, next]) stream.on("error", () => {});
  return pipeline(source, next, () => {});
}

/** What a backup says of itself. */
export async function manifestOf(place: BackupPlace, name: string, signal: AbortSignal): Promise<Manifest> {
  if (!backupNameForm.test(name)) {
    throw invalidArgument([{ field: "name", message: "must be the name of a backup, as the list shows it" }]);
  }
  const body = await place.read(name, manifestFile, signal);
  if (body === null) {
    throw new DomainError("VALIDATION_FAILED", {
      message: `there is no backup ${name} at ${place.shown}`,
      suggestion: "See those that there are with: muster backup list.",
    });
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  try {
    return readManifest(Buffer.concat(chunks));
  } catch (cause) {
    throw broken(name, cause instanceof Error ? cause.message : String(cause));
  }
}

/** The text of a file, and the digest of what is kept once it was read; null: there is none. */
export async function readFile(place: BackupPlace, name: string, file: string, signal: AbortSignal) {
  const body = await place.read(name, file, signal);
  if (body === null) return null;
  const hash = createHash("sha256");
  async function* hashed(packed: AsyncIterable<Uint8Array>) {
    for await (const chunk of packed) {
      hash.update(chunk);
      yield chunk;
    }
  }
  const text = through(Readable.from(hashed(body), { objectMode: false }), createGunzip());
  return { text, sha256: () => hash.digest("hex") };
}

/** How many lines a file has, and its digest; empty when it cannot be read to its end. Null: there is none. */
export async function lookAt(place: BackupPlace, name: string, file: string, signal: AbortSignal) {
  const read = await readFile(place, name, file, signal);
  if (read === null) return null;
  let lines = 0;
  try {
    for await (const chunk of read.text) lines += linesIn(chunk);
  } catch (error) {
    signal.throwIfAborted();
    if (!isZlibError(error)) throw error;
    return { lines, sha256: "" };
  }
  return { lines, sha256: read.sha256() };
}

function isZlibError(error: unknown): boolean {
  return error instanceof Error && "code" in error && String(error.code).startsWith("Z_");
}

/** A backup that is not as it was written. */
export function broken(name: string, why: string): DomainError {
  return new DomainError("VALIDATION_FAILED", {
    message: `the backup ${name} cannot be used: ${why}`,
    suggestion: "Nothing was restored. See what is wrong with: muster backup verify; use another backup.",
  });
}
