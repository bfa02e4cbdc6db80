import type { ConnectRequest, ConnectResponse, GoingAway, Hello, Welcome } from "@muster/client/v1/link";

/** What every message may be at most, in bytes, in both directions. */
export const maxMessageBytes = 4 * 1024 * 1024;

/** Makes links. One link at a time: the next is opened after the last has ended. */
export interface Transport {
  /**
   * Opens a link: sends the Hello and waits for the Welcome. Rejects with a ConnectError, or with a
   * GoingAwayError when the coordinator answers by sending the worker away.
   * `address`: where to connect instead of the configured address, when the coordinator said so.
   */
  open(hello: Hello, options: OpenOptions): Promise<Link>;
}

/** How to open a link. */
export interface OpenOptions {
  /** Ends the opening; has no part in the link once it is open. */
  readonly signal: AbortSignal;
  /** Instead of the configured address. */
  readonly address: string | undefined;
}

/** An open link: frames out, frames in, the same for a stream and for the unary twins. */
export interface Link {
  /** What the coordinator answered. */
  readonly welcome: Welcome;
  /** What carries it. */
  readonly transport: "stream" | "poll";
  /** After this long a better transport is worth a try. Absent: it is the best there is. */
  readonly improveAfterMs: number | undefined;
  /** What the coordinator sends, once. Ends when the link does; throws a ConnectError when it broke. */
  readonly frames: AsyncIterable<ConnectResponse>;
  /** Sends a frame; resolves when there is room for the next one, or when the link has ended. Never rejects. */
  send(frame: ConnectRequest): Promise<void>;
  /** Ends the link; with `improve`, so that a better transport may be tried next. */
  close(cause?: "improve"): void;
}

/** The coordinator ended the link, or did not begin it, with a GoingAway. */
export class GoingAwayError extends Error {
  override readonly name = "GoingAwayError";
  /** What it said. */
  readonly frame: GoingAway;

  constructor(frame: GoingAway) {
    super(frame.detail === "" ? "the coordinator ended the link" : frame.detail);
    this.frame = frame;
  }
}
