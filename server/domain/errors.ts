import { type ErrorReason, errorReasons } from "./error-reasons.ts";
import type { ErrorCode } from "./reason-entry.ts";

/** The reasons that carry the given code. */
export type ReasonOf<Code extends ErrorCode> = {
  [Reason in ErrorReason]: (typeof errorReasons)[Reason]["code"] extends Code ? Reason : never;
}[ErrorReason];

/** One wrong field: its path as in the proto3 JSON form (`jobs[3].retry.maxAttempts`), and what is wrong. */
export interface Violation {
  readonly field: string;
  readonly message: string;
  readonly reason?: ErrorReason;
}

/** What may be said beyond the registry's text. `message` may hold values only if `details` holds them too. */
export interface DomainErrorOptions {
  readonly message?: string;
  readonly details?: Readonly<Record<string, string>>;
  readonly suggestion?: string;
  readonly violations?: readonly Violation[];
  /** How long to wait before trying again. Absent: trying again does not help. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/**
 * The one error that domain code throws. Everything in it except `cause` and `stack` may reach the caller,
 * so no field ever holds a secret, SQL, or a value of another org.
 */
export class DomainError extends Error {
  override readonly name = "DomainError";
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly details: Readonly<Record<string, string>>;
  readonly suggestion: string;
  readonly violations: readonly Violation[];
  readonly retryAfterMs: number | undefined;

  constructor(reason: ErrorReason, options: DomainErrorOptions = {}) {
    const entry = errorReasons[reason];
    super(options.message ?? entry.text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = entry.code;
    this.reason = reason;
    this.details = options.details ?? {};
    this.suggestion = options.suggestion ?? entry.suggestion;
    this.violations = options.violations ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The request is wrong in these fields: all of them at once. The first is named in the message. */
export function invalidArgument(violations: readonly Violation[]): DomainError {
  const [first, ...others] = violations;
  if (first === undefined) return new DomainError("VALIDATION_FAILED");
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return new DomainError("VALIDATION_FAILED", {
    message: `${first.field} ${first.message}${more}`,
    violations,
  });
}

/** The dependencies of the jobs form a cycle: the violation names it in its order. */
export function dependencyCycle(violation: Violation): DomainError {
  return new DomainError("DEPENDENCY_CYCLE", {
    message: `${violation.field} ${violation.message}`,
    violations: [violation],
  });
}

/** The request has a field that its message does not have; `nearest` is a known field spelled like it. */
export function unknownField(field: string, nearest?: string): DomainError {
  return new DomainError("UNKNOWN_FIELD", {
    message: `${field} is not a field of this request`,
    violations: [{ field, message: "is not a field of this request", reason: "UNKNOWN_FIELD" }],
    ...(nearest === undefined ? {} : { suggestion: `Did you mean ${nearest}?` }),
  });
}

/** The same answer for an id that does not exist and for one of another org. */
export function notFound(reason: ReasonOf<"not_found">, id: string): DomainError {
  const shown = id.length > 80 ? `${id.slice(0, 79)}…` : id;
  return new DomainError(reason, {
    message: `${errorReasons[reason].text.slice(0, -1)}: ${shown}`,
    details: { id: shown },
  });
}

/** The field holds more than is allowed. */
export function tooLarge(
  reason: "PAYLOAD_TOO_LARGE" | "MESSAGE_TOO_LARGE" | "ARTIFACT_TOO_LARGE",
  field: string,
  sizeBytes: number,
  limitBytes: number,
): DomainError {
  const message = `has ${sizeBytes} bytes, allowed are ${limitBytes}`;
  return new DomainError(reason, {
    message: `${field} ${message}`,
    details: { field, sizeBytes: String(sizeBytes), limitBytes: String(limitBytes) },
    violations: [{ field, message, reason }],
  });
}

/** A key, external id or name that exists already with other content; `details` names both sides. */
export function alreadyExists(
  reason: ReasonOf<"already_exists">,
  details: Readonly<Record<string, string>>,
): DomainError {
  return new DomainError(reason, { message: withDetails(reason, details), details });
}

/** The thing is in a state in which this cannot be done; trying again does not help until that changes. */
export function failedPrecondition(
  reason: ReasonOf<"failed_precondition">,
  details: Readonly<Record<string, string>> = {},
): DomainError {
  return new DomainError(reason, { message: withDetails(reason, details), details });
}

/** One answer for a missing, malformed, unknown, revoked and expired key: it takes nothing to tell them apart. */
export function unauthenticated(): DomainError {
  return new DomainError("KEY_INVALID");
}

/** The key is valid and lacks the scope that the method asks for. */
export function scopeMissing(scope: string): DomainError {
  return new DomainError("SCOPE_MISSING", {
    message: `The key lacks the scope ${scope}`,
    details: { scope },
    suggestion: `Use a key with the scope ${scope}.`,
  });
}

/** The org of the call may do nothing now; `reason` is what was said when it was suspended. */
export function orgSuspended(reason: string): DomainError {
  return new DomainError("ORG_SUSPENDED", {
    message: reason === "" ? "The org is suspended" : `The org is suspended: ${reason}`,
    details: { suspendReason: reason },
  });
}

/** A queue of the coordinator is full, or the caller is above its rate. */
export function overloaded(
  retryAfterMs: number,
  reason: "OVERLOADED" | "RATE_LIMITED" | "LINKS_EXHAUSTED" | "WATCHES_EXHAUSTED" = "OVERLOADED",
): DomainError {
  return new DomainError(reason, { retryAfterMs });
}

/** The coordinator cannot answer now; what was asked may be sent again after `retryAfterMs`. */
export function unavailable(
  reason: ReasonOf<"unavailable">,
  retryAfterMs: number,
  cause?: unknown,
): DomainError {
  return new DomainError(reason, { retryAfterMs, cause });
}

/** An unexpected failure: the caller gets the request id, the log gets `cause`. */
export function internal(requestId: string, cause: unknown): DomainError {
  return new DomainError("INTERNAL", { details: { requestId }, cause });
}

function withDetails(reason: ErrorReason, details: Readonly<Record<string, string>>): string {
  const text = errorReasons[reason].text;
  const listed = Object.entries(details).map(([name, value]) => `${name} ${value}`);
  return listed.length === 0 ? text : `${text.slice(0, -1)} (${listed.join(", ")})`;
}
