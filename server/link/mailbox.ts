import type { ConnectResponse } from "@muster/client/v1/link";
import type { FrameSink } from "./session.ts";

/** Frames that may wait for a worker that does not read. */
const maxFrames = 4_096;

/** How long the oldest of them may wait. */
const maxWaitMs = 10_000;

/**
 * The frames of a stream on their way out. Control goes first: offers never
 * hold up an acknowledgement or a cancel. A worker that does not read is cut
 * off, which costs bounded memory and leaves its leases untouched.
 */
export class Mailbox implements FrameSink {
  readonly #nowMs: () => number;
  readonly #overflow: () => void;
  #control: ConnectResponse[] = [];
  #offers: ConnectResponse[] = [];
  #wake: (() => void) | undefined;
  #oldestMs: number | undefined;
  #isEnded = false;

  /** @param overflow called once when the worker reads too slowly; it ends the mailbox. */
  constructor(nowMs: () => number, overflow: () => void) {
    this.#nowMs = nowMs;
    this.#overflow = overflow;
  }

  send(frame: ConnectResponse): void {
    if (this.#isEnded) return;
    const isLast = frame.frame.case === "goingAway";
    this.#oldestMs ??= this.#nowMs();
    if (!isLast && (this.#size() >= maxFrames || this.#nowMs() - this.#oldestMs > maxWaitMs)) {
      this.#control = [];
      this.#offers = [];
      this.#overflow();
      return;
    }
    (frame.frame.case === "offer" || isLast ? this.#offers : this.#control).push(frame);
    this.#wake?.();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /** The frames, once. Ends after `end()` and what was sent before it, or when the signal aborts. */
  async *frames(signal: AbortSignal): AsyncGenerator<ConnectResponse> {
    const aborted = () => this.end();
    signal.addEventListener("abort", aborted, { once: true });
    try {
      while (!signal.aborted) {
        const next = this.#control.shift() ?? this.#offers.shift();
        if (next) {
          yield next;
          continue;
        }
        this.#oldestMs = undefined;
        if (this.#isEnded) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      signal.removeEventListener("abort", aborted);
    }
  }

  /** Takes all frames at once, for an answer to a poll. */
  take(): ConnectResponse[] {
    const frames = [...this.#control, ...this.#offers];
    this.#control = [];
    this.#offers = [];
    this.#oldestMs = undefined;
    return frames;
  }

  /** Resolves when there is a frame, at the end, after the wait, or when the signal aborts. */
  async waitForFrame(maxMs: number, signal: AbortSignal): Promise<void> {
    if (this.#size() > 0 || this.#isEnded || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, maxMs);
      signal.addEventListener("abort", () => resolve(), { once: true });
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #size(): number {
    return this.#control.length + this.#offers.length;
  }
}
