import { rmSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import type { Surroundings } from "../surroundings.ts";
import { systemReason } from "./files.ts";

/** What was made of a call, and what to do with it when its key is lost. */
export interface MadeKey<Answer> {
  readonly answer: Answer;
  readonly key: string;
  /** `the worker is registered`. */
  readonly made: string;
  readonly suggestion: string;
}

/**
 * Makes a key and writes it to a new file, for this user alone. The file comes first: a key that cannot be kept must
 * not be made; and it goes when none is made. Throws a usage error when the file is there or cannot be made, and
 * KEY_NOT_WRITTEN.
 */
export async function keepNewKey<Answer>(
  { cwd }: Pick<Surroundings, "cwd">,
  shownPath: string,
  make: () => Promise<MadeKey<Answer>>,
  flag = "--key-file",
): Promise<Answer> {
  const path = resolve(cwd, shownPath);
  try {
    writeFileSync(path, "", { mode: 0o600, flag: "wx" });
  } catch (cause) {
    throw usageError(`${flag}: cannot make ${shownPath}: ${systemReason(cause)}`, "Name a new file.");
  }
  const { answer, ...made } = await make().catch((error: unknown) => {
    rmSync(path, { force: true });
    throw error;
  });
  writeKey({ cwd }, shownPath, made);
  return answer;
}

/** Writes a key that was made into its file, for this user alone. Throws KEY_NOT_WRITTEN. */
export function writeKey(
  { cwd }: Pick<Surroundings, "cwd">,
  shownPath: string,
  { key, made, suggestion }: Omit<MadeKey<unknown>, "answer">,
): void {
  try {
    writeFileSync(resolve(cwd, shownPath), `${key}\n`, { mode: 0o600 });
  } catch (cause) {
    throw new CliError(`${made}, but its key could not be written to ${shownPath}`, {
      reason: "KEY_NOT_WRITTEN",
      exitCode: exitCodes.unexpected,
      suggestion,
      cause,
    });
  }
}
