import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";
import { CliError } from "./errors.ts";
import { exitCodes } from "./exit-codes.ts";

/** What is done to every call before it leaves. */
export interface Outgoing {
  /** Calls that change something are refused. */
  readonly isReadOnly: boolean;
  /** The org that calls are for; undefined: that of the key. */
  readonly org: string | undefined;
  /** What `--request-id` said. */
  readonly requestId: string | undefined;
}

/**
 * Makes the interceptors of a client. With read-only, a method that the contract does not mark NO_SIDE_EFFECTS throws
 * READ_ONLY before anything is sent. With a request id, the first call that changes something carries it, and each
 * further one the id with its number (`ID-2`): the same command line asks for the same again.
 */
export function outgoing({ isReadOnly, org, requestId }: Outgoing): Interceptor[] {
  let acts = 0;
  return [
    (next) => (request) => {
      const { method } = request;
      if (org !== undefined) request.header.set("muster-org", org);
      if (method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) return next(request);
      if (isReadOnly) {
        throw new CliError(`${method.name} changes something, and this is read-only`, {
          reason: "READ_ONLY",
          exitCode: exitCodes.notAllowed,
          suggestion:
            "Leave out --read-only; also look at MUSTER_READ_ONLY and: muster config list --sources",
        });
      }
      if (requestId !== undefined && !request.stream && "requestId" in request.message) {
        acts += 1;
        Object.assign(request.message, { requestId: acts === 1 ? requestId : `${requestId}-${acts}` });
      }
      return next(request);
    },
  ];
}
