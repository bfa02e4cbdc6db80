import type { DescMessage } from "@bufbuild/protobuf";
import type { z } from "zod";
import { parseYaml, plainValue, type WantedDocument } from "../apply/documents.ts";
import type { Violation } from "../errors.ts";
import { offsetOf } from "../input/jobs-file.ts";
import { type Path, readMessage, type SpecProblem, showPath } from "../input/message-document.ts";
import { nearest } from "../input/suggest.ts";
import { quote } from "../input/values.ts";

/** A file of another job runner: one YAML document that is read in one go. */
export interface OldFile<Form> {
  readonly form: Form;
  /** `scheduler.yaml:12:5` of a path in it. */
  readonly locate: (path: Path, isKey?: boolean) => string;
}

/** Something to make of one entry of it. */
export interface OldEntry {
  readonly kind: string;
  readonly schema: DescMessage;
  readonly name: string;
  /** As people write it in a file for apply. */
  readonly spec: Readonly<Record<string, unknown>>;
  /** Where the entry is. */
  readonly path: Path;
  /** Which field of the entry a field of the spec came from. */
  readonly origins: Readonly<Record<string, string>>;
}

/** Reads a file by its form. Every problem has its line and column; null when there are some. */
export function readOldFile<Schema extends z.ZodType>(
  text: string,
  name: string,
  schema: Schema,
  violations: Violation[],
): OldFile<z.infer<Schema>> | null {
  const before = violations.length;
  const [first, ...others] = parseYaml(text, name, violations);
  if (violations.length > before) return null;
  if (first === undefined || others.length > 0) {
    violations.push({ field: name, message: first === undefined ? "is empty" : "has several documents" });
    return null;
  }
  const { document, placeOf } = first;
  const locate = (path: Path, isKey = false): string => placeOf(offsetOf(document, path, isKey));
  const problems: SpecProblem[] = [];
  const value = plainValue(document, problems);
  const read = problems.length > 0 ? undefined : schema.safeParse(value);
  if (read?.success === true) return { form: read.data, locate };
  for (const issue of read?.error.issues ?? []) problems.push(...problemsOf(issue, schema));
  for (const { path, message, isKey } of problems) {
    const where = showPath(path);
    violations.push({ field: locate(path, isKey), message: where === "" ? message : `${where}: ${message}` });
  }
  return null;
}

/** What apply is to make of an entry; null, and violations, when it is not possible. */
export function documentOf(
  { kind, schema, name, spec, path, origins }: OldEntry,
  { locate }: OldFile<unknown>,
  nowMs: number,
  violations: Violation[],
): WantedDocument | null {
  const problems: SpecProblem[] = [];
  const json = readMessage(schema, spec, [], { nowMs, problems, without: ["name"] });
  const place = (specPath: Path): string => {
    const origin = origins[showPath(specPath)] ?? origins[String(specPath[0] ?? "")];
    return locate(origin === undefined ? path : [...path, origin]);
  };
  for (const problem of problems) {
    violations.push({ field: place(problem.path), message: `${showPath(problem.path)}: ${problem.message}` });
  }
  return problems.length > 0 ? null : { kind, name, spec: json, place: locate(path), locate: place };
}

function problemsOf(issue: z.core.$ZodIssue, schema: z.ZodType): SpecProblem[] {
  const path = issue.path.map((part) => (typeof part === "number" ? part : String(part)));
  if (issue.code !== "unrecognized_keys") {
    return [{ path, message: issue.message.replace(/^Invalid input: /, ""), isKey: false }];
  }
  const known = keysAt(schema, path);
  return issue.keys.map((key) => {
    const near = nearest(key, known);
    const meant = near === undefined ? `known are: ${known.join(", ")}` : `did you mean ${near}?`;
    return { path: [...path, key], message: `unknown field ${quote(key)}; ${meant}`, isKey: true };
  });
}

// The fields of the object at a path.
function keysAt(schema: unknown, path: Path): string[] {
  if (!isForm(schema)) return [];
  const [part, ...rest] = path;
  const { shape, element, innerType } = schema.def;
  if (innerType !== undefined) return keysAt(innerType, path);
  if (part === undefined) return Object.keys(shape ?? {});
  return typeof part === "number" ? keysAt(element, rest) : keysAt(shape?.[part], rest);
}

// What zod keeps of objects, lists and wrappers.
function isForm(schema: unknown): schema is {
  readonly def: {
    readonly shape?: Readonly<Record<string, unknown>>;
    readonly element?: unknown;
    readonly innerType?: unknown;
  };
} {
  return typeof schema === "object" && schema !== null && "def" in schema;
}
