import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Call } from "../call.ts";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";

/** Makes the new file that `--key-file` names, for this user alone: before the key, which could not be kept else. */
export function claimKeyFile({ surroundings }: Call, path: string): void {
  try {
    writeFileSync(resolve(surroundings.cwd, path), "", { mode: 0o600, flag: "wx" });
  } catch (cause) {
    throw usageError(`--key-file: cannot make ${path}: ${systemReason(cause)}`, "Name a new file.");
  }
}

/** Writes the text of a key that was made into it. */
export function fillKeyFile({ surroundings }: Call, path: string, keyId: string, text: string): void {
  try {
    writeFileSync(resolve(surroundings.cwd, path), `${text}\n`, { mode: 0o600 });
  } catch (cause) {
    throw new CliError(`the key ${keyId} is made, but its text could not be written to ${path}`, {
      reason: "KEY_NOT_WRITTEN",
      exitCode: exitCodes.unexpected,
      suggestion: `Revoke it with \`muster key revoke ${keyId}\`, and make another.`,
      cause,
    });
  }
}
