import type { Server as Http1Server } from "node:http";
import type { Http2Server } from "node:http2";
import { createServer, type Server, type Socket } from "node:net";

/** What every connection of HTTP/2 begins with, as far as it has to be seen. */
const http2Start = Buffer.from("PRI");

/**
 * One listener for HTTP/1.1 and HTTP/2 without TLS: looks at the first bytes of a connection, puts them back and
 * hands it to the server that speaks it. Those servers never listen themselves. A connection that stays silent
 * for `firstBytesMs`, or until `signal` is aborted, is closed.
 */
export function createOnePortServer(
  http1: Http1Server,
  http2: Http2Server,
  { firstBytesMs, signal }: { readonly firstBytesMs: number; readonly signal: AbortSignal },
): Server {
  // As net.Server is made by http and http2 themselves: half-open, because a client of HTTP/1.1 may end its side
  // after the request.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    // Outlives the hand-over: between two owners an error would have no listener, and end the process.
    socket.on("error", () => socket.destroy());
    sniff(socket, firstBytesMs, signal, (first) => {
      if (isHttp2(first)) {
        // HTTP/2 has no half-open connections.
        socket.allowHalfOpen = false;
        http2.emit("connection", socket);
      } else http1.emit("connection", socket);
    });
  });
  // A server of HTTP/1.1 begins to enforce its timeouts when it listens.
  server.once("listening", () => http1.emit("listening"));
  return server;
}

function sniff(
  socket: Socket,
  firstBytesMs: number,
  signal: AbortSignal,
  decide: (first: Buffer) => void,
): void {
  let seen = Buffer.alloc(0);
  const close = (): void => {
    socket.destroy();
  };
  const timer = setTimeout(close, firstBytesMs);
  // `readable` and not `data`: flowing data would be lost between this listener and the next owner's.
  const read = (): void => {
    for (;;) {
      const chunk: Buffer | null = socket.read();
      if (chunk === null) return;
      seen = Buffer.concat([seen, chunk]);
      const isUndecided = seen.length < http2Start.length && http2Start.subarray(0, seen.length).equals(seen);
      if (!isUndecided) break;
    }
    stop();
    socket.unshift(seen);
    decide(seen);
  };
  const stop = (): void => {
    clearTimeout(timer);
    signal.removeEventListener("abort", close);
    socket.off("readable", read);
    socket.off("end", close);
    socket.off("close", stop);
  };
  socket.on("readable", read);
  socket.on("end", close);
  socket.on("close", stop);
  signal.addEventListener("abort", close);
}

function isHttp2(first: Buffer): boolean {
  return first.subarray(0, http2Start.length).equals(http2Start);
}
