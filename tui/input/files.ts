import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { usageError } from "../errors.ts";
import type { Surroundings } from "../surroundings.ts";

/** The text of a file, or of stdin for `-`. `flag` is who asked, for the message. */
export async function readText(path: string, flag: string, surroundings: Surroundings): Promise<string> {
  const bytes = await readBytes(path, flag, surroundings);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    throw usageError(`${flag}: ${sourceName(path)} is not UTF-8 text`, "Save it as UTF-8 and try again.");
  }
}

/** What a message calls the source. */
export function sourceName(path: string): string {
  return path === "-" ? "stdin" : path;
}

async function readBytes(path: string, flag: string, surroundings: Surroundings): Promise<Uint8Array> {
  if (path === "-") return readStdin(surroundings);
  try {
    return await readFile(resolve(surroundings.cwd, path), { signal: surroundings.signal });
  } catch (cause) {
    surroundings.signal.throwIfAborted();
    throw usageError(
      `${flag}: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
}

async function readStdin({ stdin, signal }: Surroundings): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const whole = (async () => {
    for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
    return Buffer.concat(chunks);
  })();
  signal.throwIfAborted();
  return Promise.race([whole, aborted]);
}

/** What the system says of a failed file operation, for people: `no such file or directory`. */
export function systemReason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return /^[A-Z0-9_]+: ([^,]+),/.exec(error.message)?.[1] ?? error.message;
}
