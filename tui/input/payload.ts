import { create, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Payload, PayloadSchema } from "@muster/client/v1/payload";
import { usageError } from "../errors.ts";
import type { Surroundings } from "../surroundings.ts";
import { readText, sourceName } from "./files.ts";

/** A payload of this JSON text, byte for byte. */
export function payloadOfText(text: string): Payload {
  return create(PayloadSchema, { content: { case: "data", value: new TextEncoder().encode(text) } });
}

/** The JSON text of a payload; undefined when there is none. */
export function textOfPayload(payload: Payload | undefined): string | undefined {
  switch (payload?.content.case) {
    case "data":
      return new TextDecoder().decode(payload.content.value);
    case "json":
      return JSON.stringify(toJson(ValueSchema, payload.content.value));
    case undefined:
      return undefined;
  }
}

/** What the command line says about a payload. */
export interface PayloadInput {
  /** `--data`: JSON text, `@file` or `-`. */
  readonly data: string | undefined;
  /** What follows `--`. */
  readonly argv: readonly string[];
  readonly kind: string;
}

/**
 * The payload of a job from the command line. The words after `--` are the program of a shell.run job and its
 * arguments; they join an object given by --data. Throws usage errors.
 */
export async function readPayload(
  input: PayloadInput,
  surroundings: Surroundings,
): Promise<Payload | undefined> {
  const text = input.data === undefined ? undefined : await readData(input.data, surroundings);
  const document = text === undefined ? undefined : parseData(text, input.data ?? "");
  if (input.argv.length === 0) return text === undefined ? undefined : payloadOfText(text);
  if (input.kind !== "shell.run") {
    throw usageError(
      `words after -- are the program of a shell.run job, and this is ${JSON.stringify(input.kind)}`,
      `Use --data for the payload of other kinds, or: muster job submit shell.run -- ${input.argv.join(" ")}`,
    );
  }
  if (document === undefined) return payloadOfText(JSON.stringify({ argv: input.argv }));
  if (typeof document !== "object" || document === null || Array.isArray(document) || "argv" in document) {
    throw usageError(
      "--data must be an object without argv when a program follows --",
      "Give one of the two.",
    );
  }
  return payloadOfText(JSON.stringify({ ...document, argv: input.argv }));
}

async function readData(data: string, surroundings: Surroundings): Promise<string> {
  if (data === "-") return readText("-", "--data", surroundings);
  return data.startsWith("@") ? readText(data.slice(1), "--data", surroundings) : data;
}

function parseData(text: string, data: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const source = data === "-" || data.startsWith("@") ? ` ${sourceName(data.replace(/^@/, ""))}` : "";
    const why = cause instanceof Error ? cause.message : String(cause);
    throw usageError(
      `--data${source} is not JSON: ${why}`,
      `Quote it for the shell, like --data '{"name":"x"}', or use --data @file.json.`,
    );
  }
}
