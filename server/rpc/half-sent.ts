/** How long the parts of a request may take. */
export interface RequestPace {
  /** For one message, from its first byte to its last; each 16 KiB of it give a second more. Default 30 s. */
  readonly messageMs?: number;
  /** For the first message of a call, and the time between messages where strangers may call. Default 10 s. */
  readonly silentMs?: number;
}

/** What is waited for of a call. */
export type Expected =
  /** One message, and the end of the request. */
  | "one"
  /** Messages, with any time between them. */
  | "stream"
  /** Messages of a stranger. */
  | "stream-of-stranger";

const bytesPerSecond = 16 * 1024;

/**
 * Watches the messages of a request come in, and calls `late` once when one of them is left unfinished: a client
 * that drips bytes, or stops in the midst, would hold its call for ever. Ends with `stop`.
 */
export class HalfSentWatch {
  readonly #expected: Expected;
  readonly #messageMs: number;
  readonly #silentMs: number;
  readonly #late: () => void;
  /** Looks at `#dueMs` when it fires: a timer for each message would cost more than the look. */
  #timer: NodeJS.Timeout | undefined;
  #timerMs = 0;
  #dueMs: number | undefined;
  /** What the five bytes before a message have said so far. */
  readonly #head = Buffer.alloc(5);
  #headBytes = 0;
  /** Bytes of the message that have not come. */
  #leftBytes = 0;
  #extraBytes = 0;

  constructor(expected: Expected, late: () => void, pace: RequestPace = {}) {
    this.#expected = expected;
    this.#late = late;
    this.#messageMs = pace.messageMs ?? 30_000;
    this.#silentMs = pace.silentMs ?? 10_000;
    this.#wait(expected === "one" ? this.#messageMs : this.#silentMs);
  }

  /** A part of the request has come. */
  saw(chunk: Uint8Array): void {
    this.#extraBytes += chunk.length;
    if (this.#expected === "one") return;
    const wasBetween = this.#headBytes === 0;
    const hasEnded = this.#follow(chunk);
    if (this.#headBytes !== 0) {
      if (wasBetween || hasEnded) this.#wait(this.#messageMs);
    } else if (this.#expected === "stream-of-stranger") this.#wait(this.#silentMs);
    else this.#dueMs = undefined;
  }

  /** The request has ended. */
  stop(): void {
    this.#dueMs = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(ms: number): void {
    this.#extraBytes = 0;
    this.#dueMs = performance.now() + ms;
    if (this.#timer === undefined || this.#dueMs < this.#timerMs) this.#arm(ms);
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#timerMs = performance.now() + ms;
    this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#timer = undefined;
    if (this.#dueMs === undefined) return;
    const extraMs = Math.floor(this.#extraBytes / bytesPerSecond) * 1_000;
    this.#extraBytes %= bytesPerSecond;
    this.#dueMs += extraMs;
    const leftMs = this.#dueMs - performance.now();
    if (leftMs > 1) this.#arm(leftMs);
    else {
      this.#dueMs = undefined;
      this.#late();
    }
  }

  // A message is a byte of flags, four of length, and so many bytes. Tells whether one has ended.
  #follow(chunk: Uint8Array): boolean {
    let hasEnded = false;
    for (let at = 0; at < chunk.length; ) {
      if (this.#headBytes < 5) {
        this.#head[this.#headBytes++] = chunk[at++] ?? 0;
        if (this.#headBytes < 5) continue;
        this.#leftBytes = this.#head.readUInt32BE(1);
      } else {
        const taken = Math.min(this.#leftBytes, chunk.length - at);
        this.#leftBytes -= taken;
        at += taken;
      }
      if (this.#headBytes === 5 && this.#leftBytes === 0) {
        this.#headBytes = 0;
        hasEnded = true;
      }
    }
    return hasEnded;
  }
}
