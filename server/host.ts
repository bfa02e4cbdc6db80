import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { Config } from "./config.ts";

/** How a process stands. */
export interface ProcessFacts {
  readonly nodeVersion: string;
  readonly rssBytes: number;
  /** Of the container, or of the machine. */
  readonly memoryLimitBytes: number;
  readonly heapBytes: number;
  readonly heapLimitBytes: number;
  /** How late the event loop was at most in the last one to two minutes. */
  readonly loopDelayMs: number;
  /** Streams that are served. */
  readonly watches: number;
}

/** A process and its files. */
export interface Host {
  read(): ProcessFacts;
  /** When the certificate of the listeners ends; null without TLS. Throws when it cannot be read. */
  certificateEndsAt(): Date | null;
}

/** Watches this process from its start on; `watches` tells how many streams it serves. */
export class HostWatch implements Host {
  readonly #config: Config;
  readonly #watches: () => number;
  readonly #delay: ReturnType<typeof monitorEventLoopDelay>;
  readonly #timer: NodeJS.Timeout;
  #lastMinuteMs = 0;

  constructor(config: Config, watches: () => number) {
    this.#config = config;
    this.#watches = watches;
    this.#delay = monitorEventLoopDelay({ resolution: resolutionMs });
    this.#delay.enable();
    this.#timer = setInterval(() => this.#turn(), 60_000).unref();
  }

  /** How this process stands. */
  read(): ProcessFacts {
    const heap = getHeapStatistics();
    return {
      nodeVersion: process.versions.node,
      rssBytes: process.memoryUsage.rss(),
      memoryLimitBytes: memoryLimitBytes(),
      heapBytes: heap.used_heap_size,
      heapLimitBytes: heap.heap_size_limit,
      loopDelayMs: Math.max(this.#lastMinuteMs, latenessMs(this.#delay)),
      watches: this.#watches(),
    };
  }

  /** When the certificate of the listeners ends; null without TLS. Throws when its file cannot be read. */
  certificateEndsAt(): Date | null {
    const { tlsCert } = this.#config;
    return tlsCert === undefined ? null : new X509Certificate(readFileSync(tlsCert)).validToDate;
  }

  /** Watches no more. */
  stop(): void {
    clearInterval(this.#timer);
    this.#delay.disable();
  }

  #turn(): void {
    this.#lastMinuteMs = latenessMs(this.#delay);
    this.#delay.reset();
  }
}

const resolutionMs = 20;

// What is measured is the time between two looks.
function latenessMs({ max, count }: { readonly max: number; readonly count: number }): number {
  return count === 0 ? 0 : Math.max(0, max / 1e6 - resolutionMs);
}

// A container may be given less than the machine has.
function memoryLimitBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 && limit < totalmem() ? limit : totalmem();
}
