import type { JobSpec } from "@muster/client/v1/job";
import { type Document, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments } from "yaml";
import type { Violation } from "../errors.ts";
import { usageError } from "../errors.ts";
import { readJobSpec } from "./job-spec.ts";
import { type Path, type SpecProblem, showPath } from "./message-document.ts";
import { didYouMean } from "./suggest.ts";

/** Jobs that a file asked for. */
export interface JobsFile {
  readonly jobs: readonly JobSpec[];
  /** Where each of them stands, for messages: `jobs.yaml:12`. */
  readonly places: readonly string[];
  /** The title of the batch, when the file gives one. */
  readonly title: string | undefined;
}

/**
 * Reads jobs from YAML (a document with a list `jobs`, or a job a document) or from JSON lines (a job a line).
 * Throws one usage error with all problems, each with file, line and column.
 */
export function readJobsFile(text: string, name: string, nowMs: number): JobsFile {
  const clean = text.replace(/^\ufeff/, "");
  const reading: ReadingFile = { name, nowMs, jobs: [], places: [], titles: [], violations: [] };
  if (isJsonLines(clean, name)) readJsonLines(clean, reading);
  else readYaml(clean, reading);
  const { jobs, places, titles, violations } = reading;
  if (violations.length > 0) {
    const count = violations.length === 1 ? "a problem" : `${violations.length} problems`;
    throw usageError(
      `${name} has ${count}; nothing was submitted`,
      "Correct the file and submit it again. Fields are described in: muster job submit --help",
      violations.slice(0, maxShown).concat(moreViolations(violations)),
    );
  }
  if (jobs.length === 0) {
    throw usageError(
      `${name} holds no jobs`,
      "Write a list jobs:, or a job a document, or a job a line of JSON.",
    );
  }
  return { jobs, places, title: titles[0] };
}

interface ReadingFile {
  readonly name: string;
  readonly nowMs: number;
  readonly jobs: JobSpec[];
  readonly places: string[];
  readonly titles: string[];
  readonly violations: Violation[];
}

/** Turns a path in a document into a place in the file. */
type Locate = (path: Path, isKey: boolean) => string;

const maxShown = 20;

function moreViolations(all: readonly Violation[]): Violation[] {
  return all.length <= maxShown ? [] : [{ field: "", message: `and ${all.length - maxShown} more` }];
}

// An object that opens on its first line and goes on behind the brace: JSON lines. A lone brace opens a document.
function isJsonLines(text: string, name: string): boolean {
  if (/\.(jsonl|ndjson)$/i.test(name)) return true;
  if (/\.ya?ml$/i.test(name)) return false;
  return /^\s*\{[^\r\n]*\S[^\r\n]*(\r?\n|$)/.test(text) && !/^\s*\{\s*(\r?\n|$)/.test(text);
}

function readJsonLines(text: string, file: ReadingFile): void {
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "") continue;
    const place = `${file.name}:${index + 1}`;
    let document: unknown;
    try {
      document = JSON.parse(line);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      file.violations.push({ field: place, message: `is not JSON: ${why}` });
      continue;
    }
    readDocument(document, file, () => place);
  }
}

function readYaml(text: string, file: ReadingFile): void {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  const placeOf = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file.name}:${line}:${col}`;
  };
  if (!Array.isArray(documents)) return;
  for (const document of documents) {
    for (const error of document.errors) {
      file.violations.push({ field: placeOf(error.pos[0]), message: `is not YAML: ${error.message}` });
    }
    if (document.errors.length > 0 || document.contents === null) continue;
    const value = plainValue(document, file, placeOf);
    // Nothing after a last `---` is no job.
    if (value !== undefined && value.document !== null) {
      readDocument(value.document, file, (path, isKey) => placeOf(offsetOf(document, path, isKey)));
    }
  }
}

function plainValue(
  document: Document,
  file: ReadingFile,
  placeOf: (offset: number) => string,
): { readonly document: unknown } | undefined {
  try {
    return { document: document.toJS() };
  } catch (cause) {
    // An alias without an anchor, or so many of them that the document would explode.
    const message = cause instanceof Error ? cause.message : String(cause);
    file.violations.push({ field: placeOf(offsetOf(document, [], false)), message });
    return undefined;
  }
}

function readDocument(document: unknown, file: ReadingFile, locate: Locate): void {
  const problems: SpecProblem[] = [];
  const add = (value: unknown, path: Path): void => {
    const job = readJobSpec(value, path, file.nowMs, problems);
    if (job === undefined) return;
    file.jobs.push(job);
    file.places.push(locate(path, false));
  };
  if (isList(document)) {
    const jobs = document["jobs"];
    if (!Array.isArray(jobs))
      problems.push({ path: ["jobs"], message: "must be a list of jobs", isKey: false });
    else for (const [index, job] of jobs.entries()) add(job, ["jobs", index]);
    readListKeys(document, file, problems);
  } else add(document, []);
  for (const { path, message, isKey } of problems) {
    const where = showPath(path);
    file.violations.push({
      field: locate(path, isKey),
      message: where === "" ? message : `${where}: ${message}`,
    });
  }
}

function readListKeys(document: Record<string, unknown>, file: ReadingFile, problems: SpecProblem[]): void {
  for (const [key, value] of Object.entries(document)) {
    if (key === "jobs") continue;
    if (key === "title" && typeof value === "string") file.titles.push(value);
    else if (key === "title") problems.push({ path: [key], message: "must be text", isKey: false });
    else {
      const meant = didYouMean(key, ["jobs", "title"]) ?? "Beside jobs there is only title.";
      problems.push({ path: [key], message: `unknown field ${JSON.stringify(key)}; ${meant}`, isKey: true });
    }
  }
}

function isList(document: unknown): document is Record<string, unknown> {
  return typeof document === "object" && document !== null && "jobs" in document;
}

/** The offset of what the path names, or of the deepest part of it that the file has. */
export function offsetOf(document: Document, path: Path, isKey: boolean): number {
  let item: unknown = document.contents;
  let offset = startOf(item) ?? 0;
  for (const [depth, part] of path.entries()) {
    if (isMap(item)) {
      const pair = item.items.find(({ key }) => (isScalar(key) ? key.value : key) === part);
      const isLast = depth === path.length - 1;
      offset = startOf(isLast && isKey ? pair?.key : (pair?.value ?? pair?.key)) ?? offset;
      item = pair?.value;
    } else if (isSeq(item) && typeof part === "number") {
      item = item.items[part];
      offset = startOf(item) ?? offset;
    }
  }
  return offset;
}

function startOf(item: unknown): number | undefined {
  return isNode(item) ? item.range?.[0] : undefined;
}
