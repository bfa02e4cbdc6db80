import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CliError, usageError } from "../errors.ts";
import { exitCodes } from "../exit-codes.ts";
import { systemReason } from "../input/files.ts";

/** Writes new files below a directory: all, or none when one of them is there. Throws a CliError with all of those. */
export function writeNewFiles(directory: string, files: ReadonlyMap<string, string>): void {
  const there = [...files.keys()].filter((path) => existsSync(join(directory, path)));
  if (there.length > 0) {
    throw new CliError(`${directory} has files of these names; nothing was written`, {
      reason: "FILE_EXISTS",
      exitCode: exitCodes.conflict,
      suggestion: "Choose another name or directory, or move them away.",
      violations: there.map((field) => ({ field, message: "exists" })),
    });
  }
  try {
    for (const [path, text] of files) {
      const whole = join(directory, path);
      mkdirSync(dirname(whole), { recursive: true });
      writeFileSync(whole, text, { flag: "wx" });
    }
  } catch (cause) {
    throw usageError(`cannot write to ${directory}: ${systemReason(cause)}`, "Choose another directory.");
  }
}
