import type { DescField, DescMessage, JsonValue } from "@bufbuild/protobuf";
import { PayloadSchema } from "@muster/client/v1/payload";
import { enumWord } from "../input/message-document.ts";

/** A message as people write it: the keys in the order of its fields. */
export type Plain = null | boolean | number | string | readonly Plain[] | PlainMap;

/** A mapping of it. */
export interface PlainMap {
  readonly [key: string]: Plain;
}

/**
 * The JSON form of a message as people write it, which `readMessage` reads back: durations like `1h30m`, words of enums,
 * a payload as the document itself. `without` are fields of the message itself that are left out. The JSON is that of
 * `toJson` as it is by default, without fields that say nothing.
 */
export function plainMessage(desc: DescMessage, json: JsonValue, without: readonly string[] = []): PlainMap {
  if (!isMap(json)) return {};
  const entries = desc.fields.flatMap((field) => {
    const value = json[field.jsonName];
    if (value === undefined || without.includes(field.jsonName)) return [];
    return [[field.jsonName, plainField(field, value)] as const];
  });
  return Object.fromEntries(entries);
}

function plainField(field: DescField, value: JsonValue): Plain {
  switch (field.fieldKind) {
    case "message":
      return plainOf(field.message, value);
    case "enum":
      return typeof value === "string" ? enumWord(field.enum, value) : value;
    case "list":
      return Array.isArray(value) ? value.map((item) => plainItem(field, item)) : value;
    case "map":
      return isMap(value)
        ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plainEntry(field, item)]))
        : value;
    case "scalar":
      return value;
  }
}

function plainItem(field: DescField & { fieldKind: "list" }, item: JsonValue): Plain {
  if (field.listKind === "message") return plainOf(field.message, item);
  return field.listKind === "enum" && typeof item === "string" ? enumWord(field.enum, item) : item;
}

function plainEntry(field: DescField & { fieldKind: "map" }, item: JsonValue): Plain {
  if (field.mapKind === "message") return plainOf(field.message, item);
  return field.mapKind === "enum" && typeof item === "string" ? enumWord(field.enum, item) : item;
}

function plainOf(desc: DescMessage, value: JsonValue): Plain {
  switch (desc.typeName) {
    case "google.protobuf.Duration":
      return typeof value === "string" ? durationWords(value) : value;
    case PayloadSchema.typeName:
      return payloadDocument(value);
    default:
      return desc.typeName.startsWith("google.protobuf.") ? value : plainMessage(desc, value);
  }
}

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

// `5400s` is `1h30m`: whole units, so that it reads back as the same.
function durationWords(seconds: string): string {
  let rest = Math.round(Number.parseFloat(seconds) * 1_000);
  const words = units.flatMap(([unit, ms]) => {
    const count = Math.floor(rest / ms);
    rest -= count * ms;
    return count === 0 ? [] : [`${count}${unit}`];
  });
  return words.join("") || "0s";
}

function payloadDocument(value: JsonValue): Plain {
  if (!isMap(value)) return null;
  if (value["json"] !== undefined) return value["json"];
  if (typeof value["data"] !== "string") return null;
  return JSON.parse(Buffer.from(value["data"], "base64").toString("utf8"));
}

function isMap(value: JsonValue): value is { [key: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
