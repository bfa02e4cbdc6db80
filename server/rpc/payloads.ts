import { type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Payload, PayloadSchema } from "@muster/client/v1/payload";
import { type JsonReading, readJsonText, writeJsonText } from "../domain/rules/json-text.ts";
import type { Problems } from "./messages.ts";

/** The JSON text of a payload; `null` when it is absent. Anything wrong with it is a problem of the field. */
export function readPayload(
  problems: Problems,
  field: string,
  payload: Payload | undefined,
  maxBytes: number,
): string {
  const content = payload?.content;
  if (content === undefined || content.case === undefined) return "null";
  if (content.case === "data") {
    const at = `${field}.data`;
    if (isTooLarge(problems, at, content.value.length, maxBytes)) return "null";
    return settled(problems, at, readJsonText(content.value));
  }
  const at = `${field}.json`;
  const text = settled(problems, at, valueText(content.value));
  return isTooLarge(problems, at, Buffer.byteLength(text), maxBytes) ? "null" : text;
}

/** A document as generated clients read it; absent for null. */
export function writePayload(
  json: Uint8Array | string | null,
): MessageInitShape<typeof PayloadSchema> | undefined {
  if (json === null) return undefined;
  const value = typeof json === "string" ? Buffer.from(json) : json;
  return { content: { case: "data", value } };
}

function valueText(value: Extract<Payload["content"], { case: "json" }>["value"]): JsonReading {
  try {
    return writeJsonText(toJson(ValueSchema, value));
  } catch {
    // NaN and the infinities are values of the message, and of no JSON; so is a value of no kind.
    return { text: null, fault: "must be a JSON value" };
  }
}

function settled(problems: Problems, field: string, reading: JsonReading): string {
  if (reading.fault === null) return reading.text;
  problems.push({ field, message: reading.fault });
  return "null";
}

function isTooLarge(problems: Problems, field: string, sizeBytes: number, maxBytes: number): boolean {
  if (sizeBytes <= maxBytes) return false;
  const message = `has ${sizeBytes} bytes, allowed are ${maxBytes}`;
  problems.push({ field, message, reason: "PAYLOAD_TOO_LARGE" });
  return true;
}
