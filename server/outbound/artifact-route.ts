import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { pipeline } from "node:stream/promises";
import { Code } from "@connectrpc/connect";
import { errorToJson } from "@connectrpc/connect/protocol-connect";
import { makeError } from "@muster/client/errors";
import { ArtifactMismatchError, type ArtifactStore, type SignedRequest } from "./artifact-store.ts";
import { artifactPath, readSignedUrl, type UrlSigner } from "./artifact-urls.ts";

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

/** What the route works with. */
export interface ArtifactRouteOptions {
  readonly store: ArtifactStore;
  /** The one that the store signs with. */
  readonly signer: UrlSigner;
  /** Told of failures that are nobody's fault but ours. */
  readonly log: { error(fields: object, message: string): void };
}

/**
 * Makes the route of signed URLs, for the listener of the API: PUT takes the announced bytes and answers 201,
 * GET and HEAD serve them as a download. Answers true when the request is for it, and then ends the response.
 * A URL that is forged, expired or made for something else is 403.
 */
export function createArtifactRoute(
  options: ArtifactRouteOptions,
): (request: Request, response: Response) => boolean {
  return (request, response) => {
    if (!request.url?.startsWith(artifactPath)) return false;
    answer(options, request, response).catch((error: unknown) => fail(options, request, response, error));
    return true;
  };
}

async function answer({ store, signer }: ArtifactRouteOptions, request: Request, response: Response) {
  const method = request.method ?? "";
  if (!["PUT", "GET", "HEAD"].includes(method)) {
    response.setHeader("allow", "GET, HEAD, PUT");
    refuse(request, response, 405, faults.method);
    return;
  }
  const signed = readSignedUrl(signer, method, request.url ?? "");
  if (signed === "forged" || signed === "expired") {
    refuse(request, response, 403, faults[signed]);
    return;
  }
  const { signal, release } = abortedOnClose(response);
  try {
    if (signed.method === "PUT") await take(store, signed, request, response, signal);
    else await serve(store, signed, request, response, signal);
  } finally {
    release();
  }
}

async function take(
  store: ArtifactStore,
  signed: SignedRequest & { method: "PUT" },
  request: Request,
  response: Response,
  signal: AbortSignal,
): Promise<void> {
  const length = request.headers["content-length"];
  if (length !== undefined && Number(length) !== signed.sizeBytes) {
    refuse(request, response, 400, { ...faults.mismatch, text: `${signed.sizeBytes} bytes were announced` });
    return;
  }
  const type = request.headers["content-type"];
  if (type !== undefined && type.toLowerCase() !== signed.contentType.toLowerCase()) {
    refuse(request, response, 403, faults.type);
    return;
  }
  // A body that is refused half-way must not take the connection with it, or nobody hears why.
  const body: AsyncIterable<Uint8Array> = request.iterator({ destroyOnReturn: false });
  await store.put(signed.key, body, { sizeBytes: signed.sizeBytes }, signal);
  end(response, 201);
}

async function serve(
  store: ArtifactStore,
  signed: SignedRequest & { method: "GET" },
  request: Request,
  response: Response,
  signal: AbortSignal,
): Promise<void> {
  request.resume();
  const found = await store.stat(signed.key);
  const body = found === null || request.method === "HEAD" ? null : await store.get(signed.key, signal);
  if (found === null || (body === null && request.method !== "HEAD")) {
    refuse(request, response, 404, faults.absent);
    return;
  }
  // Whatever a job made, a browser must not run it under our origin.
  response.setHeader("content-type", signed.contentType);
  response.setHeader("content-disposition", disposition(signed.name));
  response.setHeader("content-security-policy", "sandbox; default-src 'none'");
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("cache-control", "private, no-store");
  response.setHeader("content-length", found.sizeBytes);
  if (body === null) end(response, 200);
  else await pipeline(body, response);
}

function disposition(name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, "_");
  const encoded = encodeURIComponent(name).replace(
    /['()*!]/g,
    (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}

interface Fault {
  readonly code: Code;
  readonly reason: string;
  readonly text: string;
  readonly suggestion: string;
}

const newUrl = "Ask for a new URL; it is good for 10 minutes.";
const faults = {
  forged: fault(Code.PermissionDenied, "ARTIFACT_URL_INVALID", "The URL is not valid", newUrl),
  expired: fault(Code.PermissionDenied, "ARTIFACT_URL_EXPIRED", "The URL has expired", newUrl),
  type: fault(
    Code.PermissionDenied,
    "ARTIFACT_URL_INVALID",
    "The URL is for another content type",
    "Send the content type that was announced, or none.",
  ),
  absent: fault(
    Code.NotFound,
    "ARTIFACT_NOT_FOUND",
    "There are no such bytes",
    "They may have been removed; list the artifacts of the job.",
  ),
  mismatch: fault(
    Code.InvalidArgument,
    "VALIDATION_FAILED",
    "The bytes are not those that were announced",
    "Send exactly the announced bytes, or announce a new artifact.",
  ),
  method: fault(
    Code.InvalidArgument,
    "VALIDATION_FAILED",
    "An artifact is sent by PUT and read by GET",
    "Use the method that the URL was made for.",
  ),
  broken: fault(
    Code.Internal,
    "INTERNAL",
    "Something went wrong inside the coordinator",
    "Try again; if it stays, look at the coordinator's log.",
  ),
};

function fault(code: Code, reason: string, text: string, suggestion: string): Fault {
  return { code, reason, text, suggestion };
}

function refuse(
  request: Request,
  response: Response,
  status: number,
  { code, text, ...detail }: Fault,
): void {
  const body = Buffer.from(`${JSON.stringify(errorToJson(makeError(code, text, detail), undefined))}\n`);
  // What is still to come is not worth reading: HTTP/1.1 has no other way to stop it.
  if (request.httpVersionMajor === 1 && request.method === "PUT") response.setHeader("connection", "close");
  request.resume();
  response.setHeader("content-type", "application/json");
  response.setHeader("cache-control", "no-store");
  response.setHeader("content-length", body.length);
  end(response, status, request.method === "HEAD" ? undefined : body);
}

function fail(options: ArtifactRouteOptions, request: Request, response: Response, error: unknown): void {
  if (response.headersSent || response.destroyed || response.writableEnded) {
    response.destroy();
  } else if (error instanceof ArtifactMismatchError) {
    refuse(request, response, 400, { ...faults.mismatch, text: sentence(error.message) });
  } else {
    options.log.error({ error }, "an artifact could not be sent or taken");
    refuse(request, response, 500, faults.broken);
  }
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

// The two versions type `end` differently; this form they share.
function end(response: Response, status: number, body?: Uint8Array): void {
  response.statusCode = status;
  if (body === undefined) response.end();
  else response.end(body);
}

function abortedOnClose(response: Response): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const abort = () => controller.abort(new Error("the caller went away"));
  response.once("close", abort);
  return { signal: controller.signal, release: () => response.off("close", abort) };
}
