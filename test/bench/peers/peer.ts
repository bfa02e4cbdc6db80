import type { BenchPayload, Seen } from "../seen.ts";

/*
 * Each system that is measured is two small programs of the same form, in processes of their own: what submits, and
 * what works. So all are driven by the same code, with the same payload, clock and batch sizes.
 */

/** Puts jobs in. A call resolves when the system has acknowledged them. */
export interface Producer {
  submitBatch(payloads: readonly BenchPayload[]): Promise<void>;
  submitOne(payload: BenchPayload): Promise<void>;
  close(): Promise<void>;
}

/** Takes jobs out; ends when it is closed. */
export interface Consumer {
  close(): Promise<void>;
}

/** A system, seen from the processes that use it. */
export interface Peer {
  openProducer(options: PeerOptions): Promise<Producer>;
  /** Starts to work; resolves when it does. Each handler calls `seen.add` and does nothing else. */
  startConsumer(options: PeerOptions, seen: Seen): Promise<Consumer>;
}

/** Where the store is, and how the system is set; what each peer needs of it. */
export interface PeerOptions {
  /** Address of the store. */
  readonly url: string;
  /** Name of the queue. */
  readonly queue: string;
  /** API key, for Muster. */
  readonly key?: string;
  readonly batchSize?: number;
  readonly concurrency?: number;
  /** Settings that are best for throughput, where a system has them. */
  readonly isBatching?: boolean;
  readonly keepsHistory?: boolean;
}
