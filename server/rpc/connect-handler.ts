import {
  type ConnectRouter,
  createConnectRouter,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";
import { assertByteStreamRequest, type UniversalHandler } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Log } from "../domain/context.ts";
import { callBodyKey, keepJsonBody } from "./call-body.ts";
import { errorInterceptor } from "./errors.ts";
import type { CallGate } from "./gate.ts";
import { type HttpRequest, type HttpResponse, pathOf } from "./http.ts";
import { respondHttpFault, respondUnknownPath } from "./http-errors.ts";

/** What a message may be at most, in bytes, in both directions. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** The longest deadline that a call may have. */
export const maxCallTimeoutMs = 24 * 3_600_000;

/** What the RPCs are served with. */
export interface ConnectHandlerOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly gate: CallGate;
  /** Run inside the error mapping, the first outermost. */
  readonly interceptors: readonly Interceptor[];
  /** Aborted with the error that calls end with. */
  readonly shutdownSignal: AbortSignal;
  readonly log: Log;
}

/**
 * Serves the RPCs over Connect, gRPC and gRPC-Web, and explains what does not lead to one. Does what
 * `connectNodeAdapter` does from the same parts; that one throws into the process when a request has no usable
 * host, and answers wrong paths, methods and content types without a word.
 */
export function createConnectHandler(
  options: ConnectHandlerOptions,
): (request: HttpRequest, response: HttpResponse) => void {
  const { gate, interceptors, shutdownSignal, log } = options;
  const router = createConnectRouter({
    grpc: true,
    grpcWeb: true,
    connect: true,
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    maxTimeoutMs: maxCallTimeoutMs,
    acceptCompression: [compressionGzip, compressionBrotli],
    jsonOptions: { ignoreUnknownFields: false },
    interceptors: [errorInterceptor(log), ...interceptors],
    requestGate: gate,
    shutdownSignal,
  });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const knownPaths = [...handlers.keys()];
  return (request, response) => {
    const handler = handlers.get(pathOf(request));
    if (handler === undefined) return respondUnknownPath(request, response, knownPaths);
    serve(handler, request, response).catch((error: unknown) => {
      log.debug({ err: error, method: handler.requestPath.slice(1) }, "a response could not be written");
      response.destroy();
    });
  };
}

async function serve(handler: UniversalHandler, request: HttpRequest, response: HttpResponse): Promise<void> {
  const contextValues = createContextValues();
  const universal = readUniversal(request, response, contextValues);
  if (universal === null) return respondHttpFault(request, response, 400, handler.allowedMethods);
  assertByteStreamRequest(universal);
  const kept = keepJsonBody(universal, universal.body);
  contextValues.set(callBodyKey, kept?.body);
  const answer = await handler(kept === undefined ? universal : { ...universal, body: kept.passed });
  if (answer.body === undefined && answer.status >= 400) {
    return respondHttpFault(request, response, answer.status, handler.allowedMethods);
  }
  await universalResponseToNodeResponse(answer, response);
}

// The host header goes into a URL; one that does not fit must cost its sender an answer, not us the process.
function readUniversal(
  request: HttpRequest,
  response: HttpResponse,
  contextValues: ReturnType<typeof createContextValues>,
): ReturnType<typeof universalRequestFromNodeRequest> | null {
  try {
    return universalRequestFromNodeRequest(request, response, undefined, contextValues);
  } catch {
    return null;
  }
}
