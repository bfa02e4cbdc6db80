import { Code, ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import type { Call } from "../call.ts";
import type { Violation } from "../errors.ts";
import type { Path } from "../input/message-document.ts";
import { type Plain, type PlainMap, plainMessage } from "../output/message-document.ts";
import { outOfBounds } from "./bounds.ts";
import type { WantedDocument } from "./documents.ts";
import type { Resource } from "./resource.ts";

/** One field that is not as a file wants it. */
export interface FieldChange {
  /** `job.retry.maxAttempts`. */
  readonly path: string;
  /** Undefined: it says nothing. */
  readonly before: Plain | undefined;
  readonly after: Plain | undefined;
}

/** What is to be done about one thing. */
export interface Change {
  readonly resource: Resource;
  readonly name: string;
  readonly action: "create" | "change" | "none" | "remove";
  readonly fields: readonly FieldChange[];
  /** What the file says; null for what is removed. */
  readonly document: WantedDocument | null;
  /**
   * The server could not judge it yet, since it names what is still to be made; what it said then. Null: it has judged.
   */
  readonly unchecked: string | null;
}

/** What is to be done about everything, in order; and what the server refuses. */
export interface Plan {
  readonly changes: readonly Change[];
  readonly violations: readonly Violation[];
}

/** What is still there of an earlier time, and is to go. */
export interface Leftover {
  readonly resource: Resource;
  readonly name: string;
}

/** Compares what files want with what is there. Nothing is changed. */
export async function makePlan(
  call: Call,
  resources: readonly Resource[],
  documents: readonly WantedDocument[],
  leftovers: readonly Leftover[] = [],
): Promise<Plan> {
  const changes: Change[] = [];
  const violations: Violation[] = [];
  const made: string[] = [];
  for (const resource of resources) {
    for (const document of documents.filter(({ kind }) => kind === resource.kind)) {
      const checked = await checkOne(call, resource, document, made);
      if ("violations" in checked) {
        violations.push(...checked.violations);
        continue;
      }
      const { before } = checked;
      const fields = fieldChanges(before ?? {}, checked.after);
      const action = before === null ? "create" : fields.length === 0 ? "none" : "change";
      if (action === "create") made.push(document.name);
      changes.push({
        ...{ resource, name: document.name, action, fields, document },
        unchecked: checked.unchecked,
      });
    }
  }
  for (const resource of resources.toReversed()) {
    for (const { name } of leftovers.filter((one) => one.resource.kind === resource.kind)) {
      const before = await resource.read(call, name);
      if (before === null) continue;
      changes.push({ resource, name, action: "remove", fields: [], document: null, unchecked: null });
    }
  }
  return { changes, violations };
}

/** Where two documents differ: mappings by their keys, everything else as a whole. */
export function fieldChanges(before: PlainMap, after: PlainMap, path = ""): FieldChange[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys.flatMap((key) => {
    const [was, is] = [before[key], after[key]];
    const at = path === "" ? key : `${path}.${key}`;
    if (isMap(was) && isMap(is)) return fieldChanges(was, is, at);
    return same(was, is) ? [] : [{ path: at, before: was, after: is }];
  });
}

/** The violations of a refused call, where they are in the file; null when it was refused for another reason. */
export function placed(error: unknown, resource: Resource, document: WantedDocument): Violation[] | null {
  const fields = error instanceof ConnectError ? (readError(error).detail?.violations ?? []) : [];
  if (fields.length === 0) return null;
  return fields.map(({ field, message }) => {
    const own = field.startsWith(`${resource.field}.`) ? field.slice(resource.field.length + 1) : field;
    const where = own === "name" ? document.place : document.locate(pathOf(own));
    return { field: where, message: `${own}: ${message}` };
  });
}

// What names something that the same files make is refused before that is there.
function isPending(
  error: ConnectError,
  resource: Resource,
  { spec }: WantedDocument,
  made: readonly string[],
): boolean {
  const names = (text: unknown): boolean =>
    made.some((name) => typeof text === "string" && text.includes(name));
  const violations = readError(error).detail?.violations ?? [];
  if (violations.length === 0) return names(error.rawMessage);
  return violations.every(
    ({ field, message }) => names(message) || names(valueAt(spec, ownPath(field, resource))),
  );
}

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>((inner, part) => (isRecord(inner) ? inner[part] : undefined), value);
}

function isRecord(value: unknown): value is Readonly<Record<string | number, unknown>> {
  return typeof value === "object" && value !== null;
}

// The path in the spec of a field that the server names.
function ownPath(field: string, { field: root }: Resource): Path {
  return pathOf(field.startsWith(`${root}.`) ? field.slice(root.length + 1) : field);
}

async function checkOne(
  call: Call,
  resource: Resource,
  document: WantedDocument,
  made: readonly string[],
): Promise<
  | { readonly before: PlainMap | null; readonly after: PlainMap; readonly unchecked: string | null }
  | { readonly violations: readonly Violation[] }
> {
  const wrong = boundViolations(resource, document);
  if (wrong.length > 0) return { violations: wrong };
  try {
    const after = await resource.check(call, document.name, document.spec);
    return { before: await resource.read(call, document.name), after, unchecked: null };
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    if (isPending(error, resource, document, made)) {
      const after = plainMessage(resource.schema, document.spec, resource.without);
      return { before: await resource.read(call, document.name), after, unchecked: error.rawMessage };
    }
    const violations = placed(error, resource, document);
    if (violations !== null) return { violations };
    if (error.code === Code.NotFound) {
      return { violations: [{ field: document.place, message: error.rawMessage }] };
    }
    throw error;
  }
}

// What the server would refuse only when it is asked to change something.
function boundViolations({ schema, names }: Resource, document: WantedDocument): Violation[] {
  const { name, spec, place, locate } = document;
  const wrongName = names !== undefined && !names.pattern.test(name);
  return [
    ...(wrongName ? [{ field: place, message: `name: must have ${names.words}` }] : []),
    ...outOfBounds(schema, spec).map(({ path, message }) => ({
      field: locate(path),
      message: `${path.join(".")}: ${message}`,
    })),
  ];
}

/** `a.b[2]["c d"]` as a path. */
function pathOf(field: string): Path {
  return [...field.matchAll(/\["([^"]*)"\]|\[(\d+)\]|([^.[\]]+)/g)].map(([, quoted, index, name]) =>
    index === undefined ? (quoted ?? name ?? "") : Number(index),
  );
}

function same(one: Plain | undefined, other: Plain | undefined): boolean {
  if (Array.isArray(one) && Array.isArray(other)) {
    return one.length === other.length && one.every((item, index) => same(item, other[index]));
  }
  if (isMap(one) && isMap(other)) return fieldChanges(one, other).length === 0;
  return one === other;
}

function isMap(value: Plain | undefined): value is PlainMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
