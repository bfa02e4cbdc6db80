import { randomUUID } from "node:crypto";
import { createContextKey, type HandlerContext } from "@connectrpc/connect";
import { encodeId } from "../domain/ids.ts";

/** The header that carries the id of a call in both directions. */
export const requestIdHeader = "x-request-id";

/** The id under which a call is logged; empty before the call was admitted. */
export const requestIdKey = createContextKey("", { description: "request id" });

/** The caller's id if it is at most 64 of `A-Z a-z 0-9 . _ : -`, else a new `req_…`. */
export function settleRequestId(given: string | null | undefined): string {
  if (given && /^[A-Za-z0-9._:-]{1,64}$/.test(given)) return given;
  return encodeId("request", randomUUID());
}

/** Settles the id of a call, once: keeps it with the call and echoes it as a response header. */
export function identifyCall(context: HandlerContext): string {
  const known = context.values.get(requestIdKey);
  if (known !== "") return known;
  const requestId = settleRequestId(context.requestHeader.get(requestIdHeader));
  context.values.set(requestIdKey, requestId);
  context.responseHeader.set(requestIdHeader, requestId);
  return requestId;
}
