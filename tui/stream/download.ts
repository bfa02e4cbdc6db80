import { createHash } from "node:crypto";
import { open, rename, rm, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";
import type { Output } from "../output/output.ts";

/** What the bytes must come to. */
export interface Expected {
  /** Negative: unknown. */
  readonly sizeBytes: number;
  /** In hex; empty: unknown. */
  readonly sha256: string;
}

/** Where the bytes go. */
export interface Target {
  readonly cwd: string;
  readonly path: string;
  /** A file that is there is replaced; else it is an error. */
  readonly replaces: boolean;
}

/** Downloads into a file: under another name until all bytes are there and right. */
export async function downloadToFile(
  url: string,
  expected: Expected,
  target: Target,
  signal: AbortSignal,
): Promise<void> {
  const path = resolve(target.cwd, target.path);
  if (!target.replaces && (await exists(path))) {
    throw usageError(
      `${target.path} is there already`,
      "Name another file with --to, or replace it with --force.",
    );
  }
  const partial = `${path}.part-${process.pid}`;
  try {
    const file = await open(partial, "wx");
    try {
      await download(url, expected, signal, async (chunk) => {
        await file.writeFile(chunk);
      });
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    if (error instanceof CliError || signal.aborted || !isSystemError(error)) throw error;
    throw usageError(`cannot write ${target.path}: ${systemReason(error)}`, "Name another file with --to.");
  }
}

/** Downloads to stdout. What is wrong with the bytes is only known at the end. */
export async function downloadToOutput(
  url: string,
  expected: Expected,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  await download(url, expected, signal, (chunk) => output.bytes(chunk));
}

async function download(
  url: string,
  expected: Expected,
  signal: AbortSignal,
  write: (chunk: Uint8Array) => Promise<void>,
): Promise<void> {
  const response = await fetch(url, { signal }).catch((cause: unknown) => {
    signal.throwIfAborted();
    throw broken(`cannot reach ${new URL(url).origin}`, exitCodes.unreachable, cause);
  });
  if (!response.ok || response.body === null) {
    throw broken(`the download was refused: ${response.status} ${response.statusText}`, exitCodes.notFound);
  }
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    hash.update(chunk);
    await write(chunk);
  }
  const isWrongSize = expected.sizeBytes >= 0 && size !== expected.sizeBytes;
  if (isWrongSize || (expected.sha256 !== "" && hash.digest("hex") !== expected.sha256.toLowerCase())) {
    throw broken("what came is not what was stored: size or SHA-256 differ", exitCodes.unexpected);
  }
}

function broken(message: string, exitCode: number, cause?: unknown): CliError {
  return new CliError(message, { reason: "DOWNLOAD_FAILED", exitCode, suggestion: "Try again.", cause });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function isSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}
