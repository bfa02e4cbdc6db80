import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { lstat, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
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
const gzipsAtOnce = 4;

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
 * Copies the files into a folder and computes what jobs must find there. Both come from one reading, so an
 * editor that saves a file meanwhile changes neither.
 */
export async function takeInputs(
  root: string,
  paths: readonly string[],
  folder: string,
  signal: AbortSignal,
): Promise<InputFile[]> {
  const inputs: InputFile[] = [];
  const left = paths.entries();
  // Each takes the next file until none is left: the iterator is shared.
  const take = async (): Promise<void> => {
    for (const [index, path] of left) {
      const bytes = await readFile(join(root, path), { signal });
      const copy = join(folder, path);
      await mkdir(dirname(copy), { recursive: true });
      await writeFile(copy, bytes);
      inputs[index] = { path, sizeBytes: bytes.length, expected: await computeFigures(bytes, signal) };
    }
  };
  await Promise.all(Array.from({ length: gzipsAtOnce }, take));
  return inputs;
}

/**
 * SHA-256 and lines by this process. The gzip size is that of this machine's `gzip`: compressors differ, so only
 * the same program gives the same size. Node's own zlib unpacks what it made, so the size is that of a whole
 * and true gzip of these bytes.
 */
export async function computeFigures(bytes: Buffer, signal: AbortSignal): Promise<Figures> {
  const packed = await gzip(bytes, signal);
  if (!gunzipSync(packed).equals(bytes)) throw new Error("gzip made something that does not unpack");
  let lines = 0;
  for (const byte of bytes) if (byte === 0x0a) lines++;
  return { sha256: createHash("sha256").update(bytes).digest("hex"), lines, gzipBytes: packed.length };
}

async function gzip(bytes: Buffer, signal: AbortSignal): Promise<Buffer> {
  const child = spawn("gzip", ["-nc"], { stdio: ["pipe", "pipe", "inherit"], signal });
  const failed = new Promise<never>((_, reject) => child.once("error", reject));
  // Its early end shows in what it made.
  child.stdin.on("error", () => {});
  child.stdin.end(bytes);
  return await Promise.race([buffer(child.stdout), failed]);
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
