import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type Interceptor } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import { ErrorDetailSchema } from "@muster/client/v1/error";
import type { Log } from "../domain/context.ts";
import { DomainError, internal, unavailable } from "../domain/errors.ts";
import type { ErrorCode } from "../domain/reason-entry.ts";
import { isConnectionLost, isSerialisation } from "../store/connection-errors.ts";
import { callBodyKey } from "./call-body.ts";
import { explainForeignError, type FailedCall } from "./foreign-errors.ts";
import { requestIdKey } from "./request-id.ts";
import { callOver } from "./universal-request.ts";

/** An error as every protocol can carry it. */
export interface Status {
  /** The gRPC status code, which is that of Connect. */
  readonly code: Code;
  readonly message: string;
  readonly detail: MessageInitShape<typeof ErrorDetailSchema>;
}

/**
 * The one mapping of anything that is thrown to what a caller gets. Unknown errors become `internal` with the
 * request id: their text may hold SQL or another org's data. `call` lets JSON be blamed field by field.
 */
export function toStatus(error: unknown, requestId: string, call?: FailedCall): Status {
  if (error instanceof ConnectError) {
    const [detail] = error.findDetails(ErrorDetailSchema);
    if (detail !== undefined) {
      return { code: error.code, message: error.rawMessage, detail: { ...detail, requestId } };
    }
    if (error.code === Code.Canceled || isResetByPeer(error)) return cancelled(requestId);
  }
  const known = asDomainError(error, requestId, call);
  return {
    code: codes[known.code],
    message: wellFormed(known.message),
    detail: detailOf(known, requestId),
  };
}

/** The same as an error for connect-es to send. */
export function toConnectError(error: unknown, requestId: string, call?: FailedCall): ConnectError {
  const { code, message, detail } = toStatus(error, requestId, call);
  return makeError(code, message, detail, error);
}

/** Logs what the caller is not told: the causes of internal errors and of an unreachable database. */
export function logFailure(log: Log, error: unknown, status: Status, method: string): void {
  const fields = { err: error, requestId: status.detail.requestId, method, reason: status.detail.reason };
  if (status.code === Code.Internal) log.error(fields, "a call failed");
  // Every stream that a stop ends is told so: no news.
  else if (status.detail.reason === "SHUTTING_DOWN") log.debug(fields, "a call ended with the coordinator");
  else if (status.code === Code.Unavailable) log.warn(fields, "a call could not be answered");
}

/** The interceptor that maps what verbs and adapters throw. Outermost: nothing else catches to translate. */
export function errorInterceptor(log: Log): Interceptor {
  return (next) => async (request) => {
    const failed = (error: unknown): ConnectError => {
      const requestId = request.contextValues.get(requestIdKey);
      const call = { input: request.method.input, body: request.contextValues.get(callBodyKey) };
      const status = toStatus(error, requestId, call);
      logFailure(log, error, status, `${request.service.typeName}/${request.method.name}`);
      return makeError(status.code, status.message, status.detail, error);
    };
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: mapped(response.message, failed) } : response;
    } catch (error) {
      throw failed(error);
    }
  };
}

/**
 * Explains what connect-es raises outside of interceptors: a request that cannot be decoded, an unknown
 * compression, an answer too large. On every protocol it hands such an error to `abort` of the call's context
 * right before it writes it to the wire, so the detail is put into the error there. (The signal of the context
 * will not do: it tells the first abort alone, and a call's own end is one.)
 */
export function explainFailures(context: HandlerContext, log: Log): void {
  const { values, method, service } = context;
  const abort: unknown = Reflect.get(context, "abort");
  if (typeof abort !== "function") throw new TypeError("the context of a call cannot be aborted");
  Reflect.set(context, "abort", (error: unknown): void => {
    if (error instanceof ConnectError && error.findDetails(ErrorDetailSchema).length === 0) {
      const call = { input: method.input, body: values.get(callBodyKey) };
      const status = toStatus(error, values.get(requestIdKey), call);
      logFailure(log, error.cause ?? error, status, `${service.typeName}/${method.name}`);
      const { code, rawMessage, message, details } = makeError(status.code, status.message, status.detail);
      Object.assign(error, { code, rawMessage, message, details });
    }
    // Without one, each call that ends as it should would make one, with its stack.
    Reflect.apply(abort, context, [error ?? callOver]);
  });
}

/** What a call ends with when the coordinator stops. */
export function shuttingDown(): ConnectError {
  return toConnectError(unavailable("SHUTTING_DOWN", 1_000), "");
}

const codes: Readonly<Record<ErrorCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  internal: Code.Internal,
  unimplemented: Code.Unimplemented,
};

function asDomainError(error: unknown, requestId: string, call: FailedCall | undefined): DomainError {
  if (error instanceof DomainError) return error;
  if (error instanceof ConnectError) {
    return explainForeignError(error, call) ?? internal(requestId, error);
  }
  if (isConnectionLost(error)) return unavailable("DATABASE_UNAVAILABLE", 1_000, error);
  if (isSerialisation(error)) return new DomainError("OVERLOADED", { retryAfterMs: 100, cause: error });
  return internal(requestId, error);
}

// connect-es gives the reset of a stream the code that its number stands for, be it INTERNAL; the fault is the peer's.
function isResetByPeer({ rawMessage }: ConnectError): boolean {
  return rawMessage.startsWith("http/2 stream closed with error code");
}

// Hardly ever seen: whoever cancels a call does not wait for its answer.
function cancelled(requestId: string): Status {
  const suggestion = "Nothing: the call was given up by whoever made it.";
  return {
    code: Code.Canceled,
    message: "The call was cancelled.",
    detail: { reason: "CALL_CANCELLED", suggestion, requestId },
  };
}

/** What the trailers of an error may take. Clients refuse headers of more than 8 KiB; base64 adds a third. */
const detailBytesMax = 4_096;

function detailOf(error: DomainError, requestId: string): Status["detail"] {
  const all = error.violations.map(({ field, message }) => ({
    field: wellFormed(field),
    message: wellFormed(message),
  }));
  const metadata = Object.fromEntries(
    Object.entries(error.details).map(([name, value]) => [name, wellFormed(value)]),
  );
  const make = (count: number): Status["detail"] => ({
    reason: error.reason,
    metadata: count === all.length ? metadata : { ...metadata, violationsLeftOut: `${all.length - count}` },
    violations: all.slice(0, count),
    suggestion: wellFormed(error.suggestion),
    requestId,
    ...(error.retryAfterMs === undefined
      ? {}
      : { retryAfter: durationFromMs(Math.ceil(error.retryAfterMs)) }),
  });
  let count = all.length;
  while (count > 1 && sizeOf(make(count)) > detailBytesMax) count = Math.floor(count * 0.8);
  return make(count);
}

function sizeOf(detail: Status["detail"]): number {
  return toBinary(ErrorDetailSchema, create(ErrorDetailSchema, detail)).length;
}

// Lone surrogates cannot be written to a header.
function wellFormed(text: string): string {
  const short = text.length > 1_000 ? `${text.slice(0, 999)}…` : text;
  return short.toWellFormed();
}

async function* mapped<T>(messages: AsyncIterable<T>, failed: (error: unknown) => ConnectError) {
  try {
    yield* messages;
  } catch (error) {
    throw failed(error);
  }
}
