import { type HttpRoute, pathOf, respond } from "./http.ts";

/** Where the public keys of access tokens are. */
export const jwksPath = "/.well-known/jwks.json";

/** `GET /.well-known/jwks.json`: the public keys of access tokens, for whoever verifies them elsewhere. */
export function jwksRoute(jwks: () => object): HttpRoute {
  return (request, response) => {
    if (pathOf(request) !== jwksPath) return false;
    if (request.method !== "GET" && request.method !== "HEAD") {
      const plain = { "content-type": "text/plain; charset=utf-8", allow: "GET, HEAD" };
      respond(request, response, 405, plain, `${jwksPath} is read by GET\n`);
      return true;
    }
    const headers = { "content-type": "application/jwk-set+json", "cache-control": "public, max-age=300" };
    respond(request, response, 200, headers, `${JSON.stringify(jwks())}\n`);
    return true;
  };
}
