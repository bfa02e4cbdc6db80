import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { makeError } from "@muster/client/errors";
import type { Log } from "../domain/context.ts";
import { DomainError } from "../domain/errors.ts";
import { type AdmitParts, admitCall } from "./auth.ts";
import { explainFailures, logFailure, toStatus } from "./errors.ts";
import { identifyCall } from "./request-id.ts";

/** The longest deadline that a call may have. */
export const maxCallTimeoutMs = 24 * 3_600_000;

/** The call was refused, so nothing of its body will be read. */
export const isRefusedKey = createContextKey(false, { description: "is refused" });

/** Runs on every call when its headers are there and nothing of its body has been read. */
export type CallGate = (context: HandlerContext) => Promise<void>;

/**
 * The gate of the API: settles the request id, sees to it that every error is explained, and admits the caller.
 * A gate, not an interceptor: an interceptor runs after the body was read and parsed, and not at all when that
 * fails, so strangers could make the coordinator parse 4 MiB, and their errors would lack the detail.
 */
export function createCallGate(parts: AdmitParts & { readonly log: Log }): CallGate {
  return async (context) => {
    const requestId = identifyCall(context);
    explainFailures(context, parts.log);
    try {
      checkTimeout(context.timeoutMs());
      await admitCall(context, requestId, parts);
    } catch (error) {
      context.values.set(isRefusedKey, true);
      const status = toStatus(error, requestId);
      logFailure(parts.log, error, status, `${context.service.typeName}/${context.method.name}`);
      throw makeError(status.code, status.message, status.detail, error);
    }
  };
}

// Before connect-es says the same: a timer of more than 24 days overflows and would end the call at once.
function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || timeoutMs <= maxCallTimeoutMs) return;
  throw refusedTimeout("The timeout of the call is above the limit of 24 h");
}

/** The error of a call whose timeout cannot be kept. */
export function refusedTimeout(message: string): DomainError {
  return new DomainError("VALIDATION_FAILED", {
    message,
    suggestion: "Give the call a shorter timeout: at most 24 h.",
  });
}
