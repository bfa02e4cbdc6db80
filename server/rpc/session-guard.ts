import { constants, type ServerHttp2Session } from "node:http2";
import type { Addresses } from "./addresses.ts";
import { Allowance } from "./allowance.ts";

/** Why a connection of HTTP/2 was closed on its client. */
export type Flood = "pings" | "settings" | "protocol" | "silent";

/** What a connection of HTTP/2 may do. */
export interface SessionGuardOptions {
  /** Time for its first request. */
  readonly firstRequestMs: number;
  /** Told of floods, so that the address of one is shut out. */
  readonly addresses: Addresses;
  /** Called when it is closed for what it does. */
  readonly turnedAway?: ((why: Flood) => void) | undefined;
  /** Milliseconds of a steady clock. */
  readonly nowMs?: () => number;
}

/** Bounds of every server of HTTP/2 here; the window of a stream bounds what it may have in flight. */
export const http2Limits = {
  /**
   * As many streams as clients take for granted before they have heard of a limit: with fewer, calls that are made
   * at once on a new connection would be refused.
   */
  settings: { maxConcurrentStreams: 100, maxHeaderListSize: 16 * 1024 },
  maxHeaderListPairs: 64,
  /** In megabytes. */
  maxSessionMemory: 16,
  /**
   * Streams that a client may reset: so many at once, which is twice all that it may have, and so many a second after
   * that. Each of them cost a request by then.
   */
  streamResetBurst: 200,
  streamResetRate: 33,
} as const;

/** Pings at once, and a second after that, of a connection on which nothing is sent to the client. */
const pingBurst = 100;
const pingsPerSecond = 10;
/** Pings beyond, after which the connection is closed, as gRPC does (its proposal A8). */
const pingStrikes = 2;
/** Changes of settings at once, and a second after that. */
const settingsBurst = 30;
const settingsPerSecond = 1;
/** What the answer to a ping may take on the wire, in TLS with a record of its own. */
const pingAnswerBytes = 48;

/**
 * Closes a connection that makes no request in time, or that floods: what the client may send without end and costs
 * it nothing. The frames that make no event (WINDOW_UPDATE, CONTINUATION, resets) are bounded inside Node,
 * which ends such a connection with an error of the protocol.
 */
export function guardSession(session: ServerHttp2Session, options: SessionGuardOptions): void {
  const nowMs = options.nowMs ?? (() => performance.now());
  const flooded = session.socket === undefined ? () => {} : options.addresses.floodOf(session.socket);
  let isClosed = false;
  const closed = (why: Flood): void => {
    isClosed = true;
    if (why !== "silent") flooded();
    options.turnedAway?.(why);
  };
  const close = (why: Flood, code: number, text: string): void => {
    if (session.destroyed || isClosed) return;
    closed(why);
    session.goaway(code, 0, Buffer.from(text));
    // After the GOAWAY has left.
    setImmediate(() => session.destroy());
  };
  const silence = setTimeout(
    () => close("silent", constants.NGHTTP2_NO_ERROR, "no_request"),
    options.firstRequestMs,
  ).unref();
  session.once("stream", () => clearTimeout(silence));
  session.once("close", () => clearTimeout(silence));

  session.once("error", (error) => {
    if (!isClosed && isOffence(error)) closed("protocol");
  });

  const pings = new Allowance(pingBurst, pingsPerSecond, nowMs);
  let strikes = 0;
  let sentBytes = 0;
  let answers = 0;
  session.on("ping", () => {
    answers++;
    const sent = session.socket?.bytesWritten ?? 0;
    // What was sent beyond the answers to pings gives the client a reason to ask how long the way is.
    if (sent > sentBytes + answers * pingAnswerBytes) {
      pings.refill();
      strikes = 0;
    }
    if (sent > sentBytes) {
      sentBytes = sent;
      answers = 0;
    }
    if (pings.take()) return;
    strikes++;
    if (strikes === pingStrikes + 1) close("pings", constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
  });
  const changes = new Allowance(settingsBurst, settingsPerSecond, nowMs);
  session.on("remoteSettings", () => {
    if (!changes.take()) close("settings", constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_settings");
  });
}

/** What is no HTTP/2 from its first byte on, such as a probe of HTTP/1.1 on the worker port. */
const badStart = -903;

// An error of the protocol by the client; connections that break have others.
function isOffence(error: NodeJS.ErrnoException): boolean {
  return error.code === "ERR_HTTP2_ERROR" && error.errno !== badStart;
}
