import { JobFailure } from "./failure.ts";
import { encodeJson } from "./json.ts";
import type { Redaction } from "./redaction.ts";

const nameForm = /^[a-z0-9][a-z0-9._-]{0,99}$/;
const maxBodyBytes = 64 * 1024;
const maxDepth = 60;

/**
 * The body of an event of a handler's own as JSON without secrets. Throws a JobFailure that is not retryable:
 * `EVENT_NAME_INVALID`, `EVENT_NOT_JSON`, `EVENT_TOO_LARGE`, `EVENT_HAS_NUL`, `EVENT_TOO_DEEP`.
 */
export function encodeEvent(name: string, body: unknown, redaction: Redaction): Uint8Array {
  if (!nameForm.test(name)) {
    const message = `the event's name ${JSON.stringify(String(name).slice(0, 100))} must be 1 to 100 characters of a-z 0-9 . _ -`;
    throw new JobFailure(message, { code: "EVENT_NAME_INVALID", retryable: false });
  }
  const data = redaction.redactJson(encodeJson(body, "EVENT", maxBodyBytes));
  if (isDeeper(JSON.parse(Buffer.from(data).toString("utf8")), maxDepth)) {
    const message = `the event is nested more than ${maxDepth} deep; store it as an artifact`;
    throw new JobFailure(message, { code: "EVENT_TOO_DEEP", retryable: false });
  }
  return data;
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((one) => isDeeper(one, depth - 1));
}
