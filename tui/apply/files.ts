import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { usageError, type Violation } from "../errors.ts";
import { readText, sourceName, systemReason } from "../input/files.ts";
import { quote } from "../input/values.ts";
import type { Surroundings } from "../surroundings.ts";
import { type DocumentKind, readDocuments, type WantedDocument } from "./documents.ts";

/**
 * What the files of `-f` want: files, directories (their *.yaml and *.yml, with those below), or stdin for `-`. Throws
 * one usage error with all problems of all files.
 */
export async function readFiles(
  paths: readonly string[],
  kinds: readonly DocumentKind[],
  surroundings: Surroundings,
): Promise<readonly WantedDocument[]> {
  const documents: WantedDocument[] = [];
  const violations: Violation[] = [];
  for (const path of paths.flatMap((one) => filesOf(one, surroundings))) {
    const text = await readText(path, "-f", surroundings);
    const input = {
      ...{ name: sourceName(path), kinds, nowMs: surroundings.now(), env: surroundings.env },
      fileText: (name: string) => textBeside(path, name, surroundings),
    };
    const read = readDocuments(text, input);
    documents.push(...read.documents);
    violations.push(...read.violations);
  }
  const places = new Map<string, string>();
  for (const { kind, name, place } of documents) {
    const first = places.get(`${kind} ${name}`);
    if (first === undefined) places.set(`${kind} ${name}`, place);
    else violations.push({ field: place, message: `the ${kind} ${name} is at ${first} already` });
  }
  refuseViolations(violations);
  if (documents.length === 0) throw usageError("the files hold no documents", "See `muster apply --help`.");
  return documents;
}

/** Throws a usage error with what is wrong in files, when anything is. */
export function refuseViolations(violations: readonly Violation[]): void {
  if (violations.length === 0) return;
  const more = violations.length - maxShown;
  throw usageError(
    violations.length === 1
      ? "the files have a problem; nothing was changed"
      : `the files have ${violations.length} problems; nothing was changed`,
    "Correct them and try again. The form is in `muster apply --help`, and for editors in `muster apply --schema`.",
    violations.slice(0, maxShown).concat(more > 0 ? [{ field: "", message: `and ${more} more` }] : []),
  );
}

const maxShown = 20;

/** Bytes of a file that a document takes in at most. */
const maxFileBytes = 1024 * 1024;

// Only what is beside the file that names it: whoever wrote that one may not know what else this machine has.
function textBeside(
  path: string,
  name: string,
  { cwd }: Surroundings,
): { readonly text: string } | { readonly problem: string } {
  if (path === "-") return { problem: "!file is for files; of stdin nobody knows where it is" };
  try {
    const directory = realpathSync(dirname(resolve(cwd, path)));
    const file = realpathSync(resolve(directory, name));
    if (!file.startsWith(`${directory}${sep}`)) {
      return { problem: `the file ${quote(name)} is not in the same directory or below` };
    }
    if (!statSync(file).isFile()) return { problem: `${quote(name)} is not a file` };
    if (statSync(file).size > maxFileBytes) return { problem: `the file ${quote(name)} has more than 1 MiB` };
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file)) };
  } catch (cause) {
    if (cause instanceof TypeError) return { problem: `the file ${quote(name)} is not UTF-8 text` };
    return { problem: `cannot read the file ${quote(name)}: ${systemReason(cause)}` };
  }
}

function filesOf(path: string, { cwd }: Surroundings): string[] {
  if (path === "-") return [path];
  try {
    if (!statSync(resolve(cwd, path)).isDirectory()) return [path];
    return readdirSync(resolve(cwd, path), { recursive: true, encoding: "utf8" })
      .filter((name) => /\.ya?ml$/.test(name))
      .sort()
      .map((name) => join(path, name));
  } catch (cause) {
    throw usageError(
      `-f: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
}
