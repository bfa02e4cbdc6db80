import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { readError } from "@muster/client/errors";
import { GoingAwayError } from "./transport.ts";

/** Answers of a coordinator that another try of the same worker will not change. */
const finalCodes: readonly Code[] = [
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.FailedPrecondition,
  Code.InvalidArgument,
];

/** Reasons among them that pass: the link is gone, or the Hello came late. */
const passingReasons = ["LINK_NOT_ATTACHED", "HELLO_EXPECTED"];

/** A permanent answer to a Hello. */
export interface Refusal {
  /** Message and suggestion. */
  readonly detail: string;
  /** Reason of the error, e.g. `KEY_INVALID`; empty when the server gave none. */
  readonly errorReason: string;
  /** Status code. */
  readonly errorCode: Code;
}

/** The refusal in an error, or undefined when trying again may help. */
export function refusalOf(error: unknown): Refusal | undefined {
  const { code, message, detail } = readError(error);
  const errorReason = detail?.reason ?? "";
  if (!finalCodes.includes(code) || passingReasons.includes(errorReason)) return undefined;
  const suggestion = detail === undefined || detail.suggestion === "" ? "" : ` ${detail.suggestion}`;
  return { detail: `${message}${suggestion}`, errorReason, errorCode: code };
}

/** How long the coordinator asks to wait before the next try. */
export function retryAfterMs(error: unknown): number | undefined {
  const retryAfter = readError(error).detail?.retryAfter;
  return retryAfter === undefined ? undefined : durationMs(retryAfter);
}

/** Another link of the same worker took over. */
export function isReplaced(error: unknown): boolean {
  return readError(error).detail?.reason === "LINK_REPLACED";
}

/** A coordinator answered: a refusal, "wait", "replaced". The transport carries, and another changes nothing. */
export function isAnswer(error: unknown): boolean {
  if (error instanceof GoingAwayError) return true;
  const { code, detail } = readError(error);
  if (code === Code.Unimplemented) return false;
  return refusalOf(error) !== undefined || (error instanceof ConnectError && detail !== undefined);
}
