import type { Socket } from "node:net";

/** What every connection of HTTP/2 begins with, as far as it has to be seen. */
const http2Start = Buffer.from("PRI");

/**
 * Looks at the first bytes of a connection without TLS, puts them back, and tells what it speaks. One that stays
 * silent for `firstBytesMs`, or until `signal` is aborted, is closed.
 */
export function sniff(
  socket: Socket,
  { firstBytesMs, signal }: { readonly firstBytesMs: number; readonly signal: AbortSignal },
  decide: (speech: "h2" | "http/1.1") => void,
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
    decide(isHttp2(seen) ? "h2" : "http/1.1");
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
