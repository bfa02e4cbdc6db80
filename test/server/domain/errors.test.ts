import { describe, expect, test } from "vitest";
import { type ErrorReason, errorReasons } from "../../../server/domain/error-reasons.ts";
import {
  alreadyExists,
  DomainError,
  failedPrecondition,
  internal,
  invalidArgument,
  notFound,
  overloaded,
  scopeMissing,
  tooLarge,
  unauthenticated,
  unavailable,
  unknownField,
} from "../../../server/domain/errors.ts";

describe("the registry of reasons", () => {
  test.each(Object.entries(errorReasons))(
    "%s has a name, a text and a suggestion fit to show",
    (reason, entry) => {
      expect(reason).toMatch(/^[A-Z][A-Z0-9_]{0,61}[A-Z0-9]$/);
      expect(entry.text).toMatch(/^[A-Z].*\.$/);
      expect(entry.suggestion).toMatch(/^[A-Z].{9,}\.$/);
    },
  );

  // Changing one of these breaks clients: a reason's code is part of the contract.
  test.each<[ErrorReason, string]>([
    ["VALIDATION_FAILED", "invalid_argument"],
    ["UNKNOWN_FIELD", "invalid_argument"],
    ["PAGE_TOKEN_INVALID", "invalid_argument"],
    ["FILTER_INVALID", "invalid_argument"],
    ["JOB_NOT_FOUND", "not_found"],
    ["BATCH_NOT_FOUND", "not_found"],
    ["WORKER_NOT_FOUND", "not_found"],
    ["QUEUE_NOT_FOUND", "not_found"],
    ["PROJECT_NOT_FOUND", "not_found"],
    ["ARTIFACT_NOT_FOUND", "not_found"],
    ["DEAD_LETTER_NOT_FOUND", "not_found"],
    ["IDEMPOTENCY_CONFLICT", "already_exists"],
    ["EXTERNAL_ID_CONFLICT", "already_exists"],
    ["NAME_TAKEN", "already_exists"],
    ["JOB_NOT_TERMINAL", "failed_precondition"],
    ["JOB_ALREADY_TERMINAL", "failed_precondition"],
    ["SUPERSEDED", "failed_precondition"],
    ["LINK_NOT_ATTACHED", "failed_precondition"],
    ["PROTOCOL_VERSION_UNSUPPORTED", "failed_precondition"],
    ["HELLO_EXPECTED", "failed_precondition"],
    ["LOG_GAP", "failed_precondition"],
    ["LINK_REPLACED", "aborted"],
    ["PAYLOAD_TOO_LARGE", "resource_exhausted"],
    ["ARTIFACT_TOO_LARGE", "resource_exhausted"],
    ["OVERLOADED", "resource_exhausted"],
    ["KEY_INVALID", "unauthenticated"],
    ["SCOPE_MISSING", "permission_denied"],
    ["WORKER_DISABLED", "permission_denied"],
    ["DATABASE_UNAVAILABLE", "unavailable"],
    ["SHUTTING_DOWN", "unavailable"],
    ["WAIT_TIMEOUT", "deadline_exceeded"],
    ["INTERNAL", "internal"],
    ["UNIMPLEMENTED", "unimplemented"],
  ])("answers %s with %s", (reason, code) => {
    expect(new DomainError(reason).code).toBe(code);
  });
});

describe("an error", () => {
  test("says what the registry says, unless more is known", () => {
    const plain = new DomainError("SUPERSEDED");
    expect(plain).toBeInstanceOf(Error);
    expect(plain).toMatchObject({
      name: "DomainError",
      reason: "SUPERSEDED",
      message: errorReasons.SUPERSEDED.text,
      suggestion: errorReasons.SUPERSEDED.suggestion,
      details: {},
      violations: [],
      retryAfterMs: undefined,
    });
    const cause = new Error("connection closed");
    const told = new DomainError("SUPERSEDED", {
      message: "m",
      suggestion: "s",
      details: { a: "1" },
      retryAfterMs: 5,
      cause,
    });
    expect(told).toMatchObject({
      message: "m",
      suggestion: "s",
      details: { a: "1" },
      retryAfterMs: 5,
      cause,
    });
  });

  test("about fields lists all of them and names the first", () => {
    const violations = [
      { field: "jobs[0].kind", message: "must not be empty" },
      { field: "jobs[1].points", message: "must be at least 1" },
    ];
    expect(invalidArgument(violations)).toMatchObject({
      code: "invalid_argument",
      message: "jobs[0].kind must not be empty (and 1 more)",
      violations,
    });
    expect(invalidArgument(violations.slice(0, 1)).message).toBe("jobs[0].kind must not be empty");
  });

  test("about an unknown field suggests the nearest known one", () => {
    expect(unknownField("payloed", "payload")).toMatchObject({
      reason: "UNKNOWN_FIELD",
      suggestion: "Did you mean payload?",
      violations: [{ field: "payloed" }],
    });
    expect(unknownField("x").suggestion).toBe(errorReasons.UNKNOWN_FIELD.suggestion);
  });

  test("about a missing thing repeats its id, cut to a sane length", () => {
    expect(notFound("JOB_NOT_FOUND", "job_1")).toMatchObject({
      code: "not_found",
      message: "There is no such job: job_1",
      details: { id: "job_1" },
    });
    expect(notFound("QUEUE_NOT_FOUND", "q".repeat(10_000)).message.length).toBeLessThan(120);
  });

  test("about a size tells the size and the limit", () => {
    expect(tooLarge("PAYLOAD_TOO_LARGE", "jobs[2].payload", 1_048_577, 1_048_576)).toMatchObject({
      code: "resource_exhausted",
      message: "jobs[2].payload has 1048577 bytes, allowed are 1048576",
      details: { field: "jobs[2].payload", sizeBytes: "1048577", limitBytes: "1048576" },
      violations: [{ field: "jobs[2].payload", reason: "PAYLOAD_TOO_LARGE" }],
      retryAfterMs: undefined,
    });
  });

  test("about a conflict or a state holds every value of its message in its details", () => {
    expect(alreadyExists("NAME_TAKEN", { name: "gpu-1" })).toMatchObject({
      message: "The name is taken (name gpu-1)",
      details: { name: "gpu-1" },
    });
    expect(failedPrecondition("JOB_ALREADY_TERMINAL", { jobId: "job_1", state: "DEAD" }).message).toBe(
      "The job has already ended (jobId job_1, state DEAD)",
    );
    expect(failedPrecondition("HELLO_EXPECTED").message).toBe(errorReasons.HELLO_EXPECTED.text);
  });

  test("about a key is the same whatever is wrong with the key", () => {
    const { message, suggestion, details, violations, reason } = unauthenticated();
    expect({ message, suggestion, details, violations, reason }).toEqual({
      message: errorReasons.KEY_INVALID.text,
      suggestion: errorReasons.KEY_INVALID.suggestion,
      details: {},
      violations: [],
      reason: "KEY_INVALID",
    });
    expect(unauthenticated.length).toBe(0);
  });

  test("about a scope names it", () => {
    expect(scopeMissing("submit")).toMatchObject({ code: "permission_denied", details: { scope: "submit" } });
  });

  test("that passes says when to try again", () => {
    expect(overloaded(250)).toMatchObject({ reason: "OVERLOADED", retryAfterMs: 250 });
    expect(overloaded(250, "RATE_LIMITED")).toMatchObject({ reason: "RATE_LIMITED", retryAfterMs: 250 });
    const cause = new Error("ECONNREFUSED");
    expect(unavailable("DATABASE_UNAVAILABLE", 1_000, cause)).toMatchObject({ retryAfterMs: 1_000, cause });
  });

  test("from the inside shows the request id and keeps the cause for the log", () => {
    const cause = new Error("select secret from orgs");
    const error = internal("req_1", cause);
    const { message, details, suggestion } = error;
    expect(JSON.stringify({ message, details, suggestion })).not.toContain("select");
    expect(error).toMatchObject({ code: "internal", details: { requestId: "req_1" }, cause });
  });
});
