import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Payload } from "@muster/client/v1/payload";
import { JobFailure } from "./failure.ts";

const nullBytes = Buffer.from("null");

/**
 * A value as UTF-8 JSON; undefined becomes null. Throws a JobFailure that is not retryable when it cannot be:
 * `<WHAT>_NOT_JSON`, `<WHAT>_TOO_LARGE` above `maxBytes`, or `<WHAT>_HAS_NUL`.
 */
export function encodeJson(
  value: unknown,
  what: "RESULT" | "PARTIAL" | "PAYLOAD" | "EVENT",
  maxBytes: number,
): Uint8Array {
  if (value === undefined || value === null) return nullBytes;
  const text = stringify(value, what);
  if (text.includes("\\u0000") && /(?:^|[^\\])(?:\\\\)*\\u0000/.test(text)) {
    throw refuse(what, "HAS_NUL", "holds a NUL character; remove it, or encode the bytes as base64");
  }
  const bytes = Buffer.from(text);
  if (bytes.length > maxBytes) {
    throw refuse(
      what,
      "TOO_LARGE",
      `has ${bytes.length} bytes, allowed are ${maxBytes}; store it as an artifact`,
    );
  }
  return bytes;
}

/** The value of a payload. Throws a JobFailure that is not retryable when it is not JSON. */
export function decodePayload(payload: Payload | undefined): unknown {
  const content = payload?.content;
  if (content?.case === "json") return toJson(ValueSchema, content.value);
  if (content?.case !== "data" || content.value.length === 0) return null;
  const { value } = content;
  try {
    return JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("utf8"));
  } catch (cause) {
    throw new JobFailure(
      `the payload is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        code: "PAYLOAD_NOT_JSON",
        retryable: false,
        cause,
      },
    );
  }
}

function stringify(value: unknown, what: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw refuse(what, "NOT_JSON", `cannot be written as JSON: ${why}`, cause);
  }
  if (text === undefined)
    throw refuse(what, "NOT_JSON", `cannot be written as JSON: it is a ${typeof value}`);
  return text;
}

function refuse(what: string, code: string, why: string, cause?: unknown): JobFailure {
  return new JobFailure(`the ${what.toLowerCase()} ${why}`, {
    code: `${what}_${code}`,
    retryable: false,
    cause,
  });
}
