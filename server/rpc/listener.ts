import { createServer as createHttp1Server } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { Server, Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Addresses } from "./addresses.ts";
import { type ConnectHandlerOptions, createConnectHandler } from "./connect-handler.ts";
import { Connections } from "./connections.ts";
import { allowOrigins } from "./cors.ts";
import { shuttingDown } from "./errors.ts";
import { createFront, isOwnAddress, type Speech } from "./front.ts";
import type { HealthState } from "./health.ts";
import type { HttpRequest, HttpResponse, HttpRoute } from "./http.ts";
import { sniff } from "./one-port.ts";
import { probeRoute, type ReadyCheck } from "./probes.ts";
import { guardSession, http2Limits } from "./session-guard.ts";
import type { TlsSource } from "./tls-source.ts";

/** Why a connection, or a request, was turned away: a label of the counter. */
export type Turned =
  | "address-limit"
  | "shut-out"
  | "handshake"
  | "certificate"
  | "silent"
  | "pings"
  | "settings"
  | "protocol"
  | "half-sent";

/** How strangers are kept from taking all there is, on both listeners. */
export interface EdgeOptions {
  readonly tls?: TlsSource | undefined;
  /** Connections of one address at once, and a tenth of that as new ones a second; 0: no limit. Default 2,000. */
  readonly connectionsPerAddress?: number;
  /** Addresses that are neither counted nor shut out when they flood. Default: those of this machine. */
  readonly isUncounted?: (address: string) => boolean;
  /** For the TLS handshake of a connection. Default 5 s. */
  readonly handshakeMs?: number;
  /** For the first bytes of a connection and its first request, and for the headers of each. Default 10 s. */
  readonly firstBytesMs?: number;
  /** Called for each connection and request that is turned away. */
  readonly turnedAway?: (why: Turned) => void;
}

/** What the API listener serves. */
export interface ApiListenerOptions extends Omit<ConnectHandlerOptions, "shutdownSignal">, EdgeOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Plain routes, asked in order before the RPCs, e.g. those of artifacts. */
  readonly extraRoutes: readonly HttpRoute[];
  readonly ready: ReadyCheck;
  /** Taken back first at a stop. */
  readonly health: HealthState;
  readonly corsOrigins: readonly string[];
  /** Aborted: stops at once. */
  readonly signal: AbortSignal;
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
  const server = createServers(options, connections, serve, stopping.signal);
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

const firstBytesDefaultMs = 10_000;

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
    if (request.httpVersionMajor === 1) {
      connections.busy(request.socket, response);
      closeUnended(request, response, options.firstBytesMs ?? firstBytesDefaultMs);
    }
    // A peer that goes away while its request or response is under way is no error of ours.
    request.on("error", () => response.destroy());
    response.on("error", () => response.destroy());
    if (!routes.some((route) => route(request, response))) rpc(request, response);
  };
}

// Over HTTP/1.1 a request goes on when it has its answer, for as long as any may take: whoever was refused would hold
// a connection by sending no more of it.
function closeUnended(request: HttpRequest, response: HttpResponse, restMs: number): void {
  response.once("finish", () => {
    const timer = setTimeout(() => request.socket.destroy(), restMs);
    const ended = () => clearTimeout(timer);
    if (request.readableEnded) ended();
    else request.once("end", ended).once("close", ended);
  });
}

function createServers(
  options: ApiListenerOptions,
  connections: Connections,
  serve: Serve,
  signal: AbortSignal,
): Server {
  const firstBytesMs = options.firstBytesMs ?? firstBytesDefaultMs;
  const http1 = createHttp1Server({
    headersTimeout: firstBytesMs,
    requestTimeout: requestTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, firstBytesMs),
    maxHeaderSize: 16 * 1024,
  });
  http1.on("request", serve);
  http1.on("connection", (socket) => connections.addHttp1(socket));
  const http2 = createHttp2Server(http2Limits);
  const front = frontOptions(options);
  http2.on("request", serve);
  http2.on("session", (session) => {
    connections.addSession(session);
    guardSession(session, {
      addresses: front.addresses,
      firstRequestMs: firstBytesMs,
      turnedAway: options.turnedAway,
    });
  });
  const speak = (socket: Socket, speech: Speech): void => {
    if (speech === "unknown") {
      sniff(socket, { firstBytesMs, signal }, (found) => speak(socket, found));
      return;
    }
    // HTTP/2 has no half-open connections.
    if (speech === "h2") socket.allowHalfOpen = false;
    (speech === "h2" ? http2 : http1).emit("connection", socket);
  };
  const server = createFront({
    ...front,
    protocols: ["h2", "http/1.1"],
    opened: (socket) => connections.add(socket),
    accept: speak,
  });
  // A server of HTTP/1.1 begins to enforce its timeouts when it listens, and this one never does.
  server.once("listening", () => http1.emit("listening"));
  server.once("close", () => http1.close());
  return server;
}

/** What the front of a listener is told, with the defaults. */
export function frontOptions(options: EdgeOptions) {
  return {
    tls: options.tls,
    handshakeMs: options.handshakeMs ?? 5_000,
    addresses: new Addresses({
      connectionsPerAddress: options.connectionsPerAddress ?? 2_000,
      isUncounted: options.isUncounted ?? isOwnAddress,
    }),
    refused: (why: Turned) => options.turnedAway?.(why),
  };
}

/** Opens a server of a listener; `name` is how its flags begin. Resolves with its port, rejects with ListenError. */
export function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  name: "api" | "worker" = "api",
): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(listenError(error, host, port, name));
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number, name: string): ListenError {
  const where = `${inUrl(host)}:${port}`;
  switch (error.code) {
    case "EADDRINUSE":
      return new ListenError(
        "PORT_IN_USE",
        `The port is in use: ${where}`,
        `Stop the program that listens there, or give another port with --${name}-port (0 takes a free one).`,
        error,
      );
    case "EACCES":
      return new ListenError(
        "PORT_FORBIDDEN",
        `This account may not listen on ${where}`,
        `Give a port from 1024 on with --${name}-port.`,
        error,
      );
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return new ListenError(
        "ADDRESS_UNAVAILABLE",
        `This machine does not have the address ${host}`,
        `Give an address of this machine with --${name}-host, such as 127.0.0.1.`,
        error,
      );
    default:
      return new ListenError(
        "LISTEN_FAILED",
        `Cannot listen on ${where}: ${error.message}`,
        `Check --${name}-host and --${name}-port.`,
        error,
      );
  }
}

function inUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
