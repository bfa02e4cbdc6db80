import { cors } from "@connectrpc/connect";
import { orgHeader } from "./auth.ts";
import { type HttpRequest, type HttpResponse, headerOf, respondJson } from "./http.ts";
import { requestIdHeader } from "./request-id.ts";

/**
 * Lets pages of the given origins call the API. Sets the headers of a response that such a page may read, and
 * answers preflight requests; true when the request was one of those. No origin is allowed by default.
 */
export function allowOrigins(
  origins: readonly string[],
): (request: HttpRequest, response: HttpResponse) => boolean {
  const allowed = new Set(origins);
  return (request, response) => {
    const origin = headerOf(request, "origin");
    if (origin === undefined) return false;
    const isPreflight =
      request.method === "OPTIONS" && headerOf(request, "access-control-request-method") !== undefined;
    if (allowed.size > 0) response.setHeader("vary", "origin");
    if (!allowed.has(origin)) {
      if (isPreflight) refuse(request, response);
      return isPreflight;
    }
    response.setHeader("access-control-allow-origin", origin);
    response.setHeader("access-control-expose-headers", exposedHeaders);
    if (!isPreflight) return false;
    response.setHeader("access-control-allow-methods", allowedMethods);
    response.setHeader("access-control-allow-headers", allowedHeaders);
    response.setHeader("access-control-max-age", "7200");
    response.writeHead(204);
    response.end();
    return true;
  };
}

const allowedMethods = cors.allowedMethods.join(", ");
const allowedHeaders = [...cors.allowedHeaders, "Authorization", orgHeader, requestIdHeader].join(", ");
const exposedHeaders = [...cors.exposedHeaders, requestIdHeader].join(", ");

function refuse(request: HttpRequest, response: HttpResponse): void {
  respondJson(request, response, 403, {
    code: "permission_denied",
    message: "Pages of this origin may not call the API",
    suggestion: "Add the origin to --cors-origins of the coordinator.",
  });
}
