import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import { DependencyPolicySchema, DependencySchema } from "@muster/client/v1/job";
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

/** A path in words: `jobs[3].retry.maxAttempts`. */
export function showPath(path: Path): string {
  return path.reduce<string>(
    (text, part) => (typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`),
    "",
  );
}

/** What reading needs besides the document. */
export interface ReadInput {
  readonly nowMs: number;
  /** Takes what is wrong. */
  readonly problems: SpecProblem[];
  /** Fields that a document has not, though the message does: those that the server sets. */
  readonly without?: readonly string[];
}

/** A message in its JSON form. */
export type JsonObject = { [key: string]: JsonValue };

/**
 * Reads a message as people write it in YAML or JSON: fields by their JSON or proto name; durations like `30s`, times
 * RFC 3339 or `in 10m`, words of an enum without its name, in lower case; a payload is the document itself. Answers
 * with its JSON form; every problem is added to `input.problems`. `without` holds for the message itself alone.
 */
export function readMessage(desc: DescMessage, value: unknown, path: Path, input: ReadInput): JsonObject {
  const json: JsonObject = {};
  const { without = [], ...rest } = input;
  const fields = desc.fields.filter(({ jsonName }) => !without.includes(jsonName));
  if (!isObject(value)) {
    wrong(input, path, `must be a mapping of ${desc.name} fields, not ${typeName(value)}`);
    return json;
  }
  for (const [key, inner] of Object.entries(value)) {
    const field = fields.find(({ jsonName, name }) => jsonName === key || name === key);
    const at = [...path, key];
    if (field === undefined) {
      const known = fields.map(({ jsonName }) => jsonName);
      const near = nearest(key, known);
      const meant = near === undefined ? `known are: ${known.join(", ")}` : `did you mean ${near}?`;
      input.problems.push({ path: at, message: `unknown field ${quote(key)}; ${meant}`, isKey: true });
    } else if (inner !== null || isPayload(field)) {
      const read = readField(field, inner, at, rest);
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
      return readList(field, value, path, input);
    case "map":
      return readMap(field, value, path, input);
    case "scalar":
      return readScalar(field, value, path, input);
    case "enum":
      return readEnum(field.enum, value, path, input);
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
    case "google.protobuf.Struct":
      return isObject(value)
        ? readJson(value, path, input)
        : wrong(input, path, `must be a mapping, not ${typeName(value)}`);
    case "google.protobuf.Value":
      return readJson(value, path, input);
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
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return Number.isSafeInteger(value) ? String(value) : wrongType("a whole number", value, path, input);
    case ScalarType.INT32:
    case ScalarType.UINT32:
      return isInt32(value) ? value : wrongType("a whole number", value, path, input);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return typeof value === "number" ? value : wrongType("a number", value, path, input);
    default:
      return typeof value === "string" ? value : wrongType("text", value, path, input);
  }
}

function readList(
  field: DescField & { fieldKind: "list" },
  value: unknown,
  path: Path,
  input: ReadInput,
): JsonValue | undefined {
  const isDependencies = field.listKind === "message" && field.message.typeName === DependencySchema.typeName;
  const items = isDependencies ? "jobs" : field.listKind === "scalar" ? "texts" : "items";
  if (!Array.isArray(value)) return wrong(input, path, `must be a list of ${items}, not ${typeName(value)}`);
  return value.flatMap((item: unknown, index) => readItem(field, item, [...path, index], input) ?? []);
}

function readItem(
  field: DescField & { fieldKind: "list" },
  item: unknown,
  path: Path,
  input: ReadInput,
): JsonValue | undefined {
  switch (field.listKind) {
    case "message":
      if (field.message.typeName === DependencySchema.typeName) return readDependency(item, path, input);
      return readMessageField(field.message, item, path, input);
    case "enum":
      return readEnum(field.enum, item, path, input);
    case "scalar":
      if (field.scalar !== ScalarType.STRING)
        return isJson(item) ? item : wrongType("a value", item, path, input);
      return typeof item === "string" ? item : wrong(input, path, `must be text, not ${typeName(item)}`);
  }
}

// The word of a value, without the name of its enum: `skip` of OVERLAP_POLICY_SKIP.
function readEnum(desc: DescEnum, value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  const text = typeof value === "string" ? value : scalarText(value);
  if (desc.typeName === DependencyPolicySchema.typeName) return accept(readPolicy(text), path, input);
  const name = text.toUpperCase().replaceAll("-", "_");
  const found = desc.values.find(
    (one) => one.name === name || enumWord(desc, one.name) === name.toLowerCase(),
  );
  if (found !== undefined && found.number !== 0) return found.name;
  const words = desc.values.filter((one) => one.number !== 0).map((one) => enumWord(desc, one.name));
  const near = nearest(text, words);
  const meant = near === undefined ? `use one of ${words.join(", ")}` : `did you mean ${near}?`;
  return wrong(input, path, `must not be ${quote(text)}; ${meant}`);
}

/** The word of an enum's value, as documents have it. */
export function enumWord(desc: DescEnum, name: string): string {
  return name.slice(desc.sharedPrefix?.length ?? 0).toLowerCase();
}

function readJson(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  const plain = value instanceof Date ? value.toISOString() : value;
  return isJson(plain) ? plain : wrong(input, path, "is not a JSON document");
}

// A bare word is the ref of a job of the file, or the id of one that there is.
function readDependency(value: unknown, path: Path, input: ReadInput): JsonValue | undefined {
  if (typeof value === "string") return value.startsWith("job_") ? { jobId: value } : { ref: value };
  const isEmpty = isObject(value) && Object.keys(value).length === 0;
  if (isEmpty) return wrong(input, path, "must name a job by one of ref, jobId and externalId");
  return readMessage(DependencySchema, value, path, input);
}

function readMap(
  field: DescField & { fieldKind: "map" },
  value: unknown,
  path: Path,
  input: ReadInput,
): JsonValue | undefined {
  const isText = field.mapKind === "scalar" && field.scalar === ScalarType.STRING;
  if (!isObject(value)) {
    return wrong(input, path, `must be a mapping${isText ? " of texts" : ""}, not ${typeName(value)}`);
  }
  const json: JsonObject = {};
  for (const [key, item] of Object.entries(value)) {
    const at = [...path, key];
    if (isText && typeof item !== "string") wrong(input, at, `must be text, not ${typeName(item)}; quote it`);
    else {
      const read =
        field.mapKind === "message"
          ? readMessageField(field.message, item, at, input)
          : field.mapKind === "enum"
            ? readEnum(field.enum, item, at, input)
            : readJson(item, at, input);
      if (read !== undefined) json[key] = read;
    }
  }
  return json;
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

function isPayload(field: DescField): boolean {
  return field.fieldKind === "message" && field.message.typeName === PayloadSchema.typeName;
}

function isJson(value: unknown): value is JsonValue {
  return JSON.stringify(value) !== undefined;
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
