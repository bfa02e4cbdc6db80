import { constants, type ServerHttp2Session } from "node:http2";

/** Why a connection of HTTP/2 was closed on its client. */
export type Flood = "pings" | "settings" | "silent";

/** What a connection of HTTP/2 may do. */
export interface SessionGuardOptions {
  /** Time for its first request. */
  readonly firstRequestMs: number;
  /** Called when it is closed for what it does. */
  readonly closed: (why: Flood) => void;
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
  /** Streams that a client may reset: so many at once, and so many a second after that. */
  streamResetBurst: 1_000,
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
 * it nothing. The frames that make no event (WINDOW_UPDATE, CONTINUATION, resets) are bounded inside Node.
 */
export function guardSession(session: ServerHttp2Session, options: SessionGuardOptions): void {
  const nowMs = options.nowMs ?? (() => performance.now());
  const close = (why: Flood, code: number, text: string): void => {
    if (session.destroyed) return;
    options.closed(why);
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

/** So many at once, and so many a second. */
class Allowance {
  readonly #burst: number;
  readonly #perMs: number;
  readonly #nowMs: () => number;
  #left: number;
  #atMs: number;

  constructor(burst: number, perSecond: number, nowMs: () => number) {
    this.#burst = burst;
    this.#perMs = perSecond / 1_000;
    this.#nowMs = nowMs;
    this.#left = burst;
    this.#atMs = nowMs();
  }

  take(): boolean {
    const now = this.#nowMs();
    this.#left = Math.min(this.#burst, this.#left + (now - this.#atMs) * this.#perMs);
    this.#atMs = now;
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }

  refill(): void {
    this.#left = this.#burst;
  }
}
