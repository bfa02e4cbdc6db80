import {
  type DescEnum,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  ScalarType,
} from "@bufbuild/protobuf";
import type { Violation } from "../domain/errors.ts";
import { nearestWord } from "../domain/rules/spelling.ts";

/** How many wrong fields are looked for: a body may have thousands. */
const violationsMax = 64;

/**
 * All fields of a JSON document that are unknown to the message or of the wrong type, with their paths. Only
 * called when decoding has failed; empty when the fault is not that of a field (a duplicate key, too deep).
 */
export function jsonViolations(message: DescMessage, json: JsonValue): readonly Violation[] {
  const found: Violation[] = [];
  walkMessage(message, json, "", found, 0);
  return found;
}

function walkMessage(
  message: DescMessage,
  json: JsonValue,
  path: string,
  found: Violation[],
  depth: number,
): void {
  // Types of google.protobuf have a JSON form of their own, which fromJson judges as a whole.
  if (message.typeName.startsWith("google.protobuf.")) {
    if (!decodes(() => fromJson(message, json))) add(found, path, expectedOfMessage(message));
    return;
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    add(found, path, "must be an object");
    return;
  }
  // The decoder gives up at a depth of 100; so does the search for why.
  if (depth > 100) return;
  for (const [key, value] of Object.entries(json)) {
    if (found.length >= violationsMax) return;
    const field = message.fields.find((one) => one.jsonName === key || one.name === key);
    const at = joined(path, field?.jsonName ?? shortened(key));
    if (field === undefined) {
      const names = message.fields.map((one) => one.jsonName);
      const nearest = nearestWord(key, names);
      const hint = nearest === undefined ? "" : `; did you mean ${nearest}?`;
      found.push({ field: at, message: `is not a field of this request${hint}`, reason: "UNKNOWN_FIELD" });
    } else walkField(message, field, value, at, found, depth);
  }
}

function walkField(
  message: DescMessage,
  field: DescField,
  json: JsonValue,
  path: string,
  found: Violation[],
  depth: number,
): void {
  if (json === null) return;
  if (field.fieldKind === "list") {
    if (!Array.isArray(json)) return add(found, path, "must be a list");
    for (const [index, item] of json.entries()) {
      if (found.length >= violationsMax) return;
      const at = `${path}[${index}]`;
      if (field.listKind === "message") walkMessage(field.message, item, at, found, depth + 1);
      else if (!decodes(() => fromJson(message, { [field.jsonName]: [item] }))) {
        add(found, at, expectedOfLeaf(field));
      }
    }
    return;
  }
  if (field.fieldKind === "map") {
    if (typeof json !== "object" || Array.isArray(json)) return add(found, path, "must be an object");
    for (const [key, item] of Object.entries(json)) {
      if (found.length >= violationsMax) return;
      const at = `${path}["${shortened(key)}"]`;
      if (!decodes(() => fromJson(message, { [field.jsonName]: { [key]: item } }))) {
        add(found, at, field.mapKind === "message" ? "is not valid" : expectedOfLeaf(field));
      }
    }
    return;
  }
  if (field.fieldKind === "message") return walkMessage(field.message, json, path, found, depth + 1);
  if (!decodes(() => fromJson(message, { [field.jsonName]: json }))) {
    add(found, path, expectedOfLeaf(field));
  }
}

function expectedOfMessage(message: DescMessage): string {
  switch (message.typeName) {
    case "google.protobuf.Duration":
      return 'must be a duration in seconds, like "30s" or "1.5s"';
    case "google.protobuf.Timestamp":
      return 'must be a time like "2026-01-31T12:00:00Z"';
    case "google.protobuf.Value":
      return "must be a JSON value that is nested at most 90 levels deep";
    default:
      return "is not valid";
  }
}

function expectedOfLeaf(field: DescField): string {
  if (field.enum !== undefined) return `must be one of ${enumNames(field.enum)}`;
  switch (field.scalar) {
    case ScalarType.STRING:
      return "must be text of valid Unicode";
    case ScalarType.BOOL:
      return "must be true or false";
    case ScalarType.BYTES:
      return "must be text in base64; to send JSON as it is, use the field json";
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return "must be a number";
    default:
      return "must be a whole number within its range";
  }
}

/** The values of an enum that may be given, for people. */
export function enumNames(desc: DescEnum): string {
  const names = desc.values.filter((value) => value.number !== 0).map((value) => value.name);
  return names.join(", ");
}

function decodes(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch {
    return false;
  }
}

function add(found: Violation[], path: string, message: string): void {
  found.push({ field: path === "" ? "(the whole request)" : path, message });
}

function joined(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

// A key may be as long as a message.
function shortened(key: string): string {
  return key.length > 100 ? `${key.slice(0, 99)}…` : key;
}
