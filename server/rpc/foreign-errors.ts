import type { DescMessage } from "@bufbuild/protobuf";
import { Code, type ConnectError } from "@connectrpc/connect";
import { DomainError, invalidArgument, type Violation } from "../domain/errors.ts";
import { type CallBody, parsedJsonBody } from "./call-body.ts";
import { jsonViolations } from "./json-violations.ts";

/** What is known of the call in which an error came up. */
export interface FailedCall {
  readonly input: DescMessage;
  readonly body: CallBody | undefined;
}

/**
 * Says in Muster's words what an error of connect-es means; null when it is not the caller's doing or not known.
 * Those errors carry a code and a text only, so the text is looked at: a test holds each against the library.
 */
export function explainForeignError(error: ConnectError, call: FailedCall | undefined): DomainError | null {
  const text = error.rawMessage;
  switch (error.code) {
    case Code.InvalidArgument:
      return explainInvalid(text, call);
    case Code.Internal:
      return explainInternal(text);
    case Code.ResourceExhausted:
      return explainSize(text);
    case Code.DeadlineExceeded:
      return new DomainError("CALL_TIMEOUT");
    case Code.Unimplemented:
      return explainUnimplemented(text);
    default:
      return null;
  }
}

function explainInvalid(text: string, call: FailedCall | undefined): DomainError {
  if (/^cannot decode /.test(text)) return explainJson(text, call);
  if (/timeout/.test(text)) {
    return new DomainError("VALIDATION_FAILED", {
      message: `The timeout of the call cannot be kept: ${clipped(text)}`,
      suggestion: "Give the call a shorter timeout: at most 24 h.",
    });
  }
  return new DomainError("VALIDATION_FAILED", {
    message: `The request cannot be read: ${clipped(text)}`,
    suggestion: "Check how the client writes its requests: headers, framing and compression.",
  });
}

// protobuf-es: `cannot decode message muster.v1.JobSpec from JSON: key "knd" is unknown`, and the like.
function explainJson(text: string, call: FailedCall | undefined): DomainError {
  const json = call?.body === undefined ? undefined : parsedJsonBody(call.body);
  const violations = call === undefined || json === undefined ? [] : jsonViolations(call.input, json);
  const [first] = violations;
  if (first !== undefined)
    return violations.some(isKnown) ? invalidArgument(violations) : unknown(violations);
  const [, subject = "", fault = ""] = /^cannot decode (?:\w+ )?(\S+) from JSON: (.*)$/s.exec(text) ?? [];
  const key = /^key "(.*)" is unknown$/s.exec(fault)?.[1];
  if (key !== undefined) {
    const message = "is not a field of this request";
    return unknown([{ field: clipped(key), message, reason: "UNKNOWN_FIELD" }]);
  }
  if (json === undefined && call?.body !== undefined && !call.body.isCompressed) {
    return new DomainError("VALIDATION_FAILED", {
      message: `The body is not valid JSON: ${clipped(fault)}`,
      suggestion: "Send a JSON object; in a shell, put it into single quotes.",
    });
  }
  return invalidArgument([{ field: subject.split(".").at(-1) ?? "", message: clipped(fault) }]);
}

function isKnown(violation: Violation): boolean {
  return violation.reason !== "UNKNOWN_FIELD";
}

function unknown(violations: readonly Violation[]): DomainError {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  return new DomainError("UNKNOWN_FIELD", {
    message: `${first?.field} ${first?.message}${more}`,
    details: { field: first?.field ?? "" },
    violations,
  });
}

// A message that is not protobuf, or not of its encoding, is the caller's fault, whatever code the library gives it.
function explainInternal(text: string): DomainError | null {
  const isCallers = /^(parse binary: |received compressed envelope|decompression failed$)/.test(text);
  if (!isCallers) return null;
  return new DomainError("VALIDATION_FAILED", {
    message: `The message cannot be read: ${clipped(text.replace("parse binary: ", ""))}`,
    suggestion: "Send the message of this method, encoded as the content type says.",
  });
}

function explainSize(text: string): DomainError | null {
  const limit = /configured (read|write)MaxBytes (\d+)/.exec(text);
  if (limit === null) return null;
  const [, direction, limitBytes = ""] = limit;
  const sizeBytes = /^message size (\d+)/.exec(text)?.[1];
  const details = { limitBytes, ...(sizeBytes === undefined ? {} : { sizeBytes }) };
  if (direction === "write") {
    return new DomainError("MESSAGE_TOO_LARGE", {
      message: `The answer is larger than a message may be: ${limitBytes} bytes`,
      details,
      suggestion: "Ask for fewer rows a page.",
    });
  }
  const size = sizeBytes === undefined ? "more" : `${sizeBytes} bytes`;
  return new DomainError("MESSAGE_TOO_LARGE", {
    message: `The message is too large: it has ${size}, allowed are ${limitBytes} bytes`,
    details,
    suggestion: "Send less at once, or store the bytes as an artifact and send its id.",
  });
}

function explainUnimplemented(text: string): DomainError {
  const encodings = /^unknown compression "(.*)": supported encodings are (.*)$/s.exec(text);
  if (encodings !== null) {
    const [, given = "", known = ""] = encodings;
    return new DomainError("UNIMPLEMENTED", {
      message: `The compression ${clipped(given)} is not known; known are ${known}`,
      details: { compression: clipped(given) },
      suggestion: `Send it uncompressed, or as ${known}.`,
    });
  }
  return new DomainError("UNIMPLEMENTED", { message: clipped(text) });
}

// Texts of the library quote the caller, who may have sent megabytes.
function clipped(text: string): string {
  return text.length > 300 ? `${text.slice(0, 299)}…` : text;
}
