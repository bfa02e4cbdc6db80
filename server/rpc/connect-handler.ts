import type { DescMethod } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  createConnectRouter,
  createContextValues,
  type Interceptor,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import type { Log } from "../domain/context.ts";
import { addressKey } from "./auth.ts";
import { callBodyKey, keepJsonBody } from "./call-body.ts";
import { errorInterceptor } from "./errors.ts";
import { type CallGate, isRefusedKey, maxCallTimeoutMs } from "./gate.ts";
import { type Expected, HalfSentWatch, type RequestPace } from "./half-sent.ts";
import { type HttpRequest, type HttpResponse, pathOf } from "./http.ts";
import { respondHttpFault, respondUnknownPath } from "./http-errors.ts";
import { unreadMs, watchUnread } from "./unread.ts";

/** What a message may be at most, in bytes, in both directions. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** What the RPCs are served with. */
export interface ConnectHandlerOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly gate: CallGate;
  /** Run inside the error mapping, the first outermost. */
  readonly interceptors: readonly Interceptor[];
  /** Aborted with the error that calls end with. */
  readonly shutdownSignal: AbortSignal;
  readonly log: Log;
  /** How long a caller may leave a part of its response unread. Default 30 s. */
  readonly unreadMs?: number;
  /** Called when a response was cut off for that. */
  readonly cutOff?: () => void;
  /** How long requests may take to come in. */
  readonly pace?: RequestPace;
  /** Called when a request was cut off because it did not. */
  readonly halfSent?: () => void;
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
    const unread = {
      maxMs: options.unreadMs ?? unreadMs,
      cutOff: () => {
        log.info(
          { method: handler.requestPath.slice(1) },
          "a response was cut off: its caller does not read",
        );
        options.cutOff?.();
        response.destroy();
      },
    };
    const halfSent = new HalfSentWatch(
      expectedOf(handler.method),
      () => {
        log.info({ method: handler.requestPath.slice(1) }, "a request was cut off: it was left half-sent");
        options.halfSent?.();
        request.destroy();
        response.destroy();
      },
      options.pace,
    );
    // The request may be read no more, or never: with the response its time is over.
    response.once("close", () => halfSent.stop());
    serve(handler, request, response, unread, halfSent).catch((error: unknown) => {
      log.debug({ err: error, method: handler.requestPath.slice(1) }, "a response could not be written");
      response.destroy();
    });
  };
}

async function serve(
  handler: UniversalHandler,
  request: HttpRequest,
  response: HttpResponse,
  unread: Parameters<typeof watchUnread>[1],
  halfSent: HalfSentWatch,
): Promise<void> {
  const contextValues = createContextValues();
  contextValues.set(addressKey, request.socket?.remoteAddress ?? "");
  const universal = readUniversal(request, response, contextValues);
  if (universal !== null) shortenTimeout(universal.header);
  if (universal === null) return respondHttpFault(request, response, 400, handler.allowedMethods);
  const body = bodyOf(request, halfSent);
  const { methodKind } = handler.method;
  // An envelope has five bytes before its message.
  const kept = keepJsonBody(universal, body, { methodKind, maxBytes: maxMessageBytes + 5 });
  contextValues.set(callBodyKey, kept?.body);
  const answer = await handler({ ...universal, body: kept?.passed ?? body });
  if (contextValues.get(isRefusedKey)) discardRest(request);
  if (answer.body === undefined && answer.status >= 400) {
    return respondHttpFault(request, response, answer.status, handler.allowedMethods);
  }
  const watched = isStreamed(answer.body) ? { ...answer, body: watchUnread(answer.body, unread) } : answer;
  await universalResponseToNodeResponse(withPlainMessage(watched), response);
}

/** What is waited for of a request. Strangers may call the services that are not ours. */
export function expectedOf({ methodKind, parent }: DescMethod): Expected {
  if (methodKind === "unary" || methodKind === "server_streaming") return "one";
  return parent.typeName.startsWith("muster.") ? "stream" : "stream-of-stranger";
}

function isStreamed(body: UniversalServerResponse["body"]): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && Symbol.asyncIterator in body;
}

/**
 * connect-es escapes far more of `grpc-message` than gRPC asks for, and grpc-js undoes less than gRPC asks for:
 * its users would read `%3A` for a colon. The trailers are complete only when they are read, after the body.
 */
function withPlainMessage(answer: UniversalServerResponse): UniversalServerResponse {
  const { trailer } = answer;
  if (trailer === undefined) return answer;
  const get = (): Headers => {
    const message = trailer.get("grpc-message");
    if (message !== null) trailer.set("grpc-message", escapedMessage(decodeURIComponent(message)));
    return trailer;
  };
  return Object.defineProperty({ ...answer }, "trailer", { get, enumerable: true });
}

// All but printable ASCII, and the sign of an escape itself.
function escapedMessage(message: string): string {
  return message.replace(/[^\x20-\x7e]+|%/g, (part) => encodeURIComponent(part));
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

// connect-es sets a timer for it before the gate can refuse it, and Node warns of timers beyond its longest.
function shortenTimeout(header: Headers): void {
  const timeout = header.get("connect-timeout-ms");
  if (timeout !== null && /^\d+$/.test(timeout) && Number(timeout) > longestTimerMs) {
    header.set("connect-timeout-ms", String(longestTimerMs));
  }
  const [, digits, unit = ""] = /^(\d{1,8})([HMS])$/.exec(header.get("grpc-timeout") ?? "") ?? [];
  if (Number(digits) * (secondsOf[unit] ?? 0) > longestTimerMs / 1_000) {
    header.set("grpc-timeout", `${Math.floor(longestTimerMs / 1_000)}S`);
  }
}

const secondsOf: Readonly<Record<string, number>> = { H: 3_600, M: 60, S: 1 };
const longestTimerMs = 2 ** 31 - 1;

/** What is read of a body that is refused, so that its sender gets to read the answer. */
const discardBytesMax = 16 * 1024 * 1024;

// Iterating a request destroys it when the reader stops early, and its connection with it: a client that still
// sends would see a broken connection instead of why it was refused.
async function* bodyOf(request: HttpRequest, halfSent: HalfSentWatch): AsyncIterable<Uint8Array> {
  try {
    for await (const chunk of request.iterator({ destroyOnReturn: false })) {
      halfSent.saw(chunk);
      yield chunk;
    }
  } finally {
    halfSent.stop();
    if (!request.readableEnded && !request.destroyed) discardRest(request);
  }
}

function discardRest(request: HttpRequest): void {
  let left = discardBytesMax;
  request.on("error", () => request.destroy());
  request.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
}
