import type { Socket } from "node:net";
import type { Clock } from "../../../worker/clock.ts";
import type { Random } from "../random.ts";
import type { Effect } from "./tcp-faults.ts";

/** Bytes that a lane keeps before it lets its source wait. */
const maxQueuedBytes = 256 * 1024;

/** What a lane needs. */
export interface LaneOptions {
  readonly from: Socket;
  readonly to: Socket;
  readonly clock: Clock;
  readonly random: Random;
  /** The harm of this moment. */
  readonly effect: () => Effect;
  /** Looks at what comes, and says what goes on. When it throws, the connection is broken. */
  readonly filter: (chunk: Buffer) => readonly Buffer[];
  /** So many bytes came and are gone. */
  readonly swallowed: (bytes: number) => void;
  /** Something cannot be made good: both sides are to be reset. */
  readonly broken: () => void;
}

interface Queued {
  readonly bytes: Buffer;
  readonly dueMs: number;
}

/**
 * One direction of a connection. Bytes wait in a queue with a bound, and go on in order when they are due, when the
 * link is free and when the other side takes them. An end follows the bytes; a loss (`cut`) overtakes them, as RST
 * does. While the flow is held or swallowed neither is told.
 */
export class Lane {
  readonly #options: LaneOptions;
  #queue: Queued[] = [];
  #queuedBytes = 0;
  #passedBytes = 0;
  #lastDueMs = 0;
  #freeAtMs = 0;
  #ending: { readonly how: "end" | "cut"; readonly dueMs: number } | undefined;
  #isOver = false;
  #isBlocked = false;
  #hasLost = false;
  #callOff: (() => void) | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
    const { from, to } = options;
    from.on("data", (chunk: Buffer) => this.#arrive(chunk));
    from.on("end", () => this.#finish("end"));
    from.on("close", (hadError) => this.#finish(hadError || !from.readableEnded ? "cut" : "end"));
    to.on("drain", () => {
      this.#isBlocked = false;
      this.#pump();
    });
  }

  /** Bytes handed on. */
  get passedBytes(): number {
    return this.#passedBytes;
  }

  /** The faults changed. */
  update(): void {
    if (this.#options.effect().flow === "pass" && this.#hasLost) this.#options.broken();
    else this.#pump();
  }

  /** What comes from now on is of a stream that lost something. */
  lose(): void {
    this.#hasLost = true;
  }

  /** Puts bytes after those that wait. */
  inject(bytes: Buffer): void {
    this.#push(bytes);
    this.#pump();
  }

  /** Hands nothing on any more. */
  stop(): void {
    this.#isOver = true;
    this.#callOff?.();
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #arrive(chunk: Buffer): void {
    if (this.#isOver) return;
    if (this.#options.effect().flow === "swallow") {
      this.#hasLost = true;
      this.#options.swallowed(chunk.length);
      return;
    }
    const passing = this.#filtered(chunk);
    if (this.#isOver) return;
    for (const bytes of passing) this.#push(bytes);
    if (this.#queuedBytes >= maxQueuedBytes) this.#options.from.pause();
    this.#pump();
  }

  // What a filter cannot read, it cannot let pass in part.
  #filtered(chunk: Buffer): readonly Buffer[] {
    try {
      return this.#options.filter(chunk);
    } catch {
      this.#options.broken();
      return [];
    }
  }

  #push(bytes: Buffer): void {
    const { delayMs, jitterMs } = this.#options.effect();
    const waitMs = delayMs + (jitterMs > 0 ? this.#options.random.next() * jitterMs : 0);
    this.#lastDueMs = Math.max(this.#lastDueMs, this.#options.clock.nowMs() + waitMs);
    this.#queue.push({ bytes, dueMs: this.#lastDueMs });
    this.#queuedBytes += bytes.length;
  }

  #finish(how: "end" | "cut"): void {
    if (this.#isOver || this.#ending?.how === "cut" || this.#ending?.how === how) return;
    this.#ending = { how, dueMs: this.#options.clock.nowMs() + this.#options.effect().closeDelayMs };
    this.#pump();
  }

  // Goes on until something is to be waited for: a time, the other side, a heal. Each of these calls it again.
  #pump(): void {
    this.#callOff?.();
    this.#callOff = undefined;
    while (this.#step()) {}
  }

  #step(): boolean {
    const effect = this.#options.effect();
    if (this.#isOver || effect.flow !== "pass") return false;
    const nowMs = this.#options.clock.nowMs();
    const [head] = this.#queue;
    const ending = this.#ending;
    if (ending?.how === "cut" || (ending !== undefined && head === undefined)) {
      if (this.#wait(ending.dueMs - nowMs)) return false;
      this.stop();
      if (ending.how === "cut") this.#options.to.resetAndDestroy();
      else this.#options.to.end();
      return false;
    }
    if (head === undefined || this.#isBlocked) return false;
    if (this.#wait(Math.max(head.dueMs, this.#freeAtMs) - nowMs)) return false;
    this.#pass(head, effect, nowMs);
    if (!Number.isFinite(effect.sliceBytes)) return true;
    // What was cut apart is written apart: in a turn of the event loop each.
    this.#soon();
    return false;
  }

  #pass(head: Queued, effect: Effect, nowMs: number): void {
    const { from, to } = this.#options;
    // A tenth of a second at once, so that a narrow link trickles.
    const burst = Math.max(1, Math.floor(effect.bytesPerSecond / 10));
    const size = Math.min(head.bytes.length, effect.sliceBytes, burst);
    const piece = head.bytes.subarray(0, size);
    if (size === head.bytes.length) this.#queue.shift();
    else this.#queue[0] = { bytes: head.bytes.subarray(size), dueMs: head.dueMs };
    this.#queuedBytes -= size;
    this.#passedBytes += size;
    if (Number.isFinite(effect.bytesPerSecond)) {
      this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (size / effect.bytesPerSecond) * 1000;
    }
    this.#isBlocked = !to.write(piece);
    if (from.isPaused() && this.#queuedBytes < maxQueuedBytes / 2) from.resume();
  }

  #wait(ms: number): boolean {
    if (ms <= 0) return false;
    this.#callOff = this.#options.clock.after(ms, () => this.#pump());
    return true;
  }

  #soon(): void {
    const soon = setImmediate(() => this.#pump());
    this.#callOff = () => clearImmediate(soon);
  }
}
