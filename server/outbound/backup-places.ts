import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { openBucketPlace } from "./backup-bucket.ts";
import {
  type BackupPlace,
  backupNameForm,
  checkNames,
  manifestFile,
  type PlaceSettings,
} from "./backup-place.ts";

/** Opens a place; a directory is made, mode 0700, when something is written. */
export function openBackupPlace(settings: PlaceSettings): BackupPlace {
  return settings.place.startsWith("s3://") ? openBucketPlace(settings) : openDirectory(settings.place);
}

function openDirectory(place: string): BackupPlace {
  const root = resolve(place);
  const unfinished = (backup: string) => join(root, `${backup}.unfinished`);
  return {
    shown: root,
    async write(backup, file, body, signal) {
      checkNames(backup, file);
      await mkdir(unfinished(backup), { recursive: true, mode: 0o700 });
      return writeFile(join(unfinished(backup), file), body, signal);
    },
    async finish(backup, manifest, signal) {
      checkNames(backup);
      await mkdir(unfinished(backup), { recursive: true, mode: 0o700 });
      await writeFile(join(unfinished(backup), manifestFile), [manifest], signal);
      await syncDirectory(unfinished(backup));
      await rename(unfinished(backup), join(root, backup));
      await syncDirectory(root);
    },
    async list() {
      const names = await readdir(root).catch(ifAbsent<string[]>([]));
      return names.filter((name) => backupNameForm.test(name)).sort();
    },
    async read(backup, file, signal) {
      checkNames(backup, file);
      const path = join(root, backup, file);
      const found = await stat(path).catch(ifAbsent(null));
      return found === null ? null : createReadStream(path, { signal, highWaterMark: 256 * 1024 });
    },
    async remove(backup) {
      checkNames(backup);
      await rm(unfinished(backup), { recursive: true, force: true });
      await rm(join(root, backup), { recursive: true, force: true });
    },
  };
}

async function writeFile(
  path: string,
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  signal: AbortSignal,
): Promise<{ readonly sizeBytes: number }> {
  // A backup holds hashes of keys and all payloads: it is for its owner alone.
  await using file = await open(path, "wx", 0o600);
  let sizeBytes = 0;
  for await (const chunk of body) {
    signal.throwIfAborted();
    sizeBytes += chunk.length;
    await file.appendFile(chunk);
  }
  await file.sync();
  return { sizeBytes };
}

// Without it a power cut could take a name away that was said to be safe.
async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, "r");
  await directory.sync();
}

function ifAbsent<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return value;
    throw error;
  };
}
