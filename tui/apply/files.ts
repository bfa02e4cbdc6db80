import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { usageError, type Violation } from "../errors.ts";
import { readText, sourceName, systemReason } from "../input/files.ts";
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
    const input = { name: sourceName(path), kinds, nowMs: surroundings.now(), env: surroundings.env };
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
