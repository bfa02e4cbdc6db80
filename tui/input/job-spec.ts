import { type DescField, type DescMessage, fromJson, type JsonValue, ScalarType } from "@bufbuild/protobuf";
import { DependencySchema, type JobSpec, JobSpecSchema } from "@muster/client/v1/job";
import { PayloadSchema } from "@muster/client/v1/payload";
import { nearest } from "./suggest.ts";
import { quote, type Reading, readDuration, readPolicy, readPriority, readTime } from "./values.ts";

/** Where in a document: keys and indexes from its root. */
export type Path = readonly (string | number)[];

/** One thing that is wrong in a document. */
export interface SpecProblem {
  readonly path: Path;
  readonly message: string;
  /** It is the key that is wrong, not its value. */
  readonly isKey: boolean;
}

/**
 * Reads a job as people write it in YAML or JSON: the fields of muster.v1.JobSpec by their JSON or proto name.
 * `payload` is the document itself; durations are written like `30s`, times RFC 3339 or `in 10m`, and `priority`
 * and `dependencyPolicy` may be words; `dependsOn` lists refs and ids. Every problem is added to `problems`;
 * undefined when there is one.
 */
export function readJobSpec(
  document: unknown,
  path: Path,
  nowMs: number,
  problems: SpecProblem[],
): JobSpec | undefined {
  const before = problems.length;
  const json = readMessage(JobSpecSchema, document, path, { nowMs, problems });
  if (problems.length === before && !hasKind(json)) {
    problems.push({ path, message: "needs a kind, like kind: shell.run", isKey: false });
  }
  return problems.length === before ? fromJson(JobSpecSchema, json) : undefined;
}

/** A path in words: `jobs[3].retry.maxAttempts`. */
export function showPath(path: Path): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`),
    "",
  );
}

interface ReadInput {
  readonly nowMs: number;
  readonly problems: SpecProblem[];
}

type JsonObject = { [key: string]: JsonValue };

function readMessage(desc: DescMessage, value: unknown, path: Path, input: ReadInput): JsonObject {
  const json: JsonObject = {};
  if (!isObject(value)) {
    wrong(input, path, `must be a mapping of ${desc.name} fields, not ${typeName(value)}`);
    return json;
  }
  for (const [key, inner] of Object.entries(value)) {
    const field = desc.fields.find(({ jsonName, name }) => jsonName === key || name === key);
    const at = [...path, key];
    if (field === undefined) {
      const near = nearest(
        key,
        desc.fields.map(({ jsonName }) => jsonName),
      );
      const meant =
        near === undefined
          ? `known are: ${desc.fields.map((one) => one.jsonName).join(", ")}`
          : `did you mean ${near}?`;
      input.problems.push({ path: at, message: `unknown field ${quote(key)}; ${meant}`, isKey: true });
    } else if (inner !== null || isPayload(field)) {
      const read = readField(field, inner, at, input);
      if (read !== undefined) json[field.jsonName] = read;
    }
  }
  refuseTwins(desc, json, path, input);
  return json;
}

// Of several fields that exclude each other one may be given.
function refuseTwins(desc: DescMessage, json: JsonObject, path: Path, input: ReadInput): void {
  for (const { fields } of desc.oneofs) {
    const given = fields.map(({ jsonName }) => jsonName).filter((name) => name in json);
    if (given.length > 1) wrong(input, path, `has ${given.join(" and ")}: give one of them`);
  }
}

function readField(field: DescField, value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  switch (field.fieldKind) {
    case "message":
      return readMessageField(field.message, value, path, input);
    case "list":
      return field.listKind === "message"
        ? readDependencies(value, path, input)
        : readStrings(value, path, input);
    case "map":
      return readLabels(value, path, input);
    case "scalar":
      return readScalar(field, value, path, input);
    case "enum": {
      const word = typeof value === "string" ? value : scalarText(value);
      return accept(readPolicy(word), path, input);
    }
  }
}

function readMessageField(
  desc: DescMessage,
  value: unknown,
  path: Path,
  input: ReadInput,
): JsonValue | undefined {
  switch (desc.typeName) {
    case "google.protobuf.Duration": {
      const ms = accept(readDuration(scalarText(value)), path, input);
      return ms === undefined ? undefined : `${(ms / 1000).toFixed(3)}s`;
    }
    case "google.protobuf.Timestamp": {
      const ms = accept(
        readTime(value instanceof Date ? value.toISOString() : scalarText(value), input.nowMs),
        path,
        input,
      );
      return ms === undefined ? undefined : new Date(ms).toISOString();
    }
    case PayloadSchema.typeName:
      return readPayload(value, path, input);
    default:
      return readMessage(desc, value, path, input);
  }
}

function readPayload(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (isObject(value) && Object.keys(value).length === 1 && "json" in value) {
    // The form of the raw API; taken as a document, the handler would get one level too much.
    return wrong(input, path, "is the document itself here: leave out the inner json:");
  }
  const text = JSON.stringify(value);
  if (text === undefined) return wrong(input, path, "is not a JSON document");
  return { data: Buffer.from(text).toString("base64") };
}

function readScalar(field: DescField, value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (field.jsonName === "priority" && typeof value === "string") {
    return accept(readPriority(value), path, input);
  }
  switch (field.scalar) {
    case ScalarType.BOOL:
      return typeof value === "boolean" ? value : wrongType("true or false", value, path, input);
    case ScalarType.INT32:
      return isInt32(value) ? value : wrongType("a whole number", value, path, input);
    case ScalarType.DOUBLE:
      return typeof value === "number" ? value : wrongType("a number", value, path, input);
    default:
      return typeof value === "string" ? value : wrongType("text", value, path, input);
  }
}

function readStrings(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (!Array.isArray(value)) return wrong(input, path, `must be a list of texts, not ${typeName(value)}`);
  const texts: string[] = [];
  for (const [index, item] of value.entries()) {
    if (typeof item === "string") texts.push(item);
    else wrong(input, [...path, index], `must be text, not ${typeName(item)}`);
  }
  return texts;
}

function readDependencies(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (!Array.isArray(value)) return wrong(input, path, `must be a list of jobs, not ${typeName(value)}`);
  return value.flatMap((item, index) => readDependency(item, [...path, index], input) ?? []);
}

// A bare word is the ref of a job of the file, or the id of one that there is.
function readDependency(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (typeof value === "string") return value.startsWith("job_") ? { jobId: value } : { ref: value };
  const isEmpty = isObject(value) && Object.keys(value).length === 0;
  if (isEmpty) return wrong(input, path, "must name a job by one of ref, jobId and externalId");
  return readMessage(DependencySchema, value, path, input);
}

function readLabels(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (!isObject(value)) return wrong(input, path, `must be a mapping of texts, not ${typeName(value)}`);
  const labels: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === "string") labels[key] = item;
    else wrong(input, [...path, key], `must be text, not ${typeName(item)}; quote it`);
  }
  return labels;
}

function wrongType(expected: string, value: unknown, path: Path, input: ReadInput): undefined {
  const isPlain = typeof value === "number" || typeof value === "boolean";
  const hint = expected === "text" && isPlain ? `; quote it: "${value}"` : "";
  return wrong(input, path, `must be ${expected}, not ${typeName(value)}${hint}`);
}

function isInt32(value: unknown): value is number {
  return typeof value === "number" && (value | 0) === value;
}

function accept<Value>(reading: Reading<Value>, path: Path, input: ReadInput): Value | undefined {
  return reading.kind === "value" ? reading.value : wrong(input, path, reading.message);
}

function wrong(input: ReadInput, path: Path, message: string): undefined {
  input.problems.push({ path, message, isKey: false });
}

function hasKind(json: JsonObject): boolean {
  return typeof json["kind"] === "string" && json["kind"] !== "";
}

function isPayload(field: DescField): boolean {
  return field.fieldKind === "message" && field.message.typeName === PayloadSchema.typeName;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function scalarText(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
}

function typeName(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (typeof value === "string") return `the text ${quote(value)}`;
  return `${String(value)}`;
}
