import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { parseYaml } from "../apply/documents.ts";
import { usageError, type Violation } from "../errors.ts";
import { readText, sourceName, systemReason } from "../input/files.ts";
import type { Surroundings } from "../surroundings.ts";

/** A skill document as a file says it. */
export interface SkillFile {
  /** What messages call the file. */
  readonly source: string;
  /** Empty: the file does not say, nor does its place. */
  readonly name: string;
  readonly description: string;
  /** Markdown, without the front matter. */
  readonly body: string;
  /** Keys of the front matter that nothing is done with. */
  readonly unused: readonly string[];
}

/**
 * Reads skill documents: a Markdown file, stdin for `-`, or all Markdown files of a directory that say their name, such as
 * `SKILL.md` files. Throws one usage error with all problems of all files.
 */
export async function readSkillFiles(
  path: string,
  surroundings: Surroundings,
): Promise<readonly SkillFile[]> {
  const violations: Violation[] = [];
  const found: SkillFile[] = [];
  const { files, isDirectory } = filesOf(path, surroundings);
  for (const file of files) {
    const text = await readText(file, "-f", surroundings);
    const one = readSkillFile(text, sourceName(file), violations);
    // A readme beside them is no document of a skill.
    if (one !== null && (!isDirectory || one.name !== "")) found.push(one);
  }
  if (violations.length > 0) {
    throw usageError(
      "the front matter of a file is not right; nothing was put",
      "It is YAML between two lines of ---: name and description.",
      violations.slice(0, 20),
    );
  }
  if (found.length === 0) {
    throw usageError(
      `${path} holds no skill documents`,
      "A document is Markdown with name: in its front matter.",
    );
  }
  return found;
}

/** One file; null, and violations, when its front matter is not right. */
export function readSkillFile(text: string, source: string, violations: Violation[]): SkillFile | null {
  const clean = text.replace(/^\ufeff/, "");
  const front = /^---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|$)/ms.exec(clean);
  if (front === null) {
    if (!/^---[ \t]*\r?\n/.test(clean))
      return { source, name: nameOf(source), description: "", body: clean, unused: [] };
    violations.push({
      field: `${source}:1:1`,
      message: "begins with ---, and no line of --- ends the front matter",
    });
    return null;
  }
  const [whole, yaml = ""] = front;
  const before = violations.length;
  // The line of --- counts, so that places are those of the file.
  const [parsed] = parseYaml(`\n${yaml}`, source, violations);
  const value: unknown = parsed?.document.toJS() ?? {};
  const problem = (key: string, message: string): void => {
    const line = yaml.split("\n").findIndex((one) => one.startsWith(`${key}:`));
    violations.push({ field: `${source}:${line + 2}:1`, message });
  };
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    violations.push({ field: `${source}:2:1`, message: "must be a mapping: name and description" });
    return null;
  }
  const fields = new Map<string, unknown>(Object.entries(value));
  const textOf = (key: string): string => {
    const field = fields.get(key) ?? "";
    if (typeof field !== "string") problem(key, `${key} must be text`);
    return typeof field === "string" ? field.trim() : "";
  };
  const name = textOf("name") || nameOf(source);
  const description = textOf("description");
  if (violations.length > before) return null;
  const unused = [...fields.keys()].filter((key) => key !== "name" && key !== "description");
  return {
    source,
    name,
    description,
    body: clean.slice(whole.length).replace(/^(?:[ \t]*\r?\n)+/, ""),
    unused,
  };
}

// `review/SKILL.md` is named by its directory.
function nameOf(source: string): string {
  return basename(source) === "SKILL.md" && dirname(source) !== "." ? basename(dirname(source)) : "";
}

function filesOf(
  path: string,
  { cwd }: Surroundings,
): { readonly files: readonly string[]; readonly isDirectory: boolean } {
  if (path === "-") return { files: [path], isDirectory: false };
  try {
    if (!statSync(resolve(cwd, path)).isDirectory()) return { files: [path], isDirectory: false };
    const files = readdirSync(resolve(cwd, path), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".md"))
      .sort()
      .map((name) => join(path, name));
    return { files, isDirectory: true };
  } catch (cause) {
    throw usageError(
      `-f: cannot read ${path}: ${systemReason(cause)}`,
      "Check the path, and who may read it.",
    );
  }
}
