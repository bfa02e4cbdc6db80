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
import { bodyOf, discardRest } from "./request-body.ts";
import { universalHead } from "./universal-request.ts";
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
  const universal = universalHead(request, response, contextValues);
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
  if (isSmall(answer)) return respondAtOnce(answer, response);
  const watched = isStreamed(answer.body) ? { ...answer, body: watchUnread(answer.body, unread) } : answer;
  await universalResponseToNodeResponse(withPlainMessage(watched), response);
}

/** What is waited for of a request. Strangers may call the services that are not ours. */
export function expectedOf({ methodKind, parent }: DescMethod): Expected {
  if (methodKind === "unary" || methodKind === "server_streaming") return "one";
  return parent.typeName.startsWith("muster.") ? "stream" : "stream-of-stranger";
}

/** What a response may hold that is written at once: it is taken by the buffers below, read or not. */
const smallBytes = 16 * 1024;

// Of one message that is there, and with nothing to say after it.
function isSmall({ header, trailer, body }: UniversalServerResponse): boolean {
  const length = header?.get("content-length") ?? null;
  return isStreamed(body) && trailer === undefined && length !== null && Number(length) <= smallBytes;
}

// In one frame: writing, waiting and ending would be two, and its reader would wait for the second.
async function respondAtOnce(
  { status, header, body }: UniversalServerResponse,
  response: HttpResponse,
): Promise<void> {
  const parts: Uint8Array[] = [];
  if (isStreamed(body)) for await (const part of body) parts.push(part);
  response.writeHead(status, Object.fromEntries(header ?? []));
  const [first] = parts;
  response.end(parts.length === 1 && first !== undefined ? first : Buffer.concat(parts));
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
