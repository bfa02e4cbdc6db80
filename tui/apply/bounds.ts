import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { ProjectSchema } from "@muster/client/v1/project_service";
import { QueueLimitsSchema, StartRateSchema } from "@muster/client/v1/queue_service";
import type { JsonObject, Path } from "../input/message-document.ts";

/** A closed form of names. The source of its pattern is also one of JSON Schema. */
export interface NameForm {
  readonly pattern: RegExp;
  /** `1 to 100 characters of a-z`. */
  readonly words: string;
}

/** A value that is out of bounds: its path in the spec, and what it must be. */
export interface OutOfBounds {
  readonly path: Path;
  readonly message: string;
}

/** Names of queues, kinds and pools. */
export const slugForm: NameForm = {
  pattern: /^[a-z0-9._-]{1,100}$/,
  words: "1 to 100 characters of a-z 0-9 . _ -",
};

/** Names of projects. */
export const projectForm: NameForm = {
  pattern: /^[a-zA-Z0-9._/-]{1,200}$/,
  words: "1 to 200 characters of a-z A-Z 0-9 . _ - /",
};

/** What a field may hold: a count or a duration in seconds from `least` to `most`, or a text of a form. */
type Bound = {
  /** The message makes no sense without it. */
  readonly isRequired?: boolean;
} & (
  | {
      readonly least: number;
      readonly most: number;
      readonly words: string;
      /** What to do for what 0 is meant to say. */
      readonly forZero?: string;
    }
  | { readonly form: NameForm }
);

const jobs = { least: 1, most: 1_000_000, words: "1 to 1,000,000" };

// As the messages document them: their services have no dry run that would say so before anything is changed.
const bounds: Readonly<Record<string, Readonly<Record<string, Bound>>>> = {
  [QueueLimitsSchema.typeName]: {
    running: { ...jobs, forZero: "to let nothing start, pause it instead" },
  },
  [StartRateSchema.typeName]: {
    jobs: { ...jobs, isRequired: true },
    per: { least: 1, most: 86_400, words: "1 s to 24 h", isRequired: true },
  },
  [ProjectSchema.typeName]: {
    maxOpenPrs: {
      ...{ least: 1, most: 10_000, words: "1 to 10,000" },
      forZero: "to hold its jobs back, pause their queue instead",
    },
    repository: {
      form: {
        pattern: /^([a-zA-Z0-9_-]{1,100}\/[a-zA-Z0-9._-]{1,99})?$/,
        words: "the form owner/name of a repository at GitHub",
      },
    },
  },
};

/** All that is out of bounds in a spec. */
export function outOfBounds(desc: DescMessage, spec: JsonObject, path: Path = []): OutOfBounds[] {
  return desc.fields.flatMap((field): OutOfBounds[] => {
    const value = spec[field.jsonName];
    const at = [...path, field.jsonName];
    const bound = bounds[desc.typeName]?.[field.jsonName];
    if (bound !== undefined) return wrongWith(bound, value).map((message) => ({ path: at, message }));
    return field.fieldKind === "message" && isObject(value) ? outOfBounds(field.message, value, at) : [];
  });
}

/** What JSON Schema says of the bounds of a field beside its type. */
export function boundsSchema(field: DescField): Readonly<Record<string, unknown>> {
  const bound = bounds[field.parent.typeName]?.[field.jsonName];
  if (bound === undefined) return {};
  if ("form" in bound) return { pattern: bound.form.pattern.source, description: bound.form.words };
  // A duration is text there, of which a number says nothing.
  if (field.fieldKind !== "scalar" || field.scalar === ScalarType.STRING) return { description: bound.words };
  return { minimum: bound.least, maximum: bound.most };
}

/** The fields that a message has to have, by their JSON names. */
export function requiredFields(desc: DescMessage): readonly string[] {
  return Object.entries(bounds[desc.typeName] ?? {}).flatMap(([name, { isRequired }]) =>
    isRequired === true ? [name] : [],
  );
}

function wrongWith(bound: Bound, value: unknown): string[] {
  if (value === undefined) return bound.isRequired === true ? ["is required"] : [];
  if ("form" in bound) {
    return bound.form.pattern.test(String(value)) ? [] : [`must have ${bound.form.words}`];
  }
  // A duration is seconds with an s.
  const number = Number.parseFloat(String(value));
  if (number >= bound.least && number <= bound.most) return [];
  const otherwise = number === 0 && bound.forZero !== undefined ? `; ${bound.forZero}` : "";
  return [`must be ${bound.words}${otherwise}`];
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
