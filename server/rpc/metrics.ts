import type { Counters } from "../domain/counters.ts";
import { type HttpRequest, type HttpRoute, headerOf, pathOf, respond } from "./http.ts";

/**
 * `GET /metrics`: the counters in the text format of Prometheus. They name orgs by their ids, and no job and no worker.
 * Callers on this machine need no key; others, and what a proxy on this machine passes on, need a platform key.
 */
export function metricsRoute(counters: Counters, admits: (token: string) => Promise<boolean>): HttpRoute {
  return (request, response) => {
    if (pathOf(request) !== "/metrics") return false;
    const plain = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" };
    if (request.method !== "GET" && request.method !== "HEAD") {
      respond(request, response, 405, { ...plain, allow: "GET, HEAD" }, "/metrics is read by GET\n");
      return true;
    }
    void isAdmitted(request, admits).then((isAllowed) => {
      if (isAllowed) {
        const type = { "content-type": "text/plain; version=0.0.4; charset=utf-8" };
        respond(request, response, 200, { ...plain, ...type }, counters.text());
      } else respond(request, response, 401, plain, "Send a platform key as: authorization: Bearer mk_…\n");
    });
    return true;
  };
}

async function isAdmitted(
  request: HttpRequest,
  admits: (token: string) => Promise<boolean>,
): Promise<boolean> {
  const isPassedOn = ["forwarded", "x-forwarded-for"].some((name) => headerOf(request, name) !== undefined);
  if (!isPassedOn && isLoopback(request.socket?.remoteAddress ?? "")) return true;
  const token = /^\s*bearer\s+(\S+)\s*$/i.exec(headerOf(request, "authorization") ?? "")?.[1];
  return token === undefined ? false : admits(token).catch(() => false);
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address);
}
