import type { Http2ServerRequest } from "node:http2";
import { Code, ConnectError, type ContextValues } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import type { HttpRequest, HttpResponse } from "./http.ts";

/** A request without its body. */
export type UniversalHead = Omit<UniversalServerRequest, "body">;

/**
 * What connect-es takes for a request; null when its host does not fit into a URL: that must cost its sender an answer,
 * not us the process. Does what `universalRequestFromNodeRequest` does, without the reader of the body that nobody
 * reads by here, and without an error of its own, with its stack, for each call that ends as it should: at a call of
 * one job they were a tenth of all that it cost.
 */
export function universalHead(
  request: HttpRequest,
  response: HttpResponse,
  contextValues: ContextValues,
): UniversalHead | null {
  const url = urlOf(request);
  if (url === null) return null;
  return {
    httpVersion: request.httpVersion,
    method: request.method ?? "",
    url,
    header: headerOf(request),
    signal: signalOf(request, response),
    contextValues,
  };
}

/** What the signal of a call tells that is over. */
export const callOver = new DOMException("The call is over", "AbortError");

function urlOf(request: HttpRequest): string | null {
  const isEncrypted = "encrypted" in request.socket && request.socket.encrypted === true;
  const host = isHttp2(request) ? request.authority : request.headers.host;
  if (host === undefined) return null;
  return URL.parse(request.url ?? "", `${isEncrypted ? "https" : "http"}://${host}`)?.href ?? null;
}

// Without those of HTTP/2 itself.
function headerOf({ headers }: HttpRequest): Headers {
  const header = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    if (typeof value === "string") header.append(name, value);
    else for (const one of value) header.append(name, one);
  }
  return header;
}

function signalOf(request: HttpRequest, response: HttpResponse): AbortSignal {
  const controller = new AbortController();
  if (isHttp2(request)) {
    const { stream } = request;
    request.once("close", () => controller.abort(resetError(stream.rstCode ?? 0) ?? callOver));
    return controller.signal;
  }
  const failed = (error: Error): void => {
    controller.abort(ConnectError.from(error, Code.Aborted));
  };
  request.once("error", failed);
  // The request closes as soon as all of it is read; with the response the call is over.
  response.once("close", () => {
    const { errored } = request;
    if (errored) failed(errored);
    else controller.abort(callOver);
  });
  return controller.signal;
}

// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors
const resetCodes: Readonly<Record<number, Code>> = {
  1: Code.Internal,
  2: Code.Internal,
  3: Code.Internal,
  4: Code.Internal,
  6: Code.Internal,
  7: Code.Unavailable,
  8: Code.Canceled,
  9: Code.Internal,
  10: Code.Internal,
  11: Code.ResourceExhausted,
  12: Code.PermissionDenied,
  13: Code.PermissionDenied,
};

function resetError(resetCode: number): ConnectError | undefined {
  const code = resetCodes[resetCode];
  return code === undefined
    ? undefined
    : // In the words of connect-es, which `toStatus` knows a peer's reset by.
      new ConnectError(`http/2 stream closed with error code 0x${resetCode.toString(16)}`, code);
}

function isHttp2(request: HttpRequest): request is Http2ServerRequest {
  return "stream" in request;
}
