import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { usageError } from "../errors.ts";
import { didYouMean } from "../input/suggest.ts";

/** Names of fields, from the outside in: `["spec", "kind"]`. */
export type FieldPath = readonly string[];

/** What `--fields` chose of an answer. */
export interface ChosenFields {
  /** The field of the answer that holds what the paths are about; undefined when it is the answer itself. */
  readonly part: string | undefined;
  /** That field is a list: a row an item. */
  readonly isList: boolean;
  readonly paths: readonly FieldPath[];
}

/** Splits the value of `--fields`: `jobId,spec.kind`. Throws a usage error when it names none. */
export function readFields(text: string): readonly FieldPath[] {
  const paths = text
    .split(",")
    .map((path) => path.trim())
    .filter((path) => path !== "")
    .map((path) => path.split("."));
  if (paths.length > 0) return paths;
  throw usageError("--fields names no field", "Give names as in JSON, like --fields jobId,spec.kind.");
}

/** The field of an answer that it is about: the list of a list, the thing of a thing; undefined when there is none. */
export function mainField(schema: DescMessage): DescField | undefined {
  const [first] = schema.fields;
  if (first === undefined) return undefined;
  if (first.fieldKind === "list") return first.listKind === "message" && isList(schema) ? first : undefined;
  return first.fieldKind === "message" && !first.message.typeName.startsWith("google.") ? first : undefined;
}

/** Whether an answer is a list and nothing else. */
export function isList(schema: DescMessage): boolean {
  return /^List\w+Response$/.test(schema.name);
}

/** Finds the fields in an answer. Throws one usage error that names all that it does not have. */
export function chooseFields(schema: DescMessage, paths: readonly FieldPath[]): ChosenFields {
  const main = mainField(schema);
  const inner = main?.message;
  const isInner =
    inner !== undefined && (main?.fieldKind === "list" || !paths.some(([name]) => has(schema, name)));
  const row = isInner ? inner : schema;
  const wrong = paths.flatMap((path) => wrongPart(row, path));
  if (wrong.length > 0) {
    throw usageError("--fields names what the answer does not have", "See all fields with --json.", wrong);
  }
  return { part: isInner ? main?.jsonName : undefined, isList: isInner && main?.fieldKind === "list", paths };
}

/** The same answer in JSON with nothing but the chosen fields, and the token of the next page. */
export function pickFields(json: unknown, { part, isList, paths }: ChosenFields): unknown {
  if (part === undefined) return pick(json, paths);
  const whole = asObject(json);
  const inner = whole[part];
  const rest = whole["nextPageToken"] ? { nextPageToken: whole["nextPageToken"] } : {};
  const picked = isList ? asList(inner).map((row) => pick(row, paths)) : pick(inner, paths);
  return { [part]: picked, ...rest };
}

/** The chosen fields as text: a row an item, a text a path. */
export function fieldRows(json: unknown, { part, isList, paths }: ChosenFields): string[][] {
  const inner = part === undefined ? json : asObject(json)[part];
  return (isList ? asList(inner) : [inner]).map((row) => paths.map((path) => showValue(pluck(row, path))));
}

function has(schema: DescMessage, name: string | undefined): boolean {
  return schema.fields.some((field) => field.jsonName === name || field.name === name);
}

function wrongPart(schema: DescMessage, path: FieldPath): { field: string; message: string }[] {
  let level: DescMessage | undefined = schema;
  for (const [depth, name] of path.entries()) {
    if (level === undefined) return wrong(path, depth, []);
    const field: DescField | undefined = level.fields.find(
      (one) => one.jsonName === name || one.name === name,
    );
    const names = level.fields.map(({ jsonName }) => jsonName);
    if (field === undefined) return wrong(path, depth, names);
    // What JSON shows in its own way, and maps, may hold anything below.
    if (field.fieldKind === "map" || field.message?.typeName.startsWith("google.protobuf.")) return [];
    level = field.message;
  }
  return [];
}

function wrong(
  path: FieldPath,
  depth: number,
  names: readonly string[],
): { field: string; message: string }[] {
  const meant = didYouMean(path[depth] ?? "", names);
  const message = meant ?? (names.length === 0 ? "has nothing below" : `there are ${names.join(", ")}`);
  return [{ field: path.slice(0, depth + 1).join("."), message }];
}

function pick(value: unknown, paths: readonly FieldPath[]): unknown {
  if (Array.isArray(value)) return value.map((item) => pick(item, paths));
  const object = asObject(value);
  const picked: Record<string, unknown> = {};
  for (const [name, below] of groupByFirst(paths)) {
    const [key] = keyOf(object, name);
    if (key === undefined) continue;
    const isWhole = below.some((path) => path.length === 0);
    picked[key] = isWhole ? object[key] : pick(object[key], below);
  }
  return picked;
}

function groupByFirst(paths: readonly FieldPath[]): Map<string, FieldPath[]> {
  const groups = new Map<string, FieldPath[]>();
  for (const [first = "", ...rest] of paths) groups.set(first, [...(groups.get(first) ?? []), rest]);
  return groups;
}

function pluck(value: unknown, path: FieldPath): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  if (Array.isArray(value)) return value.map((item) => pluck(item, path));
  const object = asObject(value);
  const [key] = keyOf(object, name);
  return key === undefined ? undefined : pluck(object[key], rest);
}

// JSON spells `job_id` as `jobId`; both may be asked for.
function keyOf(object: Readonly<Record<string, unknown>>, name: string): string[] {
  const camel = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  return [name, camel].filter((key) => Object.hasOwn(object, key));
}

function showValue(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (Array.isArray(value)) return value.map(showValue).join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? Object.fromEntries(Object.entries(value)) : {};
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
