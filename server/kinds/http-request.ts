import { httpRequestPayload, readPayload } from "../domain/built-in-kinds.ts";
import type { OutboundHttp, OutboundResponse } from "../outbound/outbound-http.ts";
import type { KindContext, KindParts } from "./context.ts";

/** What an `http.request` job came to. */
export interface HttpResult {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** The answer: parsed where it is JSON, else text, else base64. */
  readonly json?: unknown;
  readonly text?: string;
  readonly base64?: string;
}

/**
 * The built-in kind `http.request`: sends one request to a public https address, and leaves the answer as the result.
 * `Idempotency-Key` is the same at each attempt, so that a receiver can tell a repetition. What the other side may get
 * over (5xx, 408, 425, 429, no answer) is tried again as the job says; any other status that is not expected, and an
 * address that is refused, end it. Errors say nothing of the answer but its status.
 */
export function httpRequest(
  parts: KindParts & { readonly http: Pick<OutboundHttp, "request"> },
): (ctx: KindContext) => Promise<HttpResult> {
  return async (ctx) => {
    const asked = readPayload("http.request", httpRequestPayload, ctx.payload, parts.failure);
    const { url, method, timeoutMs, maxBytes, expect } = asked;
    const isJson = asked.json !== undefined;
    const response = await parts.http
      .request({
        ...{ url, method, timeoutMs, maxBytes },
        headers: {
          "user-agent": "muster",
          ...(isJson ? { "content-type": "application/json" } : {}),
          ...(method === "GET" || method === "HEAD" ? {} : { "idempotency-key": ctx.idempotencyKey }),
          ...lowered(asked.headers),
        },
        body: isJson ? JSON.stringify(asked.json) : (asked.body ?? ""),
        signal: ctx.signal,
      })
      .catch((error: unknown) => {
        ctx.signal.throwIfAborted();
        // Trying again does not make an address public.
        if (reasonOf(error) === "WEBHOOK_BLOCKED") {
          throw parts.failure(error instanceof Error ? error.message : String(error), "URL_BLOCKED");
        }
        throw error;
      });
    const { status } = response;
    const isExpected = expect === undefined ? status >= 200 && status < 300 : expect.includes(status);
    if (isExpected) return resultOf(response);
    const message = `${new URL(url).host} answered ${status}`;
    if (status >= 500 || [408, 425, 429].includes(status)) throw new Error(message);
    throw parts.failure(message, `HTTP_${status}`);
  };
}

const keptHeaders = ["content-type", "etag", "last-modified", "location", "x-request-id"];

function resultOf({ status, headers, body }: OutboundResponse): HttpResult {
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => keptHeaders.includes(name)));
  if (body.length === 0) return { status, headers: kept };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return { status, headers: kept, base64: body.toString("base64") };
  }
  if (!/[/+]json\b/.test(headers["content-type"] ?? "")) return { status, headers: kept, text };
  try {
    return { status, headers: kept, json: JSON.parse(text) };
  } catch {
    return { status, headers: kept, text };
  }
}

function lowered(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function reasonOf(error: unknown): unknown {
  return typeof error === "object" && error !== null ? Reflect.get(error, "reason") : undefined;
}
