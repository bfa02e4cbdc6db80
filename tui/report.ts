import { Code, ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { CliError, type Violation } from "./errors.ts";
import { exitCodes } from "./exit-codes.ts";
import type { Paint } from "./output/paint.ts";
import { escapeJson, sanitize } from "./output/sanitize.ts";
import { durationToMs, showDuration } from "./output/time.ts";
import { Interrupted } from "./surroundings.ts";

/** The coordinator that was called, and the flag that named it, as a `Context` has them. */
export interface Called {
  readonly address: string;
  readonly addressFlag: string;
}

/** An error on every surface of the program: text, JSON and exit code are made from it. */
export interface ErrorReport {
  /** Connect's name of the status code, e.g. `not_found`. */
  readonly code: string;
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly Violation[];
  readonly suggestion: string;
  readonly requestId: string;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly exitCode: number;
}

/** Reads any thrown value as a report. `called` is the coordinator that was called. */
export function reportError(error: unknown, called: Called | undefined): ErrorReport {
  if (error instanceof CliError) return reportCliError(error);
  if (error instanceof Interrupted) {
    return { ...plainReport("canceled", "INTERRUPTED", error.message), exitCode: error.exitCode };
  }
  if (error instanceof ConnectError) return reportCallError(error, called);
  const message = error instanceof Error ? error.message : String(error);
  return {
    ...plainReport("internal", "UNEXPECTED", message),
    suggestion:
      "This is a defect of muster: please report it, with the output of the same command and --verbose.",
  };
}

/** The report for people: `error:`, then why, what to do, and the id under which the server logged the call. */
export function renderReport(report: ErrorReport, paint: Paint): string {
  const wait = report.retryAfterMs === undefined ? "" : ` Try again in ${showDuration(report.retryAfterMs)}.`;
  const lines = [
    `${paint("red", "error:")} ${sanitize(report.message)} (${sanitize(report.reason)})`,
    ...report.fieldViolations.map(
      ({ field, message }) =>
        `  ${paint("dim", "why:")} ${sanitize(field === "" ? message : `${field}: ${message}`)}`,
    ),
    ...(report.suggestion + wait === ""
      ? []
      : [`  ${paint("dim", "fix:")} ${sanitize((report.suggestion + wait).trim())}`]),
    ...(report.requestId === "" ? [] : [`  ${paint("dim", "request:")} ${sanitize(report.requestId)}`]),
  ];
  return `${lines.join("\n")}\n`;
}

/** The report for programs: one line, one JSON object. Who reads along on a terminal is safe, too. */
export function renderReportJson(report: ErrorReport): string {
  const { exitCode: _, retryAfterMs, ...error } = report;
  const whole = { error: { ...error, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) } };
  return `${escapeJson(JSON.stringify(whole))}\n`;
}

function reportCliError(error: CliError): ErrorReport {
  return {
    ...plainReport(codeOfExit(error.exitCode), error.reason, error.message),
    fieldViolations: error.violations,
    suggestion: error.suggestion ?? "",
    exitCode: error.exitCode,
  };
}

function reportCallError(error: ConnectError, called: Called | undefined): ErrorReport {
  const { message, detail, ...read } = readError(error);
  const code = detail === undefined && isNetworkFailure(error) ? Code.Unavailable : read.code;
  const name = codeName(code);
  const exitCode = exitCodeOfStatus(code);
  if (detail === undefined) {
    const text =
      code === Code.Unavailable && called !== undefined
        ? `cannot reach ${called.address}: ${message}`
        : message;
    return {
      ...plainReport(name, name.toUpperCase(), text === "" ? name : text),
      suggestion: suggestionFor(code, called?.addressFlag ?? ""),
      retryable: code === Code.Unavailable || code === Code.DeadlineExceeded,
      exitCode,
    };
  }
  return {
    code: name,
    reason: detail.reason,
    message,
    metadata: detail.metadata,
    fieldViolations: detail.violations.map((violation) => ({
      field: violation.field,
      message: violation.message,
    })),
    suggestion: detail.suggestion,
    requestId: detail.requestId,
    retryable: detail.retryAfter !== undefined,
    retryAfterMs: detail.retryAfter === undefined ? undefined : durationToMs(detail.retryAfter),
    exitCode,
  };
}

// The transport has no one code for these: a reset is Aborted, a broken pipe Internal.
function isNetworkFailure({ cause }: ConnectError): boolean {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string";
}

// What to say when what answered was not Muster, or nothing did.
function suggestionFor(code: Code, addressFlag: string): string {
  switch (code) {
    case Code.Unavailable:
      return "Start a coordinator with `muster dev`, or name a running one with --address or MUSTER_ADDRESS.";
    case Code.DeadlineExceeded:
      return `Give it longer with --timeout, or look at the coordinator with \`muster status${addressFlag}\`.`;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return "Give a key with --api-key-file, MUSTER_API_KEY_FILE or MUSTER_API_KEY.";
    case Code.ResourceExhausted:
      return "Send less at once: a message has at most 4 MiB, a payload 1 MiB.";
    default:
      return "Check that --address names the API of a Muster coordinator of this version.";
  }
}

function plainReport(code: string, reason: string, message: string): ErrorReport {
  return {
    code,
    reason,
    message,
    metadata: {},
    fieldViolations: [],
    suggestion: "",
    requestId: "",
    retryable: false,
    retryAfterMs: undefined,
    exitCode: exitCodes.unexpected,
  };
}

function codeName(code: Code): string {
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])[A-Z]/g, "_$&").toLowerCase();
}

function codeOfExit(exitCode: number): string {
  switch (exitCode) {
    case exitCodes.usage:
    case exitCodes.config:
      return "invalid_argument";
    case exitCodes.notFound:
      return "not_found";
    case exitCodes.notAllowed:
      return "unauthenticated";
    case exitCodes.conflict:
    case exitCodes.jobFailed:
    case exitCodes.partFailed:
      return "failed_precondition";
    case exitCodes.unreachable:
      return "unavailable";
    case exitCodes.timedOut:
      return "deadline_exceeded";
    case exitCodes.limit:
      return "resource_exhausted";
    case exitCodes.interrupted:
      return "canceled";
    default:
      return "internal";
  }
}

/** The exit code for the status code of a call. */
export function exitCodeOfStatus(code: Code): number {
  switch (code) {
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return exitCodes.usage;
    case Code.NotFound:
      return exitCodes.notFound;
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return exitCodes.notAllowed;
    case Code.FailedPrecondition:
    case Code.Aborted:
    case Code.AlreadyExists:
      return exitCodes.conflict;
    case Code.Unavailable:
      return exitCodes.unreachable;
    case Code.DeadlineExceeded:
      return exitCodes.timedOut;
    case Code.ResourceExhausted:
      return exitCodes.limit;
    case Code.Canceled:
      return exitCodes.interrupted;
    case Code.Internal:
    case Code.Unknown:
    case Code.DataLoss:
    case Code.Unimplemented:
      return exitCodes.unexpected;
  }
}
