import type { HandlerContext } from "@connectrpc/connect";
import type { Log } from "../domain/context.ts";
import { type AdmitParts, admitCall } from "./auth.ts";
import { explainFailures, logFailure, toStatus } from "./errors.ts";
import { makeError } from "@muster/client/errors";
import { identifyCall } from "./request-id.ts";

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
      await admitCall(context, requestId, parts);
    } catch (error) {
      const status = toStatus(error, requestId);
      logFailure(parts.log, error, status, `${context.service.typeName}/${context.method.name}`);
      throw makeError(status.code, status.message, status.detail, error);
    }
  };
}
