import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { lstat, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";

/** A file that a job counts, with what must come out. */
export interface InputFile {
  /** From the root of the repository, with `/`. */
  readonly path: string;
  readonly sizeBytes: number;
  /** What this process computed of the same bytes. */
  readonly expected: Figures;
}

/** What is counted of a file. */
export interface Figures {
  /** In hex. */
  readonly sha256: string;
  /** Newlines, as `wc -l` counts them. */
  readonly lines: number;
  readonly gzipBytes: number;
}

/** Which files there are, and who said so. */
export interface FileList {
  readonly source: "git" | "walk";
  /** Sorted. Those that are no regular files (links, deleted ones) are left out. */
  readonly paths: readonly string[];
}

const notWalked = new Set(["node_modules", "dist", "coverage", ".git"]);
const readsAtOnce = 8;

/** The tracked files of the repository; outside a checkout, all that is there but packages and what is built. */
export async function listFiles(root: string, signal: AbortSignal): Promise<FileList> {
  const tracked = await trackedFiles(root, signal);
  const source = tracked.length > 0 ? "git" : "walk";
  const paths = source === "git" ? tracked : await walk(root, "");
  const isFile = await Promise.all(
    paths.map((path) =>
      lstat(join(root, path)).then(
        (found) => found.isFile(),
        () => false,
      ),
    ),
  );
  return { source, paths: paths.filter((_, index) => isFile[index] === true).sort() };
}

/**
 * Copies the files into `folder/inputs` and computes what jobs must find there. Both come from one reading, so an
 * editor that saves a file meanwhile changes neither.
 *
 * SHA-256 and lines are computed by this process. The gzip size is that of this machine's `gzip`: compressors
 * differ, so only the same program gives the same size. Node's own zlib unpacks what it made, so the size is that
 * of a whole and true gzip of the file.
 */
export async function takeInputs(
  root: string,
  paths: readonly string[],
  folder: string,
  signal: AbortSignal,
): Promise<InputFile[]> {
  const packed = join(folder, "packed");
  await mkdir(packed);
  const read = await forEachAtOnce(paths, async (path, index) => {
    const bytes = await readFile(join(root, path), { signal });
    const copy = join(folder, "inputs", path);
    await mkdir(dirname(copy), { recursive: true });
    await writeFile(copy, bytes);
    // By number: gzip leaves files alone whose name already ends in .gz.
    await writeFile(join(packed, String(index)), bytes);
    return { path, bytes };
  });
  await promisify(execFile)("gzip", ["-nr", packed], { signal });
  const inputs = await forEachAtOnce(read, async ({ path, bytes }, index) => {
    const gzip = await readFile(join(packed, `${index}.gz`), { signal });
    if (!gunzipSync(gzip).equals(bytes))
      throw new Error(`gzip made something of ${path} that does not unpack`);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const expected = { sha256, lines: countLines(bytes), gzipBytes: gzip.length };
    return { path, sizeBytes: bytes.length, expected };
  });
  await rm(packed, { recursive: true });
  return inputs;
}

/** Newlines, as `wc -l` counts: a last line without one does not count. */
export function countLines(bytes: Uint8Array): number {
  let lines = 0;
  for (const byte of bytes) if (byte === 0x0a) lines++;
  return lines;
}

async function forEachAtOnce<Item, Result>(
  items: readonly Item[],
  body: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const left = items.entries();
  // Each takes the next item until none is left: the iterator is shared.
  const take = async (): Promise<void> => {
    for (const [index, item] of left) results[index] = await body(item, index);
  };
  await Promise.all(Array.from({ length: readsAtOnce }, take));
  return results;
}

async function trackedFiles(root: string, signal: AbortSignal): Promise<string[]> {
  try {
    const options = { cwd: root, maxBuffer: 64 * 1024 * 1024, signal };
    const { stdout } = await promisify(execFile)("git", ["ls-files", "-z"], options);
    return stdout.split("\0").filter((path) => path !== "");
  } catch {
    // No git, no checkout, or another account's.
    signal.throwIfAborted();
    return [];
  }
}

async function walk(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true });
  const found = await Promise.all(
    entries.map((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return notWalked.has(entry.name) ? [] : walk(root, path);
      return [path];
    }),
  );
  return found.flat();
}
