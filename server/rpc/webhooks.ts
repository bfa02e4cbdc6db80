import { Code } from "@connectrpc/connect";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import type { Log } from "../domain/context.ts";
import { DomainError, invalidArgument } from "../domain/errors.ts";
import { decodeId } from "../domain/ids.ts";
import type { PullRequestContext } from "../domain/pull-requests.ts";
import { applyGithubEvent, githubWebhookPath, isSignedByGithub } from "../domain/webhooks.ts";
import { logFailure, toConnectError, toStatus } from "./errors.ts";
import {
  type HttpRequest,
  type HttpResponse,
  type HttpRoute,
  headerOf,
  pathOf,
  respondJson,
} from "./http.ts";
import { requestIdHeader, settleRequestId } from "./request-id.ts";

/** What the route works with. */
export interface WebhookRouteOptions {
  readonly coordinator: PullRequestContext;
  /** What the secrets of webhooks derive from. */
  readonly key: Uint8Array;
  readonly log: Log;
}

/** Size of a delivery at most. */
const maxBodyBytes = 1024 * 1024;

/**
 * `POST /webhooks/github/<org id>`: takes events of GitHub, signed with the org's secret. 200 with what an event of a
 * pull request came to, and for `ping`; 202 for events that do not matter here; 401 for a signature that is not
 * right, and the same for an org that does not exist.
 */
export function githubWebhookRoute(options: WebhookRouteOptions): HttpRoute {
  return (request, response) => {
    const path = pathOf(request);
    if (!path.startsWith(githubWebhookPath)) return false;
    const requestId = settleRequestId(headerOf(request, "x-github-delivery"));
    response.setHeader(requestIdHeader, requestId);
    answer(options, request, response, requestId).catch((error: unknown) => {
      fail(options, request, response, { error, requestId });
    });
    return true;
  };
}

async function answer(
  { coordinator, key }: WebhookRouteOptions,
  request: HttpRequest,
  response: HttpResponse,
  requestId: string,
): Promise<void> {
  if (request.method !== "POST") {
    response.setHeader("allow", "POST");
    throw new HttpFault(405, "A webhook is sent by POST");
  }
  const signature = headerOf(request, "x-hub-signature-256") ?? "";
  const orgId = readOrg(pathOf(request).slice(githubWebhookPath.length));
  // Who cannot sign is not listened to: nothing of the body is read.
  if (orgId === null || !/^sha256=[0-9a-f]{64}$/.test(signature)) throw badSignature();
  const body = await readBody(request);
  if (!isSignedByGithub(key, orgId, { body, signature })) throw badSignature();
  const event = headerOf(request, "x-github-event") ?? "";
  if (event === "ping") return respondJson(request, response, 200, { status: "pong" });
  if (event !== "pull_request") return respondJson(request, response, 202, { status: "ignored" });
  const payload = readPayload(body, headerOf(request, "content-type") ?? "");
  const status = await applyGithubEvent(coordinator, orgId, { event, deliveryId: requestId, payload });
  respondJson(request, response, status === "ignored" ? 202 : 200, { status });
}

class HttpFault extends Error {
  override readonly name = "HttpFault";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

function badSignature(): DomainError {
  return new DomainError("WEBHOOK_SIGNATURE_INVALID");
}

function readOrg(text: string): string | null {
  try {
    return decodeId("org", text);
  } catch {
    return null;
  }
}

async function readBody(request: HttpRequest): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  // A body that is refused half-way must not take the connection with it, or nobody hears why.
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > maxBodyBytes) throw new HttpFault(413, `A delivery has at most ${maxBodyBytes} bytes`);
    chunks.push(bytes);
  }
  return Buffer.concat(chunks);
}

// GitHub sends JSON, or a form with the JSON in the field `payload`: the signature is over the bytes of either.
function readPayload(body: Buffer, contentType: string): unknown {
  const text = body.toString("utf8");
  const isForm = contentType.toLowerCase().startsWith("application/x-www-form-urlencoded");
  try {
    return JSON.parse(isForm ? (new URLSearchParams(text).get("payload") ?? "") : text);
  } catch {
    throw invalidArgument([{ field: "(the whole request)", message: "must be JSON, as GitHub sends it" }]);
  }
}

function fail(
  { log }: WebhookRouteOptions,
  request: HttpRequest,
  response: HttpResponse,
  { error, requestId }: { readonly error: unknown; readonly requestId: string },
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const cause =
    error instanceof HttpFault
      ? new DomainError("VALIDATION_FAILED", {
          message: error.message,
          suggestion: "Let GitHub send it: see `muster project webhook`.",
        })
      : error;
  const status = toStatus(cause, requestId);
  logFailure(log, error, status, "webhooks/github");
  // What is still to come is not worth reading: HTTP/1.1 has no other way to stop it.
  if (request.httpVersionMajor === 1 && !request.readableEnded) response.setHeader("connection", "close");
  const httpStatus = error instanceof HttpFault ? error.status : (httpStatuses.get(status.code) ?? 500);
  respondJson(request, response, httpStatus, errorToJson(toConnectError(cause, requestId), undefined));
}

const httpStatuses: ReadonlyMap<Code, number> = new Map([
  [Code.InvalidArgument, 400],
  [Code.Unauthenticated, 401],
  [Code.ResourceExhausted, 429],
  [Code.Unavailable, 503],
]);
