import { isConnectionLost, isSerialisation } from "../store/connection-errors.ts";
import { DomainError, overloaded, unavailable } from "./errors.ts";

/** What became of one item of several: its answer, or why it has none. */
export type Settled<R> = { readonly value: R } | { readonly error: unknown };

/** Items that were added together: answered together, flushed and bisected one by one. */
interface Group<R> {
  readonly settled: Settled<R>[];
  left: number;
  readonly resolve: (settled: Settled<R>[]) => void;
}

/** Work that waits for its flush. */
interface Waiting<T, R> {
  readonly item: T;
  readonly weight: number;
  readonly group: Group<R>;
  readonly index: number;
}

/** How a batcher flushes. */
export interface BatcherOptions<T, R> {
  /** Weight that one flush takes at most; a heavier single item goes alone. */
  readonly maxWeight: number;
  /** Flushes at once. */
  readonly maxInFlight: number;
  /** Weight that may wait for one org; more is refused. */
  readonly maxQueuedWeight: number;
  /** Weight of an item. Default 1. */
  readonly weigh?: (item: T) => number;
  /** Commits the items of one org and answers each, in their order. */
  readonly flush: (orgId: string, items: readonly T[]) => Promise<readonly R[]>;
}

/**
 * Natural batching: an item is flushed at once when nothing is in flight, and
 * collected with others while something is. Orgs take turns. A flush that
 * fails for its data is bisected until the bad item stands alone; one that
 * the database chose to give way is repeated.
 */
export class Batcher<T, R> {
  readonly #options: BatcherOptions<T, R>;
  readonly #queues = new Map<string, { items: Waiting<T, R>[]; weight: number }>();
  #inFlight = 0;
  #isScheduled = false;
  #idle: (() => void)[] = [];

  constructor(options: BatcherOptions<T, R>) {
    this.#options = options;
  }

  /** Resolves with the item's answer after commit. Rejects with RESOURCE_EXHAUSTED when the org's queue is full. */
  async add(orgId: string, item: T): Promise<R> {
    const [settled] = await this.addAll(orgId, [item]);
    if (!settled) throw new Error("one item in, one answer out");
    if ("error" in settled) throw settled.error;
    return settled.value;
  }

  /** Resolves with what became of each item, in their order, when all are committed or refused. Never rejects. */
  addAll(orgId: string, items: readonly T[]): Promise<Settled<R>[]> {
    if (items.length === 0) return Promise.resolve([]);
    const weigh = this.#options.weigh;
    const weight = weigh ? items.reduce((sum, item) => sum + weigh(item), 0) : items.length;
    let queue = this.#queues.get(orgId);
    if (!queue) {
      queue = { items: [], weight: 0 };
      this.#queues.set(orgId, queue);
    }
    if (queue.weight > 0 && queue.weight + weight > this.#options.maxQueuedWeight) {
      const error = overloaded(1_000);
      return Promise.resolve(items.map(() => ({ error })));
    }
    queue.weight += weight;
    const waiting = queue.items;
    return new Promise((resolve) => {
      const group: Group<R> = { settled: new Array(items.length), left: items.length, resolve };
      for (const [index, item] of items.entries()) {
        waiting.push({ item, weight: weigh ? weigh(item) : 1, group, index });
      }
      this.#schedule();
    });
  }

  /** Resolves when nothing waits and nothing is in flight. */
  async drain(): Promise<void> {
    while (this.#inFlight > 0 || this.#queues.size > 0) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  // What the present turn of the event loop brings goes together.
  #schedule(): void {
    if (this.#isScheduled || this.#inFlight >= this.#options.maxInFlight) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#inFlight < this.#options.maxInFlight) {
      const next = this.#queues.entries().next();
      if (next.done) return;
      const [orgId, queue] = next.value;
      const taken: Waiting<T, R>[] = [];
      let weight = 0;
      for (const waiting of queue.items) {
        if (taken.length > 0 && weight + waiting.weight > this.#options.maxWeight) break;
        taken.push(waiting);
        weight += waiting.weight;
      }
      // The org goes to the end of the line with what is left of its queue.
      this.#queues.delete(orgId);
      if (taken.length < queue.items.length) {
        this.#queues.set(orgId, { items: queue.items.slice(taken.length), weight: queue.weight - weight });
      }
      this.#inFlight++;
      void this.#flush(orgId, taken).finally(() => {
        this.#inFlight--;
        this.#schedule();
        if (this.#inFlight === 0 && this.#queues.size === 0) {
          for (const resolve of this.#idle.splice(0)) resolve();
        }
      });
    }
  }

  async #flush(orgId: string, waiting: readonly Waiting<T, R>[], attempt = 1): Promise<void> {
    const items = waiting.map((one) => one.item);
    try {
      const results = await this.#options.flush(orgId, items);
      for (const [index, one] of waiting.entries()) settle(one, { value: resultAt(results, index) });
    } catch (error) {
      if (isSerialisation(error) && attempt < 5) return this.#flush(orgId, waiting, attempt + 1);
      const isOfData = !(error instanceof DomainError) && !isConnectionLost(error);
      if (waiting.length > 1 && isOfData) {
        const middle = waiting.length >> 1;
        await this.#flush(orgId, waiting.slice(0, middle));
        return this.#flush(orgId, waiting.slice(middle));
      }
      const reason = isConnectionLost(error) ? unavailable("DATABASE_UNAVAILABLE", 1_000, error) : error;
      for (const one of waiting) settle(one, { error: reason });
    }
  }
}

function settle<T, R>({ group, index }: Waiting<T, R>, settled: Settled<R>): void {
  group.settled[index] = settled;
  group.left--;
  if (group.left === 0) group.resolve(group.settled);
}

function resultAt<R>(results: readonly R[], index: number): R {
  if (index >= results.length) throw new Error("a flush answered fewer items than it took");
  return results[index] as R;
}
