import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type ArtifactKey, ArtifactMismatchError, type ArtifactStore } from "./artifact-store.ts";
import { signedUrl, type UrlSigner } from "./artifact-urls.ts";

/** Keeps artifacts as files below one directory, for a single coordinator. */
export interface FileArtifactOptions {
  /** Made with mode 0700 if it is absent. */
  readonly directory: string;
  /** Signs the URLs, which lead to `createArtifactRoute`. */
  readonly signer: UrlSigner;
}

/**
 * Opens the store, and removes what uploads of more than an hour ago left unfinished. A file has its final
 * name only when it is whole, checked and on the disk.
 */
export async function openFileArtifacts({ directory, signer }: FileArtifactOptions): Promise<ArtifactStore> {
  const uploads = join(directory, "uploads");
  await mkdir(uploads, { recursive: true, mode: 0o700 });
  await removeStaleUploads(uploads);
  return {
    async put(key, body, expected, signal) {
      const path = pathOf(directory, key);
      const upload = join(uploads, randomUUID());
      try {
        await writeChecked(upload, body, { ...expected, sha256: key.sha256 }, signal);
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        await rename(upload, path);
        await syncDirectory(dirname(path));
      } catch (error) {
        await rm(upload, { force: true });
        throw error;
      }
    },
    async get(key, signal) {
      const path = pathOf(directory, key);
      const found = await stat(path).catch(nullIfAbsent);
      return found === null ? null : createReadStream(path, { signal });
    },
    async stat(key) {
      const found = await stat(pathOf(directory, key)).catch(nullIfAbsent);
      return found === null ? null : { sizeBytes: found.size };
    },
    async delete(key) {
      await rm(pathOf(directory, key), { force: true });
    },
    signedUrl: async (request) => signedUrl(signer, request),
  };
}

const staleUploadMs = 60 * 60_000;
const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The file of a key. Every part has a closed form, so that no key leads anywhere else. */
function pathOf(directory: string, { orgId, jobId, attempt, artifactId, sha256 }: ArtifactKey): string {
  const isClosed =
    [orgId, jobId, artifactId].every((id) => uuidForm.test(id)) &&
    Number.isInteger(attempt) &&
    attempt >= 0 &&
    /^[0-9a-f]{64}$/.test(sha256);
  if (!isClosed) throw new Error("not the key of an artifact");
  return join(directory, orgId, jobId, String(attempt), `${artifactId}-${sha256}`);
}

async function writeChecked(
  path: string,
  body: AsyncIterable<Uint8Array>,
  expected: { readonly sizeBytes: number; readonly sha256: string },
  signal: AbortSignal,
): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  const hash = createHash("sha256");
  let sizeBytes = 0;
  for await (const chunk of body) {
    signal.throwIfAborted();
    sizeBytes += chunk.length;
    if (sizeBytes > expected.sizeBytes) break;
    hash.update(chunk);
    await file.appendFile(chunk);
  }
  signal.throwIfAborted();
  if (sizeBytes !== expected.sizeBytes) {
    const sent = sizeBytes > expected.sizeBytes ? "more" : `${sizeBytes}`;
    throw new ArtifactMismatchError(`${expected.sizeBytes} bytes were announced, and ${sent} came`);
  }
  if (hash.digest("hex") !== expected.sha256) {
    throw new ArtifactMismatchError("the bytes do not have the SHA-256 that was announced");
  }
  await file.sync();
}

// Without it a power cut could take the file's name away after its row was committed.
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}

async function removeStaleUploads(uploads: string): Promise<void> {
  const oldestMs = Date.now() - staleUploadMs;
  for (const name of await readdir(uploads)) {
    const path = join(uploads, name);
    const found = await stat(path).catch(nullIfAbsent);
    if (found !== null && found.mtimeMs < oldestMs) await rm(path, { force: true });
  }
}

function nullIfAbsent(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
  throw error;
}
