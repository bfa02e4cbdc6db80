import type { HealthState } from "./health.ts";
import { type HttpRoute, pathOf, respond, respondJson } from "./http.ts";

/** Says what keeps the coordinator from answering calls (one sentence), or null when nothing does. */
export type ReadyCheck = (signal: AbortSignal) => Promise<string | null>;

const checkTimeoutMs = 2_000;

/**
 * `GET /healthz`: 200 while the process lives. `GET /readyz`: 200 when calls can be answered, else 503 with the
 * reason as JSON: it starts or stops, or the check says so, fails, or takes longer than 2 s.
 */
export function probeRoute(health: HealthState, ready: ReadyCheck): HttpRoute {
  return (request, response) => {
    const path = pathOf(request);
    if (path !== "/healthz" && path !== "/readyz") return false;
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      respondJson(request, response, 405, { status: "error", reason: `${path} is read by GET` });
    } else if (path === "/healthz") {
      respond(request, response, 200, { "content-type": "text/plain", "cache-control": "no-store" }, "ok\n");
    } else {
      void whyNotReady(health, ready).then((reason) => {
        if (reason === null) respondJson(request, response, 200, { status: "ready" });
        else respondJson(request, response, 503, { status: "not ready", reason });
      });
    }
    return true;
  };
}

async function whyNotReady(health: HealthState, ready: ReadyCheck): Promise<string | null> {
  if (!health.isServing) return "The coordinator is starting or stopping.";
  const signal = AbortSignal.timeout(checkTimeoutMs);
  const tooLate = new Promise<string>((resolve) => {
    signal.addEventListener("abort", () => resolve("The check took longer than 2 s."));
  });
  // The text of the failure may hold addresses and names: who asks here has no key.
  const check = ready(signal).catch(() => "The check failed.");
  return Promise.race([check, tooLate]);
}
