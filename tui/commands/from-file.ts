import type { Call } from "../call.ts";
import { usageError } from "../errors.ts";
import { isGlobalOption } from "../global-options.ts";

/** Options of a `create` that takes files instead of words. */
export interface FromFileOptions {
  readonly file?: readonly string[];
  readonly dryRun?: boolean;
  readonly reason?: string;
}

/** The words of `-f`, alike for all nouns. */
export const fileOptionWords =
  "make what this file describes, as apply takes it, or - for stdin; repeat for more";

/** Makes what the files of `-f` describe. Throws a usage error when something is given that the files say. */
export async function createOfFiles(
  call: Call,
  kind: string,
  words: readonly (string | undefined)[],
  options: FromFileOptions,
): Promise<number> {
  const { file = [], dryRun = false, reason = "" } = options;
  if (ownOptions(options).length > 0 || words.some((word) => word !== undefined)) {
    throw usageError(
      "with -f the file says everything",
      "Give nothing else but --dry-run and --reason, or leave -f out.",
    );
  }
  const { createFromFiles } = await import("../apply/create.ts");
  return createFromFiles(call, { kind, paths: file, isDryRun: dryRun, reason });
}

/** The names of the options that say what a thing is: not those of all commands, nor how it is to be made. */
export function ownOptions(options: object): string[] {
  return Object.keys(options).filter(
    (name) => !["file", "dryRun", "reason"].includes(name) && !isGlobalOption(name),
  );
}

/** The words that a `create` without files needs, by their names. Throws a usage error for the first that is not there. */
export function needWords<Name extends string>(
  given: Readonly<Record<Name, string | undefined>>,
): Readonly<Record<Name, string>> {
  for (const [name, word] of Object.entries(given)) {
    if (word === undefined)
      throw usageError(`missing required argument '${name}'`, "Or give a file with -f.");
  }
  // Nothing of it is undefined.
  return given as Readonly<Record<Name, string>>;
}
