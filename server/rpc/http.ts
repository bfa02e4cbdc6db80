import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { universalResponseToNodeResponse } from "@connectrpc/connect-node";

/** A request over HTTP/1.1 or HTTP/2. */
export type HttpRequest = IncomingMessage | Http2ServerRequest;

/** Its response; the methods that both versions have in common. */
export type HttpResponse = (ServerResponse | Http2ServerResponse) &
  Parameters<typeof universalResponseToNodeResponse>[1];

/** Plain HTTP routes beside the RPCs: answers true when the request is its own, and then ends the response. */
export type HttpRoute = (request: HttpRequest, response: HttpResponse) => boolean;

/** The path of a request, without query. */
export function pathOf(request: HttpRequest): string {
  return request.url?.split("?", 1)[0] ?? "";
}

/** A header of a request as one text; undefined when it is absent. */
export function headerOf(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

/** Answers with a body, or with none to HEAD, and lets go of what is left of the request. */
export function respond(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  body: string | Uint8Array,
): void {
  const bytes = Buffer.from(body);
  request.resume();
  response.writeHead(status, { ...headers, "content-length": bytes.length });
  if (request.method === "HEAD") response.end();
  else response.end(bytes);
}

/** Answers with a JSON document. */
export function respondJson(
  request: HttpRequest,
  response: HttpResponse,
  status: number,
  document: unknown,
): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  respond(request, response, status, headers, `${JSON.stringify(document)}\n`);
}
