import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { DependencySchema } from "@muster/client/v1/job";
import { PayloadSchema } from "@muster/client/v1/payload";
import { enumWord } from "../input/message-document.ts";
import { boundsSchema, requiredFields } from "./bounds.ts";
import type { DocumentKind } from "./documents.ts";

/** A JSON Schema. */
export interface JsonSchema {
  readonly [key: string]: unknown;
}

const duration = {
  type: "string",
  pattern: "^(0+|(\\d{1,12}(\\.\\d{1,9})?(ms|s|m|h|d))+)$",
  examples: ["30s", "1h30m"],
};

/**
 * The JSON Schema of documents, for editors: made from the messages themselves, so that a field of theirs is known here
 * as soon as it is there.
 */
export function documentsSchema(kinds: readonly DocumentKind[]): JsonSchema {
  const definitions = new Map<string, JsonSchema>();
  const documents = kinds.map(({ kind, schema, without, names }) => ({
    title: kind,
    type: "object",
    required: ["kind", "name"],
    additionalProperties: false,
    properties: {
      kind: { const: kind },
      name: {
        ...{ type: "string", minLength: 1 },
        ...(names && { pattern: names.pattern.source, description: names.words }),
      },
      spec: messageSchema(schema, definitions, without),
    },
  }));
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Muster",
    description: "A document of muster apply.",
    oneOf: documents,
    $defs: Object.fromEntries([...definitions].sort(([one], [other]) => (one < other ? -1 : 1))),
  };
}

function messageSchema(
  desc: DescMessage,
  definitions: Map<string, JsonSchema>,
  without: readonly string[] = [],
): JsonSchema {
  const fields = desc.fields.filter(({ jsonName }) => !without.includes(jsonName));
  const properties = fields.map(
    (field) => [field.jsonName, { ...fieldSchema(field, definitions), ...boundsSchema(field) }] as const,
  );
  const required = requiredFields(desc);
  return {
    type: "object",
    additionalProperties: false,
    ...(required.length > 0 && { required }),
    properties: Object.fromEntries(properties),
  };
}

function fieldSchema(field: DescField, definitions: Map<string, JsonSchema>): JsonSchema {
  switch (field.fieldKind) {
    case "message":
      return ofMessage(field.message, definitions);
    case "enum":
      return ofEnum(field.enum);
    case "list":
      return { type: "array", items: itemSchema(field, definitions) };
    case "map":
      return {
        type: "object",
        additionalProperties:
          field.mapKind === "message"
            ? ofMessage(field.message, definitions)
            : field.mapKind === "enum"
              ? ofEnum(field.enum)
              : ofScalar(field.scalar),
      };
    case "scalar":
      if (field.jsonName !== "priority") return ofScalar(field.scalar);
      return {
        oneOf: [
          { enum: ["low", "normal", "high", "critical"] },
          { type: "integer", minimum: 0, maximum: 255 },
        ],
      };
  }
}

function itemSchema(
  field: DescField & { fieldKind: "list" },
  definitions: Map<string, JsonSchema>,
): JsonSchema {
  if (field.listKind === "enum") return ofEnum(field.enum);
  if (field.listKind === "scalar") return ofScalar(field.scalar);
  const item = ofMessage(field.message, definitions);
  // A bare word is a ref, or the id of a job.
  return field.message.typeName === DependencySchema.typeName ? { oneOf: [{ type: "string" }, item] } : item;
}

function ofMessage(desc: DescMessage, definitions: Map<string, JsonSchema>): JsonSchema {
  switch (desc.typeName) {
    case "google.protobuf.Duration":
      return duration;
    case "google.protobuf.Timestamp":
      return { type: "string", examples: ["2026-11-22T14:00:00Z"] };
    case "google.protobuf.Struct":
      return { type: "object" };
    case "google.protobuf.Value":
    case PayloadSchema.typeName:
      return {};
  }
  if (!definitions.has(desc.name)) {
    // There before it is whole: a message may hold itself.
    definitions.set(desc.name, {});
    definitions.set(desc.name, messageSchema(desc, definitions));
  }
  return { $ref: `#/$defs/${desc.name}` };
}

function ofEnum(desc: DescEnum): JsonSchema {
  return { enum: desc.values.filter(({ number }) => number !== 0).map(({ name }) => enumWord(desc, name)) };
}

function ofScalar(scalar: ScalarType): JsonSchema {
  switch (scalar) {
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return { type: "string" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    default:
      return { type: "integer" };
  }
}
