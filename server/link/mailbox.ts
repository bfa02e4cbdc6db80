import type { ConnectResponse } from "@muster/client/v1/link";
import { frameBytes } from "./frame-size.ts";
import type { FrameSink } from "./session.ts";

/** Frames that may wait for a worker that does not read, and their bytes. */
const maxFrames = 4_096;
const maxBytes = 8 * 1024 * 1024;

/** How long each of them may wait. */
const maxWaitMs = 10_000;

interface Waiting {
  readonly frame: ConnectResponse;
  readonly bytes: number;
  readonly sinceMs: number;
}

/**
 * The frames of a stream on their way out. Control goes first: offers never
 * hold up an acknowledgement or a cancel. A worker that does not read is cut
 * off, which costs bounded memory and leaves its leases untouched: when too
 * much waits for it, or when a frame waited too long.
 */
export class Mailbox implements FrameSink {
  readonly #nowMs: () => number;
  readonly #overflow: () => void;
  #control: Waiting[] = [];
  #offers: Waiting[] = [];
  #bytes = 0;
  #wake: (() => void) | undefined;
  #isOverflown = false;
  #isEnded = false;

  /** @param overflow called once when the worker reads too slowly; it ends the mailbox. */
  constructor(nowMs: () => number, overflow: () => void) {
    this.#nowMs = nowMs;
    this.#overflow = overflow;
  }

  send(frame: ConnectResponse): void {
    if (this.#isEnded) return;
    const isLast = frame.frame.case === "goingAway";
    const waiting = { frame, bytes: frameBytes(frame), sinceMs: this.#nowMs() };
    if (!isLast && this.#isTooMuch(waiting.bytes)) return this.#cutOff();
    (frame.frame.case === "offer" || isLast ? this.#offers : this.#control).push(waiting);
    this.#bytes += waiting.bytes;
    this.#wake?.();
  }

  /** Called each second: also a worker to which nothing new is said must read what was said. */
  check(): void {
    if (!this.#isEnded && this.#isTooMuch(0)) this.#cutOff();
  }

  end(): void {
    this.#isEnded = true;
    this.#wake?.();
  }

  /** Frames that were not taken. */
  get size(): number {
    return this.#control.length + this.#offers.length;
  }

  /** A frame waits for longer than any should. */
  get isOld(): boolean {
    const oldestMs = Math.min(
      this.#control[0]?.sinceMs ?? Number.POSITIVE_INFINITY,
      this.#offers[0]?.sinceMs ?? Number.POSITIVE_INFINITY,
    );
    return this.#nowMs() - oldestMs > maxWaitMs;
  }

  /** The frames, once. Ends after `end()` and what was sent before it, or when the signal aborts. */
  async *frames(signal: AbortSignal): AsyncGenerator<ConnectResponse> {
    const aborted = () => this.end();
    signal.addEventListener("abort", aborted, { once: true });
    try {
      while (!signal.aborted) {
        const next = this.#control.shift() ?? this.#offers.shift();
        if (next) {
          this.#bytes -= next.bytes;
          yield next.frame;
          continue;
        }
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
    const frames = [...this.#control, ...this.#offers].map(({ frame }) => frame);
    this.#clear();
    return frames;
  }

  /** Resolves when there is a frame, at the end, after the wait, or when the signal aborts. */
  async waitForFrame(maxMs: number, signal: AbortSignal): Promise<void> {
    if (this.size > 0 || this.#isEnded || signal.aborted) return;
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

  // One frame may be larger than all that may wait: it is taken by a worker that reads.
  #isTooMuch(bytes: number): boolean {
    if (this.size === 0) return false;
    return this.size >= maxFrames || this.#bytes + bytes > maxBytes || this.isOld;
  }

  #cutOff(): void {
    if (this.#isOverflown) return;
    this.#isOverflown = true;
    this.#clear();
    this.#overflow();
  }

  #clear(): void {
    this.#control = [];
    this.#offers = [];
    this.#bytes = 0;
  }
}
