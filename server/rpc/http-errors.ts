import { Code, type ConnectError } from "@connectrpc/connect";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { makeError } from "@muster/client/errors";
import { nearestWord } from "../domain/rules/spelling.ts";
import { type HttpRequest, type HttpResponse, headerOf, pathOf, respond, respondJson } from "./http.ts";
import { requestIdHeader, settleRequestId } from "./request-id.ts";

/** Answers a request whose path is not served: 404 as JSON, or a gRPC status if that is what is spoken. */
export function respondUnknownPath(
  request: HttpRequest,
  response: HttpResponse,
  knownPaths: readonly string[],
): void {
  const path = pathOf(request).slice(0, 200);
  const [, service, method] = /^\/([\w.]+\.\w+)\/(\w+)$/.exec(path) ?? [];
  if (service === undefined || method === undefined) {
    const suggestion = "RPCs are at /muster.v1.<Service>/<Method>; /healthz and /readyz tell how it is.";
    respondError(request, response, 404, `There is nothing at ${path}`, suggestion, { path });
    return;
  }
  const nearest = nearestWord(path, knownPaths);
  const suggestion =
    nearest === undefined
      ? "Check the name of the service; list them with gRPC reflection."
      : `Did you mean ${nearest}? If not, upgrade the coordinator.`;
  respondError(request, response, 404, `There is no method ${path.slice(1)} here`, suggestion, { path });
}

/** Explains what connect-es answers with a bare HTTP status: wrong method, content type or HTTP version. */
export function respondHttpFault(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  allowedMethods: readonly string[],
): void {
  if (status === 405) {
    const methods = allowedMethods.join(", ");
    response.setHeader("allow", methods);
    const message = `This method is called by ${methods}, not by ${request.method}`;
    respondError(request, response, status, message, "Send the request by POST, with a JSON body.");
  } else if (status === 415) {
    const given = headerOf(request, "content-type")?.slice(0, 100) ?? "none";
    const message = `The content type is not one of this method: ${given}`;
    const suggestion = 'Add the header "content-type: application/json".';
    respondError(request, response, status, message, suggestion, { contentType: given });
  } else if (status === 505) {
    response.setHeader("connection", "close");
    const message = "A stream in both directions needs HTTP/2";
    respondError(request, response, status, message, "Call it over HTTP/2, or use the unary methods.");
  } else {
    respondError(request, response, status, "The request cannot be read", "Check its headers.");
  }
}

function respondError(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  message: string,
  suggestion: string,
  metadata: Record<string, string> = {},
): void {
  const requestId = settleRequestId(headerOf(request, requestIdHeader));
  const isUnimplemented = status === 404 || status === 505;
  const error = makeError(isUnimplemented ? Code.Unimplemented : Code.InvalidArgument, message, {
    reason: isUnimplemented ? "UNIMPLEMENTED" : "VALIDATION_FAILED",
    metadata,
    suggestion,
    requestId,
  });
  response.setHeader(requestIdHeader, requestId);
  const contentType = headerOf(request, "content-type") ?? "";
  if (/^application\/grpc/.test(contentType)) respondGrpc(request, response, contentType, error);
  else respondJson(request, response, status, errorToJson(error, undefined));
}

// Trailers-only: the status is in the headers, and there is no body. gRPC and gRPC-Web read it alike.
function respondGrpc(
  request: HttpRequest,
  response: HttpResponse,
  contentType: string,
  error: ConnectError,
): void {
  const trailers = Object.fromEntries(setTrailerStatus(new Headers(), error).entries());
  const type = contentType.startsWith("application/grpc-web")
    ? "application/grpc-web+proto"
    : "application/grpc";
  respond(request, response, 200, { ...trailers, "content-type": type }, "");
}
