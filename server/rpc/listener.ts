import { createServer as createHttp1Server } from "node:http";
import {
  createServer as createHttp2Server,
  createSecureServer,
  type Http2SecureServer,
  type Http2Server,
} from "node:http2";
import type { Server, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import { type ConnectHandlerOptions, createConnectHandler } from "./connect-handler.ts";
import { Connections } from "./connections.ts";
import { allowOrigins } from "./cors.ts";
import { shuttingDown } from "./errors.ts";
import type { HealthState } from "./health.ts";
import type { HttpRequest, HttpResponse, HttpRoute } from "./http.ts";
import { createOnePortServer } from "./one-port.ts";
import { probeRoute, type ReadyCheck } from "./probes.ts";

/** Certificate chain and key (PEM); with `ca`, clients must show a certificate that it signed. */
export interface TlsOptions {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  readonly ca?: string | Buffer;
}

/** What the API listener serves. */
export interface ApiListenerOptions extends Omit<ConnectHandlerOptions, "shutdownSignal"> {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls?: TlsOptions | undefined;
  /** Plain routes, asked in order before the RPCs, e.g. those of artifacts. */
  readonly extraRoutes: readonly HttpRoute[];
  readonly ready: ReadyCheck;
  /** Taken back first at a stop. */
  readonly health: HealthState;
  readonly corsOrigins: readonly string[];
  /** Aborted: stops at once. */
  readonly signal: AbortSignal;
  /** For the first bytes of a connection, its TLS handshake and the headers of a request. Default 10 s. */
  readonly firstBytesMs?: number;
}

/** A listener at work. */
export interface ApiListener {
  readonly port: number;
  /** `http://127.0.0.1:7070`: where it listens, not what is advertised. */
  readonly address: string;
  /**
   * Takes no more connections, answers NOT_SERVING, ends streams with SHUTTING_DOWN, tells HTTP/2 clients to go
   * elsewhere, and lets calls end for `graceMs` before it closes their connections. Safe to call again.
   */
  stop(options: { readonly graceMs: number }): Promise<void>;
}

/** The listener cannot be opened. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  readonly code: "PORT_IN_USE" | "ADDRESS_UNAVAILABLE" | "PORT_FORBIDDEN" | "LISTEN_FAILED";
  readonly suggestion: string;

  constructor(code: ListenError["code"], message: string, suggestion: string, cause: unknown) {
    super(message, { cause });
    this.code = code;
    this.suggestion = suggestion;
  }
}

/** Opens the API listener. Rejects with ListenError; errors of single connections never leave it. */
export async function startApiListener(options: ApiListenerOptions): Promise<ApiListener> {
  const { host, health, log, signal, tls } = options;
  const stopping = new AbortController();
  const connections = new Connections();
  const serve = requestHandler(options, connections, stopping.signal);
  const firstBytesMs = options.firstBytesMs ?? 10_000;
  const server =
    tls === undefined
      ? plainServer(connections, serve, firstBytesMs, stopping.signal)
      : secureServer(tls, connections, serve, firstBytesMs);
  server.on("connection", (socket: Socket) => connections.add(socket));
  const port = await listen(server, options);
  server.on("error", (error) => log.error({ err: error }, "the API listener failed"));

  let stopped: Promise<void> | undefined;
  const stop = async (graceMs: number): Promise<void> => {
    health.setServing(false);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    // Watchers of health hear of it before their streams end.
    await nextTurn();
    stopping.abort(shuttingDown());
    connections.drain();
    const timer = setTimeout(() => connections.destroy(), graceMs);
    await closed;
    clearTimeout(timer);
    signal.removeEventListener("abort", stopNow);
  };
  const stopNow = (): void => {
    connections.destroy();
    stopped ??= stop(0);
  };
  if (signal.aborted) stopNow();
  else signal.addEventListener("abort", stopNow, { once: true });
  return {
    port,
    address: `${tls === undefined ? "http" : "https"}://${inUrl(host)}:${port}`,
    stop: ({ graceMs }) => {
      stopped ??= stop(graceMs);
      return stopped;
    },
  };
}

type Serve = (request: HttpRequest, response: HttpResponse) => void;

/** Bounds of HTTP/2; the window of a stream bounds what it may have in flight. */
const http2Limits = {
  settings: { maxConcurrentStreams: 100, maxHeaderListSize: 16 * 1024 },
  maxHeaderListPairs: 64,
  /** In megabytes. */
  maxSessionMemory: 16,
};

/** A request over HTTP/1.1 may take this long to come in: that of an artifact, as long as its URL lives. */
const requestTimeoutMs = 10 * 60_000;

function requestHandler(
  options: ApiListenerOptions,
  connections: Connections,
  shutdownSignal: AbortSignal,
): Serve {
  const routes = [
    allowOrigins(options.corsOrigins),
    probeRoute(options.health, options.ready),
    ...options.extraRoutes,
  ];
  const rpc = createConnectHandler({ ...options, shutdownSignal });
  return (request, response) => {
    if (request.httpVersionMajor === 1) connections.busy(request.socket, response);
    // A peer that goes away while its request or response is under way is no error of ours.
    request.on("error", () => response.destroy());
    response.on("error", () => response.destroy());
    if (!routes.some((route) => route(request, response))) rpc(request, response);
  };
}

function plainServer(
  connections: Connections,
  serve: Serve,
  firstBytesMs: number,
  signal: AbortSignal,
): Server {
  const http1 = createHttp1Server({
    ...http1Timeouts(firstBytesMs),
    maxHeaderSize: 16 * 1024,
  });
  const http2 = createHttp2Server(http2Limits);
  http1.on("request", serve);
  http1.on("connection", (socket) => connections.addHttp1(socket));
  adopt(http2, connections, serve);
  const server = createOnePortServer(http1, http2, { firstBytesMs, signal });
  // It never listened; this ends the interval that enforces its timeouts.
  server.once("close", () => http1.close());
  return server;
}

function http1Timeouts(firstBytesMs: number) {
  return {
    headersTimeout: firstBytesMs,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, firstBytesMs),
  };
}

function secureServer(
  { cert, key, ca }: TlsOptions,
  connections: Connections,
  serve: Serve,
  firstBytesMs: number,
): Server {
  const server = createSecureServer({
    ...http2Limits,
    cert,
    key,
    ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
    allowHTTP1: true,
    handshakeTimeout: firstBytesMs,
  });
  // The typings know nothing of these, which a server of both versions has as one of HTTP/1.1 has them.
  Object.assign(server, http1Timeouts(firstBytesMs));
  server.on("secureConnection", (socket: TLSSocket) => {
    socket.on("error", () => socket.destroy());
    if (socket.alpnProtocol !== "h2") connections.addHttp1(socket);
  });
  adopt(server, connections, serve);
  return server;
}

function adopt(http2: Http2Server | Http2SecureServer, connections: Connections, serve: Serve): void {
  http2.on("request", serve);
  http2.on("session", (session) => connections.addSession(session));
}

function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(listenError(error, host, port));
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): ListenError {
  const where = `${inUrl(host)}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new ListenError(
        "PORT_IN_USE",
        `The port is in use: ${where}`,
        "Stop the program that listens there, or give another port with --api-port (0 takes a free one).",
        error,
      );
    case "EACCES":
      return new ListenError(
        "PORT_FORBIDDEN",
        `This account may not listen on ${where}`,
        "Give a port from 1024 on with --api-port.",
        error,
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ListenError(
        "ADDRESS_UNAVAILABLE",
        `This machine does not have the address ${host}`,
        "Give an address of this machine with --api-host, such as 127.0.0.1.",
        error,
      );
    default:
      return new ListenError(
        "LISTEN_FAILED",
        `Cannot listen on ${where}: ${error.message}`,
        "Check --api-host and --api-port.",
        error,
      );
  }
}

function inUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
